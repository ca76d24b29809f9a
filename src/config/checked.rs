//! A config: settings that passed every check.

use std::ops::Deref;

use serde::Serialize;
use serde_json::{Map, Value};
use tch::Device;

use super::choices::{Architecture, Preset, Schedule};
use super::device::torch_device;
use super::field::{Field, Kind};
use super::moment::Moment;
use super::settings::{FIELDS, Settings, find};
use super::{presets, rules};
use crate::error::{Error, Result};

/// The settings that give a run's length.
const LENGTHS: [&str; 3] = ["epochs", "steps", "images"];

/// The images of a setting's moment in a run of that many steps.
fn resolved(name: &str, moment: Moment, steps: u64, batch: u64) -> Moment {
    match (name, moment, moment.resolved(steps, batch)) {
        // Less than the whole run leaves image_size a step, of however few.
        ("full_size_after", Moment::Share(share), Moment::Images(images)) if share < 100.0 => {
            Moment::Images(images.min(steps.saturating_sub(1).saturating_mul(batch)))
        }
        (_, _, resolved) => resolved,
    }
}

/// All settings of a run, checked and read-only. Its fields are those of [`Settings`].
///
/// ```
/// use cagan::config::{Config, Preset};
/// let config = Config::with(Preset::Vasily, serde_json::json!({"epochs": 3, "image_size": 64}))?;
/// assert_eq!((config.epochs, config.image_size), (3, [64, 64]));
/// # Ok::<(), cagan::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Config(Settings);

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

/// The default preset.
impl Default for Config {
    fn default() -> Self {
        Config::preset(Preset::default())
    }
}

impl Config {
    /// A preset without overrides.
    pub fn preset(preset: Preset) -> Config {
        Self::with(preset, Value::Object(Map::new())).expect("a preset passes its own check")
    }

    /// A preset with overrides, given as a JSON object. A single number for `image_size` means a square.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest known name; [`Error::Setting`] for a value of the wrong type, outside
    /// the bounds, against a rule, or of a setting that the architecture has no use for.
    pub fn with(preset: Preset, overrides: Value) -> Result<Config> {
        let Value::Object(overrides) = overrides else {
            return Err(Error::setting("config", "an object of settings", overrides));
        };
        let mut given = Map::new();
        for (name, value) in overrides {
            if name == "preset" {
                if value != preset.name() {
                    return Err(Error::setting("preset", format!("{:?}", preset.name()), value));
                }
                continue;
            }
            let value = find(&name)?.checked(value)?;
            given.insert(name, value);
        }
        let mut all = Map::from_iter([("preset".to_owned(), preset.name().into())]);
        all.extend(FIELDS.iter().map(|field| (field.name.to_owned(), field.default())));
        all.extend(presets::rows(preset).into_iter().map(|(name, value, _)| (name.to_owned(), value)));
        if given.keys().any(|name| LENGTHS.contains(&name.as_str())) {
            // A given length replaces the preset's.
            all.extend(LENGTHS.map(|name| (name.to_owned(), find(name).expect("a row").default())));
        }
        let architecture = given.get("architecture").unwrap_or(&all["architecture"]).clone();
        for field in FIELDS.iter().filter(|field| !field.used_by.iter().any(|one| architecture == one.name())) {
            let unused = (field.unused)();
            if let Some(value) = given.get(field.name).filter(|value| **value != unused) {
                let name = architecture.as_str().unwrap_or_default();
                let rule = format!("{unused}: the networks of {name} have no use for it");
                return Err(Error::setting(field.name, rule, value));
            }
            all.insert(field.name.into(), unused);
        }
        all.extend(given);
        let settings: Settings = serde_json::from_value(Value::Object(all))
            .map_err(|e| Error::setting("config", "settings of the right types", e))?;
        rules::check(&settings)?;
        Ok(Config(settings))
    }

    /// The same settings but for the overrides.
    ///
    /// # Errors
    /// As [`Config::with`].
    pub fn replace(&self, overrides: Map<String, Value>) -> Result<Config> {
        let mut all = self.to_map();
        if overrides.keys().any(|name| LENGTHS.contains(&name.as_str())) {
            LENGTHS.iter().for_each(|name| drop(all.shift_remove(*name)));
        }
        all.extend(overrides);
        Self::with(self.preset, Value::Object(all))
    }

