//! What each setting is: its name, its kind, what it does and where its default comes from.

use serde_json::Value;

use crate::error::{Error, Result};

/// The kinds of value that a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, zero or more.
    Count,
    /// A whole number or nothing.
    OptionalCount,
    Number,
    /// A number or nothing.
    OptionalNumber,
    Flag,
    Text,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// [height, width], or one number for a square.
    Size,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// One line of help.
    pub help: &'static str,
    /// Where the default comes from.
    pub source: &'static str,
    /// Whether a run may go on with another value.
    pub harmless: bool,
}

const fn field(name: &'static str, kind: Kind, help: &'static str, source: &'static str) -> Field {
    Field { name, kind, help, source, harmless: false }
}

const fn harmless(name: &'static str, kind: Kind, help: &'static str) -> Field {
    Field { name, kind, help, source: "[we]", harmless: true }
}

const FIT: Kind = Kind::Choice(&["crop", "pad", "stretch"]);

/// Every setting but the preset, in the order of the struct.
#[rustfmt::skip]
pub const FIELDS: &[Field] = &[
    field("architecture", Kind::Choice(&["vasily", "paper", "kisekae"]), "which networks: the article's, the paper's or ours", "[P] section 3"),
    field("image_size", Kind::Size, "height and width in pixels, multiples of 32 (vasily), 16 (paper), or 16 and up with the size (kisekae)", "[P] 128 x 96"),
    field("width", Kind::Count, "channels of the widest layer, a multiple of 8", "[P] 512"),
    field("generator_copies", Kind::Choice(&["none", "worn", "target"]), "the pair that the paper's generator sees again at every layer: (human, worn) or (human, target)", "[P] the last 6 channels of any intermediate layer"),
    field("discriminator_copies", Kind::Flag, "the same copies of its input in the paper's discriminator", "[we]"),
    field("discriminator_noise", Kind::Number, "sigma of the gaussian noise on the discriminator's input and before its activations", "[P] none is mentioned"),
    field("human_fit", FIT, "how photos come to image_size: their middle, all of them with bars, or out of shape", "[we]"),
    field("article_fit", FIT, "the same for product pictures; bars take the colour of the picture's border", "[we]"),
    field("crop_margin", Kind::Count, "pixels that pictures are loaded larger by and cropped at random", "[we] 132 x 100, as the public implementations"),
    field("flip", Kind::Flag, "mirror human and worn article together, and the target on its own, at random", "[we]"),
    field("colour_jitter", Kind::Number, "brightness, contrast and saturation times 1 - this to 1 + this, one draw for a triplet's three pictures", "[we] off"),
    field("identity_weight", Kind::Number, "weight of the mean mask area", "[A, P] 0.1"),
    field("cycle_weight", Kind::Number, "weight of mean |human - restored|", "[A, P] 1"),
    field("adversarial_weight", Kind::Number, "weight of the adversarial term", "[A, P] 1"),
    field("warp_weight", Kind::Number, "kisekae: weight of mean |human - warped article| where it is worn", "[we] none in the published networks"),
    field("bending_weight", Kind::Number, "kisekae: weight of how much the learned part of the flow bends", "[we] none in the published networks"),
    field("adversarial_loss", Kind::Choice(&["logistic", "hinge", "least_squares"]), "form of the adversarial term, for both networks", "[A, P] logistic"),
    field("reverse", Kind::Choice(&["through", "detached"]), "what the cycle loss trains: both swaps, or the one back alone, from the composite as given", "[A, P] through"),
    field("reverse_noise", Kind::Number, "sigma of the gaussian noise on the composite that the detached swap back sees; 1 is the range from black to white", "[we] off"),
    field("self_swap_weight", Kind::Number, "weight of mean |human - G(human, worn, worn)|", "[we] off"),
    field("mask_tv_weight", Kind::Number, "weight of the mask's total variation", "[we] off"),
    field("mask_binary_weight", Kind::Number, "weight of mean 4 mask (1 - mask), which draws the mask to 0 and 1", "[we] off"),
    field("feature_weight", Kind::Number, "weight of the difference between the discriminator's layers for matched and swapped", "[we] off"),
    field("perceptual_weight", Kind::Number, "weight of the difference between human and restored (and self-swap) in a fixed random network", "[we] off"),
    field("r1_weight", Kind::Number, "weight (gamma) of R1: half the squared gradient of the matched logits by both pictures", "[we] off"),
    field("r1_every", Kind::Count, "steps between those with R1, in which it counts so many times", "[we] 16, as StyleGAN2"),
    field("augment_colour", Kind::Flag, "DiffAugment before the discriminator: brightness, saturation, contrast, one draw for a pair's two pictures", "[we] off"),
    field("augment_translation", Kind::Flag, "the same: moves by up to an eighth, drawn for each picture", "[we] off"),
    field("augment_cutout", Kind::Flag, "the same: a grey rectangle of half the sides, drawn for each picture", "[we] off"),
    field("norm_gradient", Kind::Choice(&["picture", "batch"]), "whose means the instance norms propagate back; batch = the fault of the article's dependency, for study only", "[we] as calculus has it"),
    field("discriminator_norm", Kind::Choice(&["instance", "none"]), "what normalises the discriminator's layers but the first", "[A] instance"),
    field("discriminator_spectral_norm", Kind::Flag, "the discriminator's weights divided by their largest singular values", "[we] off"),
    field("discriminator_scales", Kind::Count, "discriminators, each but the first for pictures of half the size of the one before", "[A, P] 1"),
    field("place_after", Kind::Count, "kisekae: images seen when the locator's masks begin to be what is erased", "[we]"),
    field("judge_after", Kind::Count, "kisekae: images seen when the discriminator joins", "[we]"),
    field("withhold_worn", Kind::Number, "kisekae: how often the locator does not see the worn article, so that swaps can do without it", "[we]"),
    field("mask_cut", Kind::Number, "kisekae: the locator's probability where the worn article begins", "[we]"),
    field("learning_rate", Kind::Number, "Adam's rate for both networks", "[P] 2e-4"),
    field("discriminator_learning_rate", Kind::OptionalNumber, "the discriminator's own rate, in place of learning_rate", "[P] one rate"),
    field("schedule", Kind::Choice(&["constant", "linear", "cosine"]), "how both rates go from full at schedule_start down to 0 at schedule_end", "[P] constant"),
    field("schedule_start", Kind::Count, "images seen when the rates begin to go down", "[we]"),
    field("schedule_end", Kind::Count, "images seen when they are 0", "[we]"),
    field("gradient_clip", Kind::Number, "largest norm of a network's whole gradient, longer ones are shortened; 0 = any", "[we] off"),
    field("adam_beta1", Kind::Number, "Adam's first decay", "[P] 0.5"),
    field("adam_beta2", Kind::Number, "Adam's second decay", "[P] 0.999"),
    field("adam_epsilon", Kind::Number, "Adam's epsilon", "[we] Adam's customary value"),
    field("ema_images", Kind::Count, "half-life in images of the generator's moving average, which snapshots and samples then are of; 0 = none", "[we] off"),
    field("ema_rampup", Kind::Number, "share of the images seen that the half-life is at most, 0 = full at once", "[we] StyleGAN2-ADA's 0.05"),
    field("batch_size", Kind::Count, "triplets in a step", "[P] 16"),
    Field { harmless: true, ..field("epochs", Kind::Count, "passes over the pairs", "[A] 50") },
    harmless("steps", Kind::OptionalCount, "length in steps, in place of epochs"),
    harmless("images", Kind::OptionalCount, "length in images seen, in place of epochs"),
    harmless("time_limit_s", Kind::OptionalNumber, "seconds after which the run saves and ends; the same call goes on"),
    field("seed", Kind::Count, "what all randomness comes from, with the step", "[we]"),
    harmless("init_from", Kind::Text, "snapshot or checkpoint whose networks the run begins with, in place of fresh ones; a snapshot has the generator alone"),
    field("freeze_discriminator", Kind::Count, "first layers of the discriminator that do not learn, for fine-tuning (FreezeD, arXiv 2002.10964)", "[we] none"),
    harmless("log_every", Kind::Count, "steps between lines of stats.jsonl"),
    harmless("sample_every", Kind::Count, "steps between sample grids"),
    harmless("snapshot_every", Kind::Count, "steps between snapshots"),
    harmless("checkpoint_every", Kind::Count, "steps between checkpoints"),
    harmless("keep_checkpoints", Kind::Count, "newest checkpoints that are kept"),
    harmless("on_non_finite", Kind::Choice(&["stop", "rollback"]), "a loss or a weight that is no number: stop, or go back to the last checkpoint and on at half the rate"),
    harmless("monitor_every", Kind::Count, "steps between looks for signs of collapse, which also choose snapshots/best.safetensors; 0 = none"),
    harmless("early_stop", Kind::Count, "looks without a better score, once there is a best one, after which the run ends; 0 = never"),
    harmless("sample_humans", Kind::Count, "people along the top of a sample grid"),
    harmless("sample_articles", Kind::Count, "articles down the left of a sample grid"),
    harmless("device", Kind::Text, "auto, cpu, cuda or cuda:N"),
    harmless("threads", Kind::Count, "CPU threads of libtorch; 0 leaves them as they are"),
    harmless("loader", Kind::Choice(&["auto", "resident", "streaming"]), "decoded pictures: kept on the device, or read anew for each batch; auto keeps them where they fit"),
    harmless("loader_workers", Kind::Count, "threads that decode; 0 means as many as there are cores"),
    harmless("loader_prefetch", Kind::Count, "batches that a streaming loader decodes ahead"),
    field("precision", Kind::Choice(&["fp32", "tf32", "bf16"]), "number format of the convolutions; tf32 is float32 with products of 10 bits on CUDA, and fp32 on a CPU", "[we]"),
    harmless("cuda_graph", Kind::Flag, "record a step once and launch it as a whole: for the published presets on CUDA"),
];

