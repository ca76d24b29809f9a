//! The presets: rows of what differs from the defaults, each with its source.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// A named row of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The 2017 article on swimwear.
    Vasily,
    /// Jetchev & Bergmann, arXiv 1709.04695.
    Paper,
    /// The article's networks, tiny: seconds on a CPU, for tests.
    Smoke,
}

impl Preset {
    pub const ALL: [Preset; 3] = [Preset::Vasily, Preset::Paper, Preset::Smoke];

    pub fn name(self) -> &'static str {
        match self {
            Preset::Vasily => "vasily",
            Preset::Paper => "paper",
            Preset::Smoke => "smoke",
        }
    }
}

impl std::str::FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Preset::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| Error::unknown("preset", name, Preset::ALL.map(Preset::name)))
    }
}

/// What differs from the defaults: setting, value, source.
#[rustfmt::skip]
pub(super) fn rows(preset: Preset) -> Vec<(&'static str, Value, &'static str)> {
    let vasily = || vec![
        ("architecture", json!("vasily"), "[A]"),
        ("image_size", json!([256, 256]), "[A] 256 x 256"),
        ("width", json!(512), "[A] ch = 512"),
        ("generator_copies", json!("none"), "[A] has none"),
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
