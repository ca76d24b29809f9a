//! Every setting of a run and every default, once. A preset is a row of differences (`presets`), and `check` is the one
//! validation: what holds a [`Config`] outside this folder holds a checked one.

mod check;
mod fields;
mod objectives;
mod presets;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Device;

pub use fields::{FIELDS, Field, Kind};
pub use objectives::{AdversarialLoss, DiscriminatorNorm, NormGradient, Reverse};
pub use presets::Preset;

use crate::error::{Error, Result};

/// Which networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// The article's: added skips, sigmoid paint, a linear head on the discriminator.
    Vasily,
    /// The paper's: concatenated skips, copies of the inputs, tanh paint, a patch discriminator.
    Paper,
    /// Ours: a painter, a locator, a placer, and a discriminator of painted regions.
    Kisekae,
}

impl Architecture {
    /// How many times the networks halve pictures of a size.
    ///
    /// ```
    /// use cagan::config::Architecture::{Kisekae, Vasily};
    /// assert_eq!(Vasily.halvings([64, 64]), 5);
    /// // Down to 4 x 3.
    /// assert_eq!(Kisekae.halvings([64, 48]), 4);
    /// assert_eq!(Kisekae.halvings([512, 384]), 7);
    /// ```
    pub fn halvings(self, image_size: [i64; 2]) -> u32 {
        match self {
            Architecture::Vasily => 5,
            Architecture::Paper => 4,
            Architecture::Kisekae => {
                let shorter = image_size[0].min(image_size[1]);
                let halvings = (1..).take_while(|k| shorter >> k >= 3).count() as u32;
                halvings.max(3)
            }
        }
    }
}

/// Which two pictures the paper's generator sees again at every intermediate layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Copies {
    None,
    /// (human, worn), as the paper has it.
    Worn,
    /// (human, target).
    Target,
}

/// How a picture of another aspect comes to the networks' size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Its middle, as large as has the aspect.
    Crop,
    /// All of it, with bars in the colour of its border.
    Pad,
    /// All of it, out of shape.
    Stretch,
}

/// Where the pictures of the pairs wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoaderMode {
    /// Resident where they fit, streaming otherwise.
    Auto,
    /// Decoded once and kept on the training device.
    Resident,
    /// Decoded anew for each batch, ahead of the training, by threads of their own.
    Streaming,
}

/// How the learning rates go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Constant,
    Linear,
    Cosine,
}

/// What a run does when a loss or a weight is no number any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNonFinite {
    Stop,
    /// Go back to the last checkpoint and on at half the rate.
    Rollback,
}

/// Number format of the convolutions; parameters, norms' statistics and losses are float32 in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Fp32,
    /// float32 whose products CUDA rounds to ten bits of mantissa; as `Fp32` on a CPU.
    Tf32,
    /// bfloat16 working copies of the weights, bfloat16 activations.
    Bf16,
}

impl Precision {
    /// The number format of the activations.
    pub fn kind(self) -> tch::Kind {
        match self {
            Precision::Fp32 | Precision::Tf32 => tch::Kind::Float,
            Precision::Bf16 => tch::Kind::BFloat16,
        }
    }
}

/// The settings that say how long a run is.
const LENGTHS: [&str; 3] = ["epochs", "steps", "images"];

/// A length of one's own replaces any other that was there.
fn forget_length(all: &mut Map<String, Value>, overrides: &Map<String, Value>) {
    if LENGTHS.iter().any(|name| overrides.contains_key(*name)) {
        let default = Config::default().to_map();
        for name in LENGTHS {
            all.insert(name.into(), default[name].clone());
        }
    }
}

