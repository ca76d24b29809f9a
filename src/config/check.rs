//! The one validation of a config. Upper floors receive configs that passed it.

use serde_json::json;

use super::{Architecture, Config, Copies, Reverse, Schedule, torch_device};
use crate::error::{Error, Result};

/// Pictures above this side are refused: a wrong digit should not take the machine's memory.
const LARGEST_SIDE: i64 = 4096;

pub(super) fn check(config: &Config) -> Result<()> {
    let multiple = 1i64 << config.architecture.halvings(config.image_size);
    for side in config.image_size {
        if side < multiple || side % multiple != 0 || side > LARGEST_SIDE {
            let below = (side / multiple * multiple).clamp(multiple, LARGEST_SIDE);
            let above = (below + multiple).min(LARGEST_SIDE);
            let nearest = if side < multiple {
                format!("{multiple}")
            } else if below == above {
                format!("{below}")
            } else {
                format!("{below} and {above}")
            };
            return Err(Error::setting(
                "image_size",
                format!("multiples of {multiple} up to {LARGEST_SIDE} (nearest: {nearest})"),
                side,
            ));
        }
    }
    // One value per picture and channel has no variance: the norm would return its bias, whatever comes in.
    if config.image_size == [multiple, multiple] {
        return Err(Error::setting(
            "image_size",
            format!("more than {multiple} x {multiple}: the deepest instance norm needs two pixels"),
            format!("{multiple} x {multiple}"),
        ));
    }
    if config.width < 8 || config.width % 8 != 0 || config.width > 8192 {
        return Err(Error::setting("width", "a multiple of 8 from 8 to 8192", config.width));
    }
    if config.architecture == Architecture::Kisekae && config.width % 32 != 0 {
        let rule = "a multiple of 32: the norms of kisekae have groups";
        return Err(Error::setting("width", rule, config.width));
    }
    without_use(config)?;
    if config.architecture == Architecture::Vasily {
        if config.generator_copies != Copies::None {
            return Err(Error::setting(
                "generator_copies",
                "none: the article's generator has no copies",
                serde_json::to_value(config.generator_copies).unwrap(),
            ));
        }
        if config.discriminator_copies {
            return Err(Error::setting(
                "discriminator_copies",
                "false: the article's discriminator has no copies",
                true,
            ));
        }
    }
    // The same two rules as for the pictures themselves, for what the last scale sees.
    let fits = |scales: u32| {
        let seen = config.image_size.map(|side| side >> (scales - 1));
        let halved = config.image_size.map(|side| side % (multiple << (scales - 1)));
        halved == [0, 0] && seen != [multiple, multiple]
    };
    let most = (1..=4).take_while(|scales| fits(*scales)).last().unwrap_or(1);
    if !(1..=most).contains(&config.discriminator_scales) {
        let [h, w] = config.image_size;
        return Err(Error::setting(
            "discriminator_scales",
            format!("1 to {most} for pictures of {h} x {w}: each scale halves them once more"),
            config.discriminator_scales,
        ));
    }
    if !(0..=256).contains(&config.crop_margin) {
        return Err(Error::setting("crop_margin", "0 to 256 pixels", config.crop_margin));
    }
    // Above a half, white articles would turn grey and grey ones white.
    if !(0.0..=0.5).contains(&config.colour_jitter) {
        return Err(Error::setting("colour_jitter", "0 to 0.5", config.colour_jitter));
    }
    for (name, value) in [
        ("discriminator_noise", config.discriminator_noise),
        ("identity_weight", config.identity_weight),
        ("cycle_weight", config.cycle_weight),
        ("adversarial_weight", config.adversarial_weight),
        ("warp_weight", config.warp_weight),
        ("bending_weight", config.bending_weight),
        ("gradient_clip", config.gradient_clip),
        ("self_swap_weight", config.self_swap_weight),
        ("mask_tv_weight", config.mask_tv_weight),
        ("mask_binary_weight", config.mask_binary_weight),
        ("feature_weight", config.feature_weight),
        ("perceptual_weight", config.perceptual_weight),
        ("r1_weight", config.r1_weight),
    ] {
        if !(0.0..=1e6).contains(&value) {
            return Err(Error::setting(name, "0 to 1e6", value));
        }
    }
    if !(0.0..=1.0).contains(&config.reverse_noise) {
        return Err(Error::setting("reverse_noise", "0 to 1", config.reverse_noise));
    }
    if config.reverse == Reverse::Through && config.reverse_noise > 0.0 {
        return Err(Error::setting(
            "reverse_noise",
            "0 where reverse is through: only the detached swap back has noise",
            config.reverse_noise,
        ));
    }
    if !(config.learning_rate > 0.0 && config.learning_rate <= 1.0) {
        return Err(Error::setting("learning_rate", "above 0 and at most 1", config.learning_rate));
    }
    if let Some(rate) = config.discriminator_learning_rate
        && !(rate > 0.0 && rate <= 1.0)
    {
        let rule = "above 0 and at most 1, or null";
        return Err(Error::setting("discriminator_learning_rate", rule, rate));
    }
    let span = (config.schedule_start, config.schedule_end);
    match config.schedule {
        Schedule::Constant if span != (0, 0) => {
            let rule = "linear or cosine where schedule_start or schedule_end is given";
            return Err(Error::setting("schedule", rule, "constant"));
        }
        Schedule::Linear | Schedule::Cosine if span.0 >= span.1 => {
            let rule = format!("more than schedule_start ({})", span.0);
            return Err(Error::setting("schedule_end", rule, span.1));
        }
        _ => {}
    }
    if !(0.0..=1.0).contains(&config.ema_rampup) {
        return Err(Error::setting("ema_rampup", "0 to 1", config.ema_rampup));
    }
    if !(0.0..=1.0).contains(&config.withhold_worn) {
        return Err(Error::setting("withhold_worn", "0 to 1", config.withhold_worn));
    }
    if !(0.01..=0.99).contains(&config.mask_cut) {
        return Err(Error::setting("mask_cut", "0.01 to 0.99", config.mask_cut));
    }
    for (name, value) in [("adam_beta1", config.adam_beta1), ("adam_beta2", config.adam_beta2)] {
        if !(0.0..1.0).contains(&value) {
            return Err(Error::setting(name, "at least 0 and below 1", value));
        }
    }
    if !(config.adam_epsilon > 0.0 && config.adam_epsilon <= 1.0) {
        return Err(Error::setting("adam_epsilon", "above 0 and at most 1", config.adam_epsilon));
    }
    for (name, value, most) in [
        ("batch_size", config.batch_size as u64, 65_536),
        ("epochs", config.epochs, 1_000_000_000),
        ("steps", config.steps.unwrap_or(1), 1_000_000_000_000),
        ("images", config.images.unwrap_or(1), 1_000_000_000_000),
        ("r1_every", config.r1_every, 1_000_000),
        ("log_every", config.log_every, 1_000_000),
        ("sample_every", config.sample_every, u64::MAX),
        ("snapshot_every", config.snapshot_every, u64::MAX),
        ("checkpoint_every", config.checkpoint_every, u64::MAX),
        ("sample_humans", config.sample_humans as u64, 64),
        ("sample_articles", config.sample_articles as u64, 64),
    ] {
        if value < 1 || value > most {
            let rule = if most == u64::MAX { "at least 1".to_owned() } else { format!("1 to {most}") };
            return Err(Error::setting(name, rule, value));
        }
    }
    if let (Some(_), Some(images)) = (config.steps, config.images) {
        return Err(Error::setting("images", "null where steps is given", images));
    }
    if let Some(limit) = config.time_limit_s
        && !(limit > 0.0 && limit <= 1e9)
    {
        return Err(Error::setting("time_limit_s", "above 0 and at most 1e9", limit));
    }
    if config.early_stop > 0 && config.monitor_every == 0 {
        let rule = "0 where monitor_every is 0";
        return Err(Error::setting("early_stop", rule, config.early_stop));
    }
    let differing = [
        ("architecture", config.architecture == Architecture::Kisekae),
        ("schedule", config.schedule != Schedule::Constant),
        ("r1_weight", config.r1_weight != 0.0),
        ("augment_colour", config.augment_colour),
        ("augment_translation", config.augment_translation),
        ("augment_cutout", config.augment_cutout),
        ("reverse_noise", config.reverse_noise != 0.0),
    ];
    if let Some((name, _)) = differing.iter().find(|(_, differs)| *differs)
        && config.cuda_graph
    {
        let rule = format!("false with this {name}, by which steps differ");
        return Err(Error::setting("cuda_graph", rule, true));
    }
    let layers = config.architecture.halvings(config.image_size) as usize;
    if config.freeze_discriminator > layers {
        return Err(Error::setting(
            "freeze_discriminator",
            format!("at most the {layers} layers that halve the picture"),
            config.freeze_discriminator,
        ));
    }
    for (name, value, least) in [
        ("threads", config.threads, 0),
        ("loader_workers", config.loader_workers, 0),
        ("loader_prefetch", config.loader_prefetch, 1),
        ("keep_checkpoints", config.keep_checkpoints, 1),
    ] {
        if value < least || value > 1024 {
            return Err(Error::setting(name, format!("{least} to 1024"), value));
        }
    }
    // Only the name is judged here: a config made on a laptop may name the device of another machine.
    match torch_device(&config.device) {
        Err(Error::Device(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses what the config's networks would ignore.
fn without_use(config: &Config) -> Result<()> {
    let published = [
        ("generator_copies", json!("none")),
        ("discriminator_copies", json!(false)),
        ("discriminator_noise", json!(0.0)),
        ("identity_weight", json!(0.0)),
        ("cycle_weight", json!(0.0)),
        ("reverse", json!("through")),
        ("self_swap_weight", json!(0.0)),
        ("mask_tv_weight", json!(0.0)),
        ("mask_binary_weight", json!(0.0)),
        ("r1_weight", json!(0.0)),
        ("augment_colour", json!(false)),
        ("augment_translation", json!(false)),
        ("augment_cutout", json!(false)),
        ("norm_gradient", json!("picture")),
        ("discriminator_norm", json!("none")),
        ("discriminator_scales", json!(1)),
        ("freeze_discriminator", json!(0)),
    ];
    let ours = [
        ("warp_weight", json!(0.0)),
        ("bending_weight", json!(0.0)),
        ("place_after", json!(0)),
        ("judge_after", json!(0)),
        ("withhold_worn", json!(0.0)),
        ("mask_cut", json!(0.5)),
    ];
    let (refused, whose) = match config.architecture {
        Architecture::Kisekae => (&published[..], "kisekae"),
        Architecture::Vasily => (&ours[..], "vasily"),
        Architecture::Paper => (&ours[..], "paper"),
    };
    let map = config.to_map();
    match refused.iter().find(|(name, neutral)| map[*name] != *neutral) {
        None => Ok(()),
        Some((name, neutral)) => {
            Err(Error::setting(*name, format!("{neutral}: the networks of {whose} have no use for it"), &map[*name]))
        }
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
        for preset in Preset::ALL {
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