/// The setting of that name.
pub(super) fn find(name: &str) -> Result<&'static Field> {
    FIELDS
        .iter()
        .find(|field| field.name == name)
        .ok_or_else(|| Error::unknown("setting", name, FIELDS.iter().map(|field| field.name)))
}

impl Field {
    /// What the kind expects, in words.
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Count => "a whole number, zero or more".into(),
            Kind::OptionalCount => "a whole number or null".into(),
            Kind::Number => "a finite number".into(),
            Kind::OptionalNumber => "a finite number or null".into(),
            Kind::Flag => "true or false".into(),
            Kind::Text => "a text".into(),
            Kind::Choice(names) => format!("one of {}", names.join(", ")),
            Kind::Size => "one number or [height, width]".into(),
        }
    }

    /// The value if it is of the field's kind, brought to its usual form.
    pub(super) fn checked(&self, value: Value) -> Result<Value> {
        // 16.0 is a whole number too, and so comes from numpy and from spreadsheets.
        let whole = |v: &Value| {
            v.as_u64()
                .filter(|n| *n <= i64::MAX as u64)
                .or_else(|| v.as_f64().filter(|f| f.fract() == 0.0 && (0.0..9e15).contains(f)).map(|f| f as u64))
        };
        let good = match (self.kind, &value) {
            (Kind::Count, v) => whole(v).map(Value::from),
            (Kind::OptionalCount, Value::Null) => Some(Value::Null),
            (Kind::OptionalCount, v) => whole(v).map(Value::from),
            (Kind::OptionalNumber, Value::Null) => Some(Value::Null),
            (Kind::Number | Kind::OptionalNumber, Value::Number(n)) => n.as_f64().map(Value::from),
            (Kind::Flag, Value::Bool(_)) => Some(value.clone()),
            (Kind::Text, Value::String(_)) => Some(value.clone()),
            (Kind::Choice(names), Value::String(name)) if names.contains(&name.as_str()) => Some(value.clone()),
            (Kind::Size, Value::Array(sides)) if sides.len() == 2 => {
                sides.iter().map(|side| whole(side).map(Value::from)).collect::<Option<Vec<_>>>().map(Value::from)
            }
            (Kind::Size, v) => whole(v).map(|n| Value::from(vec![n, n])),
            _ => None,
        };
        good.ok_or_else(|| Error::setting(self.name, self.expected(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn fields_are_the_settings_in_order() {
        let map = Config::default().to_map();
        let names: Vec<&str> = map.keys().map(String::as_str).collect();
        assert_eq!(names[0], "preset");
        let fields: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(names[1..], fields[..]);
        for field in FIELDS {
            assert_eq!(field.checked(map[field.name].clone()).unwrap(), map[field.name], "{}", field.name);
        }
    }
}