/// All settings of a run.
///
/// ```
/// use cagan::config::{Config, Preset};
/// let config = Config::with(Preset::Vasily, serde_json::json!({"epochs": 3, "image_size": 64}))?;
/// assert_eq!((config.epochs, config.image_size), (3, [64, 64]));
/// # Ok::<(), cagan::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub preset: Preset,
    pub architecture: Architecture,
    pub image_size: [i64; 2],
    pub width: i64,
    pub generator_copies: Copies,
    pub discriminator_copies: bool,
    pub discriminator_noise: f64,
    pub human_fit: Fit,
    pub article_fit: Fit,
    pub crop_margin: i64,
    pub flip: bool,
    pub colour_jitter: f64,
    pub identity_weight: f64,
    pub cycle_weight: f64,
    pub adversarial_weight: f64,
    pub warp_weight: f64,
    pub bending_weight: f64,
    pub adversarial_loss: AdversarialLoss,
    pub reverse: Reverse,
    pub reverse_noise: f64,
    pub self_swap_weight: f64,
    pub mask_tv_weight: f64,
    pub mask_binary_weight: f64,
    pub feature_weight: f64,
    pub perceptual_weight: f64,
    pub r1_weight: f64,
    pub r1_every: u64,
    pub augment_colour: bool,
    pub augment_translation: bool,
    pub augment_cutout: bool,
    pub norm_gradient: NormGradient,
    pub discriminator_norm: DiscriminatorNorm,
    pub discriminator_spectral_norm: bool,
    pub discriminator_scales: u32,
    pub place_after: u64,
    pub judge_after: u64,
    pub withhold_worn: f64,
    pub mask_cut: f64,
    pub learning_rate: f64,
    pub discriminator_learning_rate: Option<f64>,
    pub schedule: Schedule,
    pub schedule_start: u64,
    pub schedule_end: u64,
    pub gradient_clip: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub ema_images: u64,
    pub ema_rampup: f64,
    pub batch_size: usize,
    pub epochs: u64,
    pub steps: Option<u64>,
    pub images: Option<u64>,
    pub time_limit_s: Option<f64>,
    pub seed: u64,
    pub init_from: String,
    pub freeze_discriminator: usize,
    pub log_every: u64,
    pub sample_every: u64,
    pub snapshot_every: u64,
    pub checkpoint_every: u64,
    pub keep_checkpoints: usize,
    pub on_non_finite: OnNonFinite,
    pub monitor_every: u64,
    pub early_stop: u64,
    pub sample_humans: usize,
    pub sample_articles: usize,
    pub device: String,
    pub threads: usize,
    pub loader: LoaderMode,
    pub loader_workers: usize,
    pub loader_prefetch: usize,
    pub precision: Precision,
    pub cuda_graph: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            preset: Preset::Paper,
            architecture: Architecture::Paper,
            image_size: [128, 96],
            width: 512,
            generator_copies: Copies::Worn,
            discriminator_copies: false,
            discriminator_noise: 0.0,
            human_fit: Fit::Crop,
            article_fit: Fit::Pad,
            crop_margin: 4,
            flip: true,
            colour_jitter: 0.0,
            identity_weight: 0.1,
            cycle_weight: 1.0,
            adversarial_weight: 1.0,
            warp_weight: 0.0,
            bending_weight: 0.0,
            adversarial_loss: AdversarialLoss::Logistic,
            reverse: Reverse::Through,
            reverse_noise: 0.0,
            self_swap_weight: 0.0,
            mask_tv_weight: 0.0,
            mask_binary_weight: 0.0,
            feature_weight: 0.0,
            perceptual_weight: 0.0,
            r1_weight: 0.0,
            r1_every: 16,
            augment_colour: false,
            augment_translation: false,
            augment_cutout: false,
            norm_gradient: NormGradient::Picture,
            discriminator_norm: DiscriminatorNorm::Instance,
            discriminator_spectral_norm: false,
            discriminator_scales: 1,
            place_after: 0,
            judge_after: 0,
            withhold_worn: 0.0,
            mask_cut: 0.5,
            learning_rate: 2e-4,
            discriminator_learning_rate: None,
            schedule: Schedule::Constant,
            schedule_start: 0,
            schedule_end: 0,
            gradient_clip: 0.0,
            adam_beta1: 0.5,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            ema_images: 0,
            ema_rampup: 0.05,
            batch_size: 16,
            epochs: 50,
            steps: None,
            images: None,
            time_limit_s: None,
            seed: 0,
            init_from: String::new(),
            freeze_discriminator: 0,
            log_every: 50,
            sample_every: 500,
            snapshot_every: 1000,
            checkpoint_every: 500,
            keep_checkpoints: 2,
            on_non_finite: OnNonFinite::Stop,
            monitor_every: 500,
            early_stop: 0,
            sample_humans: 8,
            sample_articles: 4,
            device: "auto".into(),
            threads: 0,
            loader: LoaderMode::Auto,
            loader_workers: 0,
            loader_prefetch: 4,
            precision: Precision::Fp32,
            cuda_graph: false,
        }
    }
}

impl Config {
    /// A preset as it stands.
    pub fn preset(preset: Preset) -> Config {
        Self::with(preset, Value::Object(Map::new())).expect("a preset passes its own check")
    }

    /// A preset with some settings of one's own, given as a JSON object. A single number for `image_size` means a
    /// square.
    ///
    /// # Errors
    /// An unknown name (with the nearest known one), a value of the wrong type, or one that the check refuses.
    pub fn with(preset: Preset, overrides: Value) -> Result<Config> {
        let Value::Object(overrides) = overrides else {
            return Err(Error::setting("config", "an object of settings", overrides));
        };
        let mut all = Self::default().to_map();
        all.insert("preset".into(), serde_json::to_value(preset).unwrap());
        for (name, value, _) in presets::rows(preset) {
            all.insert(name.into(), value);
        }
        forget_length(&mut all, &overrides);
        for (name, value) in overrides {
            if name == "preset" {
                if value == all["preset"] {
                    continue;
                }
                return Err(Error::setting("preset", &*all["preset"].to_string(), value));
            }
            let field = fields::find(&name)?;
            all.insert(name.clone(), field.checked(value)?);
        }
        let config: Config = serde_json::from_value(Value::Object(all))
            .map_err(|e| Error::setting("config", "settings of the right types", e))?;
        check::check(&config)?;
        Ok(config)
    }

