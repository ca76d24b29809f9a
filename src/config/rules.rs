//! The rules between settings. The table checks each value alone.

use serde_json::json;

use super::choices::{Architecture, NormGradient, Reverse, Schedule};
use super::device::torch_device;
use super::moment::Moment;
use super::presets;
use super::settings::Settings;
use crate::error::{Error, Result};

/// Largest side, so that a wrong digit does not take the machine's memory.
const LARGEST_SIDE: i64 = 4096;

/// Checks the rules.
pub(super) fn check(settings: &Settings) -> Result<()> {
    let rules = [
        sides,
        two_deepest_pixels,
        whole_channels,
        scales,
        noise_needs_a_detached_reverse,
        schedule_span,
        one_length,
        early_stop_needs_looks,
        steps_of_a_graph,
        frozen_layers,
        r1_needs_the_true_derivative,
        device_name,
    ];
    rules.iter().try_for_each(|rule| rule(settings))
}

/// The factor by which the networks shrink a picture.
fn shrinkage(settings: &Settings) -> i64 {
    1 << settings.architecture.halvings(settings.image_size)
}

/// The halvings divide both sides.
fn sides(settings: &Settings) -> Result<()> {
    let multiple = shrinkage(settings);
    let fits = |side: &i64| *side >= multiple && side % multiple == 0 && *side <= LARGEST_SIDE;
    let Some(side) = settings.image_size.into_iter().find(|side| !fits(side)) else { return Ok(()) };
    let below = (side / multiple * multiple).clamp(multiple, LARGEST_SIDE);
    let above = (below + multiple).min(LARGEST_SIDE);
    let nearest = if side < multiple || below == above { format!("{below}") } else { format!("{below} and {above}") };
    let rule = format!("multiples of {multiple} up to {LARGEST_SIDE} (nearest: {nearest})");
    Err(Error::setting("image_size", rule, side))
}

/// A single value per picture and channel has no variance: the norm would return its bias for any input.
fn two_deepest_pixels(settings: &Settings) -> Result<()> {
    let multiple = shrinkage(settings);
    if settings.image_size != [multiple, multiple] {
        return Ok(());
    }
    let rule = format!("more than {multiple} x {multiple}: the deepest instance norm needs two pixels");
    Err(Error::setting("image_size", rule, format!("{multiple} x {multiple}")))
}

fn whole_channels(settings: &Settings) -> Result<()> {
    let (multiple, reason) = match settings.architecture {
        Architecture::Kisekae => (32, ": the norms of kisekae have groups"),
        Architecture::Vasily | Architecture::Paper => (8, ""),
    };
    if settings.width % multiple == 0 {
        return Ok(());
    }
    Err(Error::setting("width", format!("a multiple of {multiple}{reason}"), settings.width))
}

/// The pictures of the last scale obey the rules of [`sides`] and [`two_deepest_pixels`].
fn scales(settings: &Settings) -> Result<()> {
    let ([h, w], multiple) = (settings.image_size, shrinkage(settings));
    let fits = |scales: u32| {
        let factor = 1 << (scales - 1);
        [h, w].iter().all(|side| side % (multiple * factor) == 0) && [h / factor, w / factor] != [multiple; 2]
    };
    let most = (1..=4).take_while(|scales| fits(*scales)).last().unwrap_or(1);
    if settings.discriminator_scales <= most {
        return Ok(());
    }
    let rule = format!("1 to {most} for pictures of {h} x {w}: each scale halves them once more");
    Err(Error::setting("discriminator_scales", rule, settings.discriminator_scales))
}

fn noise_needs_a_detached_reverse(settings: &Settings) -> Result<()> {
    if settings.reverse == Reverse::Detached || settings.reverse_noise == 0.0 {
        return Ok(());
    }
    let rule = "0 if reverse is through: only the detached swap back has noise";
    Err(Error::setting("reverse_noise", rule, settings.reverse_noise))
}

fn schedule_span(settings: &Settings) -> Result<()> {
    let (start, end) = (settings.schedule_start, settings.schedule_end);
    let reversed = match (start, end) {
        // The end of the run.
        (_, Moment::Images(0)) => false,
        (Moment::Images(start), Moment::Images(end)) => start >= end,
        (Moment::Share(start), Moment::Share(end)) => start >= end,
        // Compared when the length is known.
        _ => false,
    };
    let own = |name, moment| moment == Moment::Images(0) || json!(moment) == presets::value(settings.preset, name);
    match settings.schedule {
        Schedule::Constant if own("schedule_start", start) && own("schedule_end", end) => Ok(()),
        Schedule::Constant => {
            Err(Error::setting("schedule", "linear or cosine if schedule_start or schedule_end is given", "constant"))
        }
        Schedule::Linear | Schedule::Cosine if reversed => {
            Err(Error::setting("schedule_end", format!("more than schedule_start ({})", json!(start)), json!(end)))
        }
        _ => Ok(()),
    }
}

fn one_length(settings: &Settings) -> Result<()> {
    match (settings.steps, settings.images) {
        (Some(_), Some(images)) => Err(Error::setting("images", "null if steps is given", images)),
        _ => Ok(()),
    }
}

fn early_stop_needs_looks(settings: &Settings) -> Result<()> {
    if settings.early_stop == 0 || settings.monitor_every > 0 {
        return Ok(());
    }
    Err(Error::setting("early_stop", "0 if monitor_every is 0", settings.early_stop))
}