    /// Reads the JSON of [`Config::to_json`]. Missing settings take the preset's values.
    ///
    /// # Errors
    /// Text that is not a JSON object, and everything that [`Config::with`] rejects.
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
        let preset = ("preset".to_owned(), self.preset.name().into());
        std::iter::once(preset).chain(FIELDS.iter().map(|field| (field.name.to_owned(), self.value(field)))).collect()
    }

    /// Where each value comes from: `[A] ...` the article, `[P] ...` the paper, `[we] ...` our choice, `yours` an
    /// override.
    pub fn sources(&self) -> Vec<(&'static str, String)> {
        let (preset, rows) = (Config::preset(self.preset), presets::rows(self.preset));
        let source = |field: &Field| {
            if self.differs(field, &preset) {
                format!("yours; the preset has {}", preset.value(field))
            } else if let Some((_, _, source)) = rows.iter().find(|row| row.0 == field.name) {
                (*source).to_owned()
            } else if field.used_by.contains(&self.architecture) {
                field.source.to_owned()
            } else {
                format!("[we] {} has no use for it", self.architecture.name())
            }
        };
        FIELDS.iter().map(|field| (field.name, source(field))).collect()
    }

    /// Whether a setting is another one than the preset's. A share of the length that became a number of images is not.
    pub fn differs(&self, field: &Field, preset: &Config) -> bool {
        let (own, theirs) = (self.value(field), preset.value(field));
        let share = serde_json::from_value::<Moment>(theirs.clone()).ok().filter(|_| field.kind == Kind::Moment);
        let known = self.steps.is_some() || self.images.is_some();
        let resolved = share
            .filter(|_| known)
            .map(|share| serde_json::json!(resolved(field.name, share, self.total_steps(1), self.batch_size as u64)));
        own != theirs && resolved != Some(own)
    }

    /// The settings that a resumed run may not change and in which two configs differ, as text.
    pub fn differences(&self, other: &Config) -> Vec<String> {
        let differs = |field: &&Field| !field.resumable && self.value(field) != other.value(field);
        let text = |field: &Field| format!("{} ({} there, {} here)", field.name, other.value(field), self.value(field));
        FIELDS.iter().filter(differs).map(text).collect()
    }

    /// The number of steps for that many pairs: `steps`, or enough for `images`, or `epochs` passes of whole batches.
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

    /// The same settings with every share of the length as images, in whole steps of a run on that many pairs.
    ///
    /// ```
    /// use cagan::config::{Config, Moment, Preset};
    /// let config = Config::with(Preset::Kisekae, serde_json::json!({"images": 4160, "judge_after": "50%"}))?;
    /// assert_eq!(config.resolved(100)?.judge_after, Moment::Images(2080));
    /// # Ok::<(), cagan::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for a schedule whose end then comes before its start.
    pub fn resolved(&self, pairs: usize) -> Result<Config> {
        let (steps, batch) = (self.total_steps(pairs), self.batch_size as u64);
        let mut settings = self.0.clone();
        let Settings { place_after, judge_after, full_size_after, schedule_start, schedule_end, .. } = &mut settings;
        if self.schedule == Schedule::Constant {
            (*schedule_start, *schedule_end) = (Moment::Images(0), Moment::Images(0));
        } else if *schedule_end == Moment::Images(0) {
            *schedule_end = Moment::Share(100.0);
        }
        *full_size_after = resolved("full_size_after", *full_size_after, steps, batch);
        for moment in [place_after, judge_after, schedule_start, schedule_end] {
            *moment = moment.resolved(steps, batch);
        }
        rules::check(&settings)?;
        Ok(Config(settings))
    }

    /// The same settings for a run that goes on, whose own resolved settings are `saved`: a share takes the run's number
    /// of images if it is the preset's own or if it was that number. A longer run keeps its stages.
    pub fn settled(&self, saved: &Config, pairs: usize) -> Config {
        let (steps, batch) = (saved.total_steps(pairs), saved.batch_size as u64);
        let mut settings = self.0.clone();
        let Settings { place_after, judge_after, full_size_after, schedule_start, schedule_end, .. } = &mut settings;
        for (name, moment, there) in [
            ("place_after", place_after, saved.place_after),
            ("judge_after", judge_after, saved.judge_after),
            ("full_size_after", full_size_after, saved.full_size_after),
            ("schedule_start", schedule_start, saved.schedule_start),
            ("schedule_end", schedule_end, saved.schedule_end),
        ] {
            let own = serde_json::json!(*moment) == presets::value(self.preset, name);
            // 0 is the end of the run.
            if (name, *moment) == ("schedule_end", Moment::Images(0)) && self.schedule != Schedule::Constant {
                *moment = Moment::Share(100.0);
            }
            if matches!(moment, Moment::Share(_)) && (own || resolved(name, *moment, steps, batch) == there) {
                *moment = there;
            }
        }
        Config(settings)
    }

    /// The stages of a run in order: a name, and the images seen at which it begins. Of shares the images are unknown.
    /// A size of pictures is the name of the stage that begins with it.
    ///
    /// ```
    /// use cagan::config::{Config, Preset};
    /// let stages = |config: Config| -> Vec<String> {
    ///     config.stages().iter().map(|(name, images)| format!("{name} {images}")).collect()
    /// };
    /// let config = Config::preset(Preset::Kisekae).resolved(779)?;
    /// assert_eq!(stages(config), ["locate 0", "place 5600", "judge 20000"]);
    /// let config = Config::with(Preset::Kisekae, serde_json::json!({"image_size": [128, 96], "images": 4160}))?;
    /// assert_eq!(stages(config.resolved(779)?), ["locate 0", "place 560", "judge 2000", "128 x 96 3120"]);
    /// assert_eq!(stages(Config::preset(Preset::Paper)), ["train 0"]);
    /// # Ok::<(), cagan::Error>(())
    /// ```
    pub fn stages(&self) -> Vec<(String, u64)> {
        match self.architecture {
            Architecture::Vasily | Architecture::Paper => vec![("train".into(), 0)],
            Architecture::Kisekae => {
                let mut stages = vec![
                    ("locate".to_owned(), 0),
                    ("place".to_owned(), self.place_after.images()),
                    ("judge".to_owned(), self.judge_after.images()),
                ];
                stages.extend(self.sizes().into_iter().skip(1).map(|([h, w], first)| (format!("{h} x {w}"), first)));
                stages.sort_by_key(|stage| stage.1);
                // One that begins with a later one has no time of its own.
                let ends: Vec<u64> = stages.iter().skip(1).map(|stage| stage.1).chain([u64::MAX]).collect();
                let last = stages.len() - 1;
                let kept = stages.into_iter().zip(ends).enumerate();
                kept.filter(|(k, (stage, end))| *k == last || *end > stage.1).map(|(_, (stage, _))| stage).collect()
            }
        }
    }

    /// The sizes of a run's pictures in order, each with the images seen at which it begins. Of shares the images are
    /// unknown.
    ///
    /// ```
    /// use cagan::config::{Config, Preset};
    /// let settings = serde_json::json!({"image_size": [256, 192], "full_size_after": 1200});
    /// let config = Config::with(Preset::Kisekae, settings)?;
    /// assert_eq!(config.sizes(), [([64, 48], 0), ([128, 96], 800), ([256, 192], 1200)]);
    /// assert_eq!(Config::preset(Preset::Kisekae).sizes(), [([64, 48], 0)]);
    /// # Ok::<(), cagan::Error>(())
    /// ```
    pub fn sizes(&self) -> Vec<([i64; 2], u64)> {
        let last = self.full_size_after.images();
        let enlargements = match last {
            0 => 0,
            _ => self.architecture.enlargements(self.image_size),
        };
        // Each size takes half as many images as the one before: of `last`, (1 + 1/2 + ...) / (1 + ... + 1/2^(n - 1)).
        let parts = |number: u32| ((1u128 << number) - 1) << (enlargements - number);
        let size = |number: u32| self.image_size.map(|side| side >> (enlargements - number));
        let first = |number: u32| (u128::from(last) * parts(number) / parts(enlargements).max(1)) as u64;
        (0..=enlargements).map(|number| (size(number), first(number))).collect()
    }

    /// The same settings for pictures of another size of [`Config::sizes`], as of a stage of the run.
    pub(crate) fn of_size(&self, image_size: [i64; 2]) -> Config {
        Config(Settings { image_size, ..self.0.clone() })
    }

    /// What begins at or beyond the end of a run on that many pairs, though it was given in images: one sentence each.
    pub fn never(&self, pairs: usize) -> Vec<String> {
        let end = self.total_steps(pairs).saturating_mul(self.batch_size as u64);
        let falls = self.schedule != Schedule::Constant;
        let grows = self.architecture.enlargements(self.image_size) > 0;
        let moments = [
            ("place_after", self.place_after, true, "the locator's masks are never erased, and nothing is placed"),
            ("judge_after", self.judge_after, true, "the discriminator never joins"),
            ("full_size_after", self.full_size_after, grows, "no picture is as large as image_size"),
            ("schedule_start", self.schedule_start, falls, "the rates never fall"),
        ];
        let beyond = moments.into_iter().filter_map(|(name, moment, used, words)| match moment {
            Moment::Images(images) if used && images >= end && images > 0 => Some(format!(
                "{name}: {images} images, but the run ends at {end}: {words}; a share such as \"50%\" suits any length"
            )),
            _ => None,
        });
        beyond.collect()
    }

    /// The device to compute on.
    ///
    /// # Errors
    /// [`Error::Device`] if the config asks for CUDA and libtorch finds none.
    pub fn torch_device(&self) -> Result<Device> {
        torch_device(&self.device)
    }

    /// Settings that no check has seen, for tests of parts that take sizes below the smallest of any network.
    #[cfg(test)]
    pub(crate) fn unchecked(change: impl FnOnce(&mut Settings)) -> Config {
        let mut settings = Config::preset(Preset::Paper).0;
        change(&mut settings);
        Config(settings)
    }
}