    /// The same settings but for these.
    ///
    /// # Errors
    /// As [`Config::with`].
    pub fn replace(&self, overrides: Map<String, Value>) -> Result<Config> {
        let mut all = self.to_map();
        forget_length(&mut all, &overrides);
        all.extend(overrides);
        Self::with(self.preset, Value::Object(all))
    }

    /// Reads what [`Config::to_json`] wrote. Settings that are left out take the preset's values.
    ///
    /// # Errors
    /// Text that is no JSON object, and all that [`Config::with`] refuses.
    pub fn from_json(text: &str) -> Result<Config> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| Error::setting("config", "a JSON object of settings", e))?;
        let preset = match value.get("preset") {
            None => Preset::default(),
            Some(Value::String(name)) => name.parse()?,
            Some(other) => return Err(Error::setting("preset", "a preset's name", other)),
        };
        Self::with(preset, value)
    }

    /// All settings as JSON text, in the order of [`FIELDS`].
    ///
    /// ```
    /// use cagan::Config;
    /// let config = Config::default();
    /// assert_eq!(Config::from_json(&config.to_json())?, config);
    /// # Ok::<(), cagan::Error>(())
    /// ```
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("settings are plain values")
    }

    /// All settings by name.
    pub fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => unreachable!("a struct becomes an object"),
        }
    }

    /// Where each value comes from: "[A] ..." the article, "[P] ..." the paper, "[we] ..." our choice, "yours" an
    /// override.
    pub fn sources(&self) -> Vec<(&'static str, String)> {
        let (mine, preset) = (self.to_map(), Config::preset(self.preset).to_map());
        let rows = presets::rows(self.preset);
        FIELDS
            .iter()
            .map(|field| {
                let source = if mine[field.name] != preset[field.name] {
                    format!("yours; the preset has {}", preset[field.name])
                } else if let Some((_, _, source)) = rows.iter().find(|row| row.0 == field.name) {
                    (*source).to_owned()
                } else {
                    field.source.to_owned()
                };
                (field.name, source)
            })
            .collect()
    }

    /// The names of the settings in which two configs differ and that change what is learnt: a run can go on with other
    /// intervals, another length or another device, not with these.
    pub fn differences(&self, other: &Config) -> Vec<String> {
        let (mine, theirs) = (self.to_map(), other.to_map());
        FIELDS
            .iter()
            .filter(|field| !field.harmless && mine[field.name] != theirs[field.name])
            .map(|field| format!("{} ({} there, {} here)", field.name, theirs[field.name], mine[field.name]))
            .collect()
    }

    /// How many steps the run takes for that many pairs: `steps`, or as many as show `images`, or `epochs` passes of
    /// whole batches.
    ///
    /// ```
    /// // The article's experiment: 940 pairs, batch 16, 50 epochs.
    /// use cagan::config::{Config, Preset};
    /// assert_eq!(Config::preset(Preset::Vasily).total_steps(940), 2950);
    /// ```
    pub fn total_steps(&self, pairs: usize) -> u64 {
        let batch = self.batch_size as u64;
        match (self.steps, self.images) {
            (Some(steps), _) => steps,
            (None, Some(images)) => images.div_ceil(batch),
            (None, None) => self.epochs * (pairs as u64).div_ceil(batch),
        }
    }

    /// The device to compute on.
    ///
    /// # Errors
    /// [`Error::Device`] when CUDA is asked for and libtorch finds none.
    pub fn torch_device(&self) -> Result<Device> {
        torch_device(&self.device)
    }
}

/// The device behind a name: `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Setting`] for another name, [`Error::Device`] for a CUDA device that is not there.
pub fn torch_device(name: &str) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(Device::cuda_if_available()),
        "cuda" => 0,
        _ => name
            .strip_prefix("cuda:")
            .and_then(|n| n.parse::<usize>().ok())
            .ok_or_else(|| Error::setting("device", "`auto`, `cpu`, `cuda` or `cuda:N`", format!("`{name}`")))?,
    };
    let count = if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 };
    if index as i64 >= count {
        return Err(Error::Device(format!("expected a CUDA device for `{name}`, but libtorch finds {count}")));
    }
    Ok(Device::Cuda(index))
}