/// A recorded step repeats the same operations, so all steps must have the same.
fn steps_of_a_graph(settings: &Settings) -> Result<()> {
    let differing = [
        ("schedule", settings.schedule != Schedule::Constant),
        ("r1_weight", settings.r1_weight != 0.0),
        ("augment_colour", settings.augment_colour),
        ("augment_translation", settings.augment_translation),
        ("augment_cutout", settings.augment_cutout),
        ("reverse_noise", settings.reverse_noise != 0.0),
    ];
    match differing.iter().find(|(_, differs)| *differs) {
        Some((name, _)) if settings.cuda_graph => {
            Err(Error::setting("cuda_graph", format!("false with this {name}, which makes steps differ"), true))
        }
        _ => Ok(()),
    }
}

/// The batch's means are no derivative, so they have none themselves.
fn r1_needs_the_true_derivative(settings: &Settings) -> Result<()> {
    if settings.norm_gradient == NormGradient::Picture || settings.r1_weight == 0.0 {
        return Ok(());
    }
    let rule = "picture if r1_weight is not 0: R1 differentiates the gradient";
    Err(Error::setting("norm_gradient", rule, settings.norm_gradient.name()))
}

fn frozen_layers(settings: &Settings) -> Result<()> {
    let layers = settings.architecture.halvings(settings.image_size) as usize;
    if settings.freeze_discriminator <= layers {
        return Ok(());
    }
    let rule = format!("at most the {layers} layers that halve the picture");
    Err(Error::setting("freeze_discriminator", rule, settings.freeze_discriminator))
}

/// Checks the name alone: a config made on a laptop may name the device of another machine.
fn device_name(settings: &Settings) -> Result<()> {
    match torch_device(&settings.device) {
        Err(Error::Device(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::{Config, Preset};

    fn refusal(preset: Preset, overrides: Value) -> String {
        Config::with(preset, overrides).expect_err("must be refused").to_string()
    }

    #[test]
    fn refusals_name_field_rule_and_value() {
        let vasily = |overrides| refusal(Preset::Vasily, overrides);
        let paper = |overrides| refusal(Preset::Paper, overrides);
        insta::assert_snapshot!(
            [
                paper(json!({"image_size": 250})),
                paper(json!({"image_size": [128, 0]})),
                paper(json!({"image_size": 16})),
                paper(json!({"image_size": [1, 2, 3]})),
                vasily(json!({"image_size": [64, 48]})),
                vasily(json!({"generator_copies": "worn"})),
                vasily(json!({"discriminator_copies": true})),
                paper(json!({"width": 100})),
                paper(json!({"learning_rate": -1e-4})),
                paper(json!({"learning_rate": "fast"})),
                paper(json!({"discriminator_learning_rate": 0})),
                paper(json!({"schedule_end": 100})),
                paper(json!({"schedule": "linear", "schedule_start": 5, "schedule_end": 5})),
                paper(json!({"ema_rampup": 2})),
                paper(json!({"freeze_discriminator": 5})),
                paper(json!({"early_stop": 3, "monitor_every": 0})),
                paper(json!({"adam_beta1": 1.0})),
                paper(json!({"colour_jitter": 0.6})),
                paper(json!({"human_fit": "fill"})),
                paper(json!({"loader_prefetch": 0})),
                paper(json!({"batch_size": 0})),
                paper(json!({"batch_size": -3})),
                paper(json!({"batch_size": 2.5})),
                paper(json!({"epochs": 0})),
                paper(json!({"steps": 0})),
                paper(json!({"steps": 5, "images": 80})),
                paper(json!({"time_limit_s": 0})),
                paper(json!({"keep_checkpoints": 0})),
                paper(json!({"identity_weight": -0.1})),
                paper(json!({"self_swap_weight": -1})),
                paper(json!({"adversarial_loss": "wasserstein"})),
                paper(json!({"reverse": "detached", "reverse_noise": 2})),
                paper(json!({"reverse_noise": 0.1})),
                paper(json!({"r1_weight": -1})),
                paper(json!({"r1_every": 0})),
                paper(json!({"discriminator_scales": 0})),
                paper(json!({"discriminator_scales": 3})),
                vasily(json!({"discriminator_scales": 4})),
                paper(json!({"discriminator_norm": "batch"})),
                paper(json!({"norm_gradient": "batch", "r1_weight": 1})),
                paper(json!({"precision": "fp16"})),
                paper(json!({"cuda_graph": true, "r1_weight": 1})),
                paper(json!({"device": "tpu"})),
                paper(json!({"device": "cuda:x"})),
                paper(json!({"epoch": 3})),
                paper(json!({"learning-rate": 3})),
                paper(json!({"preset": "vasily"})),
                paper(json!([1, 2])),
                "papers".parse::<Preset>().unwrap_err().to_string(),
                Config::from_json("{").unwrap_err().to_string(),
                Config::from_json(r#"{"preset": 3}"#).unwrap_err().to_string(),
            ]
            .join("\n")
        );
    }

    #[test]
    fn presets_pass_and_round_trip() {
        for preset in Preset::ALL.iter().copied() {
            let config = Config::preset(preset);
            assert_eq!(Config::from_json(&config.to_json()).unwrap(), config);
            assert!(config.sources().iter().all(|(_, s)| s.starts_with('[')));
        }
    }

    #[test]
    fn a_whole_float_is_a_count_and_a_size_may_be_one_number() {
        let config = Config::with(Preset::Paper, json!({"batch_size": 8.0, "image_size": 64, "steps": null})).unwrap();
        assert_eq!((config.batch_size, config.image_size), (8, [64, 64]));
    }
}
