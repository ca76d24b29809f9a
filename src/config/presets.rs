//! The presets: their differences from the defaults of the table, each with its source.

use serde_json::{Value, json};

use super::choices::Preset;
use super::settings::FIELDS;

/// The preset's value of a setting: its own or the table's default.
pub(super) fn value(preset: Preset, name: &str) -> Value {
    let own = rows(preset).into_iter().find(|row| row.0 == name).map(|row| row.1);
    own.unwrap_or_else(|| FIELDS.iter().find(|field| field.name == name).map_or(Value::Null, |field| field.default()))
}

/// The differences from the defaults: setting, value, source.
#[rustfmt::skip]
pub(super) fn rows(preset: Preset) -> Vec<(&'static str, Value, &'static str)> {
    let vasily = || vec![
        ("architecture", json!("vasily"), "[A]"),
        ("image_size", json!([256, 256]), "[A] 256 x 256"),
        ("width", json!(512), "[A] ch = 512"),
        ("discriminator_noise", json!(0.2), "[A] sigma 0.2"),
        ("crop_margin", json!(0), "[A] mentions no crop"),
        ("flip", json!(true), "[A] human and worn together; the target on its own [we]"),
        ("learning_rate", json!(2e-4), "[we] the article refers to the paper and prints none"),
        ("adam_beta1", json!(0.5), "[we] the article refers to the paper and prints none"),
        ("adam_beta2", json!(0.999), "[we] the article refers to the paper and prints none"),
        ("batch_size", json!(16), "[A] 16"),
        ("epochs", json!(50), "[A] 50"),
    ];
    match preset {
        Preset::Paper => vec![],
        Preset::Vasily => vasily(),
        Preset::Kisekae => vec![
            ("architecture", json!("kisekae"), "[we]"),
            ("image_size", json!([64, 48]), "[we] what two CPU cores learn in half an hour"),
            ("width", json!(64), "[we] half a million weights a network"),
            ("crop_margin", json!(2), "[we]"),
            ("adversarial_weight", json!(0.1), "[we]"),
            ("warp_weight", json!(0.5), "[we]"),
            ("bending_weight", json!(1.0), "[we]"),
            ("adversarial_loss", json!("hinge"), "[we]"),
            ("feature_weight", json!(5.0), "[we]"),
            ("discriminator_spectral_norm", json!(true), "[we]"),
            ("place_after", json!("13.46%"), "[we] 700 of 5,200 steps"),
            ("judge_after", json!("48.08%"), "[we] 2,500 of 5,200 steps"),
            ("full_size_after", json!("75%"), "[we] of no effect at 64 x 48"),
            ("withhold_worn", json!(0.2), "[we]"),
            ("mask_cut", json!(0.71), "[we] the best of several on held-out people"),
            ("learning_rate", json!(5e-4), "[we] twice as much taught masks and frames less in 2,000 steps"),
            ("discriminator_learning_rate", json!(6e-4), "[we]"),
            ("schedule", json!("cosine"), "[we]"),
            ("schedule_start", json!("48.08%"), "[we] when the discriminator joins"),
            ("schedule_end", json!("158.65%"), "[we] beyond the end: the rate falls to half"),
            ("adam_beta1", json!(0.5), "[we]"),
            ("adam_beta2", json!(0.99), "[we]"),
            ("ema_images", json!(2_000), "[we]"),
            ("batch_size", json!(8), "[we]"),
            ("images", json!(41_600), "[we] 5,200 steps; with more of them old colour came back; epochs, steps or images of your own replace it"),
        ],
        Preset::Smoke => {
            let mut rows = vasily();
            let mine = [
                ("image_size", json!([64, 64])), ("width", json!(16)), ("batch_size", json!(4)), ("epochs", json!(2)),
                ("log_every", json!(2)), ("sample_every", json!(10)), ("snapshot_every", json!(10)),
                ("checkpoint_every", json!(10)), ("sample_humans", json!(3)), ("sample_articles", json!(2)),
            ];
            for (name, value) in mine {
                rows.retain(|row| row.0 != name);
                rows.push((name, value, "[we] small, for tests"));
            }
            rows
        }
    }
}
