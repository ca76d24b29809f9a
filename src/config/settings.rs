//! The table of settings: one row each. The struct, defaults, help, bounds, command line options, Python properties and
//! docs follow from it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::choices::*;
use super::field::{ANY, Field, Typed, above, below, least, within};
use super::moment::Moment;
use crate::error::{Error, Named, Result};

const ALL: &[Architecture] = Architecture::ALL;
const PUBLISHED: &[Architecture] = &[Architecture::Vasily, Architecture::Paper];
const PAPER: &[Architecture] = &[Architecture::Paper];
const KISEKAE: &[Architecture] = &[Architecture::Kisekae];

/// Declares the settings. A row: the help, then `name: type = default, bounds, architectures that use it, source`.
/// `else` gives the value for the other architectures, where it is not the default. `resumable` marks what a resumed
/// run may change.
macro_rules! settings {
    ($( $group:literal { $( $(#[doc = $help:literal])+ $name:ident: $type:ty = $default:expr, $bounds:expr,
        for $used_by:ident $(else $unused:expr)?, $($resumable:ident,)? $source:literal; )+ } )+) => {
        /// All settings of a run. A [`super::Config`] gives checked ones.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct Settings {
            /// The preset that the settings started from.
            pub preset: Preset,
            $($( $(#[doc = $help])+ pub $name: $type, )+)+
        }

        /// Every setting but the preset, in the order of the struct.
        pub const FIELDS: &[Field] = &[$($( Field {
            name: stringify!($name),
            help: concat!($($help),+).trim_ascii(),
            kind: <$type as Typed>::KIND,
            bounds: $bounds,
            group: $group,
            used_by: $used_by,
            resumable: settings!(@given $($resumable)?),
            source: $source,
            default: || { let value: $type = $default; json!(value) },
            unused: || { let value: $type = settings!(@or $default $(, $unused)?); json!(value) },
        }, )+)+];

        impl Settings {
            /// The value of a setting.
            pub fn value(&self, field: &Field) -> Value {
                match field.name {
                    $($( stringify!($name) => json!(self.$name), )+)+
                    name => unreachable!("{name} is no row of the table"),
                }
            }
        }
    };
    (@given) => { false };
    (@given resumable) => { true };
    (@or $default:expr) => { $default };
    (@or $default:expr, $unused:expr) => { $unused };
}

/// The setting of that name.
pub(super) fn find(name: &str) -> Result<&'static Field> {
    let found = FIELDS.iter().find(|field| field.name == name);
    found.ok_or_else(|| Error::unknown(Named::Setting, name, FIELDS.iter().map(|field| field.name)))
}

settings! {
    "Networks" {
        /// Networks: the article's, the paper's or ours.
        architecture: Architecture = Architecture::Paper, ANY, for ALL, "[P] section 3";
        /// Height and width in pixels: multiples of 32 (vasily), of 16 (paper), of 16 and up with the size (kisekae).
        image_size: [i64; 2] = [128, 96], ANY, for ALL, "[P] 128 x 96";
        /// Channels of the widest layer, a multiple of 8 (kisekae: of 32).
        width: i64 = 512, within(8., 8192.), for ALL, "[P] 512";
        /// Pair that the paper's generator sees again at every layer: (human, worn) or (human, target).
        generator_copies: Copies = Copies::Worn, ANY, for PAPER else Copies::None, "[P] in any intermediate layer";
        /// Gives the paper's discriminator the same copies of its input.
        discriminator_copies: bool = false, ANY, for PAPER, "[we]";
        /// Sigma of the gaussian noise on the discriminator's input and before its activations.
        discriminator_noise: f64 = 0.0, within(0., 1e6), for PUBLISHED, "[P] none is mentioned";
    }
    "Pictures" {
        /// How photos are brought to image_size: crop the middle, pad with bars, or stretch.
        human_fit: Fit = Fit::Crop, ANY, for ALL, "[we]";
        /// How product pictures are brought to image_size; bars take the colour of the picture's border.
        article_fit: Fit = Fit::Pad, ANY, for ALL, "[we]";
        /// Pixels by which pictures are loaded larger, for a random crop.
        crop_margin: i64 = 4, within(0., 256.), for ALL, "[we] 132 x 100, as the public implementations";
        /// Mirrors human and worn article together, and the target on its own, at random.
        flip: bool = true, ANY, for ALL, "[we]";
        // Above a half, white articles would turn grey and grey ones white.
        /// Range of random brightness, contrast and saturation: factors of 1 - this to 1 + this, one draw for a
        /// triplet.
        colour_jitter: f64 = 0.0, within(0., 0.5), for ALL, "[we] off";
    }
    "Objective" {
        /// Weight of the mean mask area.
        identity_weight: f64 = 0.1, within(0., 1e6), for PUBLISHED else 0.0, "[A, P] 0.1";
        /// Weight of mean |human - restored|.
        cycle_weight: f64 = 1.0, within(0., 1e6), for PUBLISHED else 0.0, "[A, P] 1";
        /// Weight of the adversarial term.
        adversarial_weight: f64 = 1.0, within(0., 1e6), for ALL, "[A, P] 1";
        /// Weight of mean |human - warped article| where the article is worn (kisekae).
        warp_weight: f64 = 0.0, within(0., 1e6), for KISEKAE, "[we] none in the published networks";
        /// Weight of the bending of the flow's learned part (kisekae).
        bending_weight: f64 = 0.0, within(0., 1e6), for KISEKAE, "[we] none in the published networks";
        /// Form of the adversarial term, for both networks.
        adversarial_loss: AdversarialLoss = AdversarialLoss::Logistic, ANY, for ALL, "[A, P] logistic";
        /// Swaps that the cycle loss trains: through = both, detached = the one back alone.
        reverse: Reverse = Reverse::Through, ANY, for PUBLISHED, "[A, P] through";
        /// Sigma of the gaussian noise on the composite that the detached swap back sees; 1 spans black to white.
        reverse_noise: f64 = 0.0, within(0., 1.), for PUBLISHED, "[we] off";
        /// Weight of mean |human - G(human, worn, worn)|.
        self_swap_weight: f64 = 0.0, within(0., 1e6), for PUBLISHED, "[we] off";
        /// Weight of the mask's total variation.
        mask_tv_weight: f64 = 0.0, within(0., 1e6), for PUBLISHED, "[we] off";
        /// Weight of mean 4 mask (1 - mask), which pushes the mask to 0 and 1.
        mask_binary_weight: f64 = 0.0, within(0., 1e6), for PUBLISHED, "[we] off";
        /// Weight of the difference between the discriminator's layers for matched and swapped.
        feature_weight: f64 = 0.0, within(0., 1e6), for ALL, "[we] off";
        /// Weight of the difference between human and restored (and self-swap) in a fixed random network.
        perceptual_weight: f64 = 0.0, within(0., 1e6), for ALL, "[we] off";
        /// Weight (gamma) of R1: half the squared gradient of the matched logits by both pictures.
        r1_weight: f64 = 0.0, within(0., 1e6), for PUBLISHED, "[we] off";
        /// Steps between those with R1, in which it is multiplied by this number.
        r1_every: u64 = 16, within(1., 1e6), for PUBLISHED, "[we] 16, as StyleGAN2";
        /// DiffAugment before the discriminator: brightness, saturation, contrast, one draw for a pair's two pictures.
        augment_colour: bool = false, ANY, for PUBLISHED, "[we] off";
        /// DiffAugment before the discriminator: moves by up to an eighth, drawn for each picture.
        augment_translation: bool = false, ANY, for PUBLISHED, "[we] off";
        /// DiffAugment before the discriminator: a grey rectangle of half the sides, drawn for each picture.
        augment_cutout: bool = false, ANY, for PUBLISHED, "[we] off";
    }
    "Networks" {
        /// Means that the instance norms propagate back; batch = the fault of the article's dependency, for study only.
        norm_gradient: NormGradient = NormGradient::Picture, ANY, for PUBLISHED, "[we] as calculus has it";
        /// Norm of the discriminator's layers but the first.
        discriminator_norm: DiscriminatorNorm = DiscriminatorNorm::Instance, ANY,
            for PUBLISHED else DiscriminatorNorm::None, "[A] instance";
        /// Divides the discriminator's weights by their largest singular values.
        discriminator_spectral_norm: bool = false, ANY, for ALL, "[we] off";
        /// Discriminators, each for pictures of half the size of the one before.
        discriminator_scales: u32 = 1, within(1., 4.), for PUBLISHED, "[A, P] 1";
    }
    "Stages of kisekae" {
        /// Images seen when the locator's masks begin to be erased, or a share of the length.
        place_after: Moment = Moment::Images(0), least(0.), for KISEKAE, "[we]";
        /// Images seen when the discriminator joins, or a share of the length.
        judge_after: Moment = Moment::Images(0), least(0.), for KISEKAE, "[we]";
        /// Images seen when pictures reach image_size, or a share of the length. They begin at about 64 x 48 and double;
        /// each size takes half as many images as the one before. 0 = image_size from the start.
        full_size_after: Moment = Moment::Images(0), least(0.), for KISEKAE, "[we]";
        /// Share of pictures for which the locator does not see the worn article, so that swaps can do without it.
        withhold_worn: f64 = 0.0, within(0., 1.), for KISEKAE, "[we]";
        /// Probability of the locator above which the worn article begins.
        mask_cut: f64 = 0.5, within(0.01, 0.99), for KISEKAE, "[we]";
    }
    "Optimiser" {
        /// Adam's rate for both networks.
        learning_rate: f64 = 2e-4, above(0., 1.), for ALL, "[P] 2e-4";
        /// The discriminator's own rate, in place of learning_rate.
        discriminator_learning_rate: Option<f64> = None, above(0., 1.), for ALL, "[P] one rate";
        /// How both rates fall from full at schedule_start to 0 at schedule_end.
        schedule: Schedule = Schedule::Constant, ANY, for ALL, "[P] constant";
        /// Images seen when the rates begin to fall, or a share of the length.
        schedule_start: Moment = Moment::Images(0), least(0.), for ALL, "[we]";
        /// Images seen when the rates reach 0, or a share of the length; 0 = the end of the run.
        schedule_end: Moment = Moment::Images(0), least(0.), for ALL, "[we]";
        /// Largest norm of a network's whole gradient; longer ones are shortened; 0 = no limit.
        gradient_clip: f64 = 0.0, within(0., 1e6), for ALL, "[we] off";
        /// Adam's first decay.
        adam_beta1: f64 = 0.5, below(0., 1.), for ALL, "[P] 0.5";
        /// Adam's second decay.
        adam_beta2: f64 = 0.999, below(0., 1.), for ALL, "[P] 0.999";
        /// Adam's epsilon.
        adam_epsilon: f64 = 1e-8, above(0., 1.), for ALL, "[we] Adam's customary value";
        /// Half-life in images of the generator's moving average, which snapshots and samples use; 0 = no average.
        ema_images: u64 = 0, least(0.), for ALL, "[we] off";
        /// Largest half-life as a share of the images seen; 0 = no limit.
        ema_rampup: f64 = 0.05, within(0., 1.), for ALL, "[we] StyleGAN2-ADA's 0.05";
    }
    "Length" {
        /// Triplets in a step.
        batch_size: usize = 16, within(1., 65_536.), for ALL, "[P] 16";
        /// Length in passes over the pairs.
        epochs: u64 = 50, within(1., 1e9), for ALL, resumable, "[A] 50";
        /// Length in steps, in place of epochs.
        steps: Option<u64> = None, within(1., 1e12), for ALL, resumable, "[we]";
        /// Length in images seen, in place of epochs.
        images: Option<u64> = None, within(1., 1e12), for ALL, resumable, "[we]";
        /// Seconds after which the run saves and ends; the same call goes on.
        time_limit_s: Option<f64> = None, above(0., 1e9), for ALL, resumable, "[we]";
    }
    "Start" {
        /// Seed of all randomness, together with the step.
        seed: u64 = 0, least(0.), for ALL, "[we]";
        /// Run folder, checkpoint or snapshot whose networks the run begins with, or dolls, the weights of the package; a
        /// snapshot holds the generator alone.
        init_from: String = String::new(), ANY, for ALL, resumable, "[we]";
        /// First layers of the discriminator that do not learn, for fine-tuning (FreezeD, arXiv 2002.10964).
        freeze_discriminator: usize = 0, least(0.), for PUBLISHED, "[we] none";
    }
    "Files" {
        /// Steps between lines of stats.jsonl.
        log_every: u64 = 50, within(1., 1e6), for ALL, resumable, "[we]";
        /// Steps between sample grids.
        sample_every: u64 = 500, least(1.), for ALL, resumable, "[we]";
        /// Steps between snapshots.
        snapshot_every: u64 = 1000, least(1.), for ALL, resumable, "[we]";
        /// Steps between checkpoints.
        checkpoint_every: u64 = 500, least(1.), for ALL, resumable, "[we]";
        /// Number of checkpoints that are kept.
        keep_checkpoints: usize = 2, within(1., 1024.), for ALL, resumable, "[we]";
    }
    "Health" {
        /// What a run does after a loss or a weight became non-finite: stop, or return to the last checkpoint at half
        /// the rate.
        on_non_finite: OnNonFinite = OnNonFinite::Stop, ANY, for ALL, resumable, "[we]";
        /// Steps between looks for signs of collapse, which also choose snapshots/best.safetensors; 0 = no looks.
        monitor_every: u64 = 500, least(0.), for ALL, resumable, "[we]";
        /// Looks without a better score after which the run ends; 0 = never.
        early_stop: u64 = 0, least(0.), for ALL, resumable, "[we]";
    }
    "Files" {
        /// People along the top of a sample grid.
        sample_humans: usize = 8, within(1., 64.), for ALL, resumable, "[we]";
        /// Articles down the left of a sample grid.
        sample_articles: usize = 4, within(1., 64.), for ALL, resumable, "[we]";
    }
    "Machine" {
        /// Device: auto, cpu, cuda or cuda:N.
        device: String = "auto".into(), ANY, for ALL, resumable, "[we]";
        /// CPU threads of libtorch; 0 = unchanged.
        threads: usize = 0, within(0., 1024.), for ALL, resumable, "[we]";
        /// Where decoded pictures are kept: resident = on the device, streaming = decoded for each batch, auto =
        /// resident if they fit.
        loader: LoaderMode = LoaderMode::Auto, ANY, for ALL, resumable, "[we]";
        /// Threads that decode; 0 = one for each core.
        loader_workers: usize = 0, within(0., 1024.), for ALL, resumable, "[we]";
        /// Batches that a streaming loader decodes ahead.
        loader_prefetch: usize = 4, within(1., 1024.), for ALL, resumable, "[we]";
        /// Number format of the convolutions; tf32 rounds products to 10 bits on CUDA and is fp32 on a CPU.
        precision: Precision = Precision::Fp32, ANY, for ALL, "[we]";
        /// Records a step once and replays it as a CUDA graph (published presets on CUDA).
        cuda_graph: bool = false, ANY, for PUBLISHED, resumable, "[we]";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_default_and_an_unused_value_that_pass_its_own_check() {
        assert!(FIELDS.len() > 60);
        for field in FIELDS {
            for value in [field.default(), (field.unused)()] {
                assert_eq!(field.checked(value.clone()).unwrap(), value, "{}", field.name);
            }
            assert!(field.help.ends_with('.') && field.source.starts_with('['), "{}", field.name);
        }
    }
}
