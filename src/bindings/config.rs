//! `cagan.Config`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value};

use super::arrays::{from_python, to_python};
use crate::config::{Config, FIELDS, Kind, Preset};

/// All settings of a run: a preset and one's own overrides, checked. Immutable.
///
/// Args:
///     preset: "kisekae" (the default, ours), "paper", "vasily" (the 2017 article) or "smoke" (tiny, for tests).
///     **overrides: Settings by name; `print(cagan.Config())` lists them with their sources. `image_size` takes
///         (height, width), or one number for a square.
///
/// Raises:
///     TypeError: For a name that is no setting.
///     ValueError: For an unknown preset, and a value that the check refuses; the message names the field and the rule.
///
/// Example:
///     >>> import cagan
///     >>> config = cagan.Config("vasily", epochs=3, image_size=64)
///     >>> config.epochs, config.image_size, config.batch_size
///     (3, (64, 64), 16)
///     >>> cagan.Config.from_json(config.to_json()) == config
///     True
#[pyclass(name = "Config", module = "cagan", frozen, eq, hash, from_py_object)]
#[derive(Clone, PartialEq)]
pub struct PyConfig(pub Config);

impl std::hash::Hash for PyConfig {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_json().hash(state);
    }
}

impl PyConfig {
    fn text(&self, name: &str) -> String {
        self.0.to_map()[name].as_str().expect("a choice is a text").to_owned()
    }
}

#[pymethods]
impl PyConfig {
    #[new]
    #[pyo3(signature = (preset=None, **overrides))]
    fn new(preset: Option<&str>, overrides: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let preset: Preset = match preset {
            Some(name) => name.parse()?,
            None => Preset::default(),
        };
        Ok(PyConfig(Config::with(preset, json(overrides)?)?))
    }

    /// Reads what `to_json` wrote. Settings that are left out take the preset's values.
    ///
    /// Raises:
    ///     ValueError: For text that is no JSON object, and a value that the check refuses.
    ///     TypeError: For a name that is no setting.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        Ok(PyConfig(Config::from_json(text)?))
    }

    /// All settings as JSON text.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// All settings by name.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0)
    }

    /// The same settings but for these.
    ///
    /// Raises:
    ///     TypeError: For a name that is no setting.
    ///     ValueError: For a value that the check refuses.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> cagan.Config("vasily", width=64).replace(seed=3).width
    ///     64
    #[pyo3(signature = (**overrides))]
    fn replace(&self, overrides: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let Value::Object(overrides) = json(overrides)? else { unreachable!("keywords have names") };
        Ok(PyConfig(self.0.replace(overrides)?))
    }

    /// Where each value comes from: "[A] ..." the article, "[P] ..." the paper, "[we] ..." our choice, "yours ..." an
    /// override.
    fn sources<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pairs = self.0.sources().into_iter();
        let map: Map<String, Value> = pairs.map(|(name, source)| (name.into(), source.into())).collect();
        to_python(py, &map)
    }

    /// How many steps a run takes on that many pairs.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> cagan.Config("vasily").total_steps(940)
    ///     2950
    fn total_steps(&self, pairs: usize) -> u64 {
        self.0.total_steps(pairs)
    }

    fn __repr__(&self) -> String {
        let preset = Config::preset(self.0.preset).to_map();
        let mine = self.0.to_map();
        let mut text = format!("Config({:?}", self.0.preset.name());
        for field in FIELDS.iter().filter(|f| mine[f.name] != preset[f.name]) {
            let value = match &mine[field.name] {
                Value::Null => "None".into(),
                Value::Bool(true) => "True".into(),
                Value::Bool(false) => "False".into(),
                other => other.to_string(),
            };
            text.push_str(&format!(", {}={value}", field.name));
        }
        text + ")"
    }

    fn __str__(&self) -> String {
        let map = self.0.to_map();
        let mut text = format!("preset {}", self.0.preset.name());
        for (name, source) in self.0.sources() {
            text.push_str(&format!("\n{name:22} {:12} {source}", map[name].to_string()));
        }
        text
    }

    /// All settings as a table; what differs from the preset is marked.
    fn _repr_html_(&self) -> String {
        let map = self.0.to_map();
        let mut text = format!(
            "<table><thead><tr><th>preset {}</th><th>value</th><th>source</th></tr></thead><tbody>",
            self.0.preset.name()
        );
        for (name, source) in self.0.sources() {
            let value = match &map[name] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let (on, off) = match source.starts_with("yours") {
                true => ("<mark><b>", "</b></mark>"),
                false => ("", ""),
            };
            let cells = [name, &value, &source].map(|text| format!("<td>{on}{}{off}</td>", escaped(text)));
            text += &format!("<tr>{}</tr>", cells.concat());
        }
        text + "</tbody></table>"
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().getattr("from_json")?, (slf.get().0.to_json(),)))
    }

    #[getter]
    fn preset(&self) -> &str {
        self.0.preset.name()
    }

    #[getter]
    fn image_size(&self) -> (i64, i64) {
        (self.0.image_size[0], self.0.image_size[1])
    }

    #[getter]
    fn width(&self) -> i64 {
        self.0.width
    }

    #[getter]
    fn discriminator_copies(&self) -> bool {
        self.0.discriminator_copies
    }

    #[getter]
    fn discriminator_noise(&self) -> f64 {
        self.0.discriminator_noise
    }

    #[getter]
    fn human_fit(&self) -> String {
        self.text("human_fit")
    }

    #[getter]
    fn article_fit(&self) -> String {
        self.text("article_fit")
    }

    #[getter]
    fn crop_margin(&self) -> i64 {
        self.0.crop_margin
    }

    #[getter]
    fn flip(&self) -> bool {
        self.0.flip
    }

    #[getter]
    fn colour_jitter(&self) -> f64 {
        self.0.colour_jitter
    }

    #[getter]
    fn identity_weight(&self) -> f64 {
        self.0.identity_weight
    }

    #[getter]
    fn cycle_weight(&self) -> f64 {
        self.0.cycle_weight
    }

    #[getter]
    fn adversarial_loss(&self) -> String {
        self.text("adversarial_loss")
    }

    #[getter]
    fn reverse(&self) -> String {
        self.text("reverse")
    }

    #[getter]
    fn reverse_noise(&self) -> f64 {
        self.0.reverse_noise
    }

    #[getter]
    fn self_swap_weight(&self) -> f64 {
        self.0.self_swap_weight
    }

    #[getter]
    fn mask_tv_weight(&self) -> f64 {
        self.0.mask_tv_weight
    }

    #[getter]
    fn mask_binary_weight(&self) -> f64 {
        self.0.mask_binary_weight
    }

    #[getter]
    fn feature_weight(&self) -> f64 {
        self.0.feature_weight
    }

    #[getter]
    fn perceptual_weight(&self) -> f64 {
        self.0.perceptual_weight
    }

    #[getter]
    fn r1_weight(&self) -> f64 {
        self.0.r1_weight
    }

    #[getter]
    fn r1_every(&self) -> u64 {
        self.0.r1_every
    }

    #[getter]
    fn augment_colour(&self) -> bool {
        self.0.augment_colour
    }

    #[getter]
    fn augment_translation(&self) -> bool {
        self.0.augment_translation
    }

    #[getter]
    fn augment_cutout(&self) -> bool {
        self.0.augment_cutout
    }

    #[getter]
    fn norm_gradient(&self) -> String {
        self.text("norm_gradient")
    }

    #[getter]
    fn discriminator_norm(&self) -> String {
        self.text("discriminator_norm")
    }

    #[getter]
    fn discriminator_spectral_norm(&self) -> bool {
        self.0.discriminator_spectral_norm
    }

    #[getter]
    fn discriminator_scales(&self) -> u32 {
        self.0.discriminator_scales
    }

    #[getter]
    fn adversarial_weight(&self) -> f64 {
        self.0.adversarial_weight
    }

    #[getter]
    fn warp_weight(&self) -> f64 {
        self.0.warp_weight
    }

    #[getter]
    fn bending_weight(&self) -> f64 {
        self.0.bending_weight
    }

    #[getter]
    fn place_after(&self) -> u64 {
        self.0.place_after
    }

    #[getter]
    fn judge_after(&self) -> u64 {
        self.0.judge_after
    }

    #[getter]
    fn withhold_worn(&self) -> f64 {
        self.0.withhold_worn
    }

    #[getter]
    fn mask_cut(&self) -> f64 {
        self.0.mask_cut
    }

    #[getter]
    fn learning_rate(&self) -> f64 {
        self.0.learning_rate
    }

    #[getter]
    fn discriminator_learning_rate(&self) -> Option<f64> {
        self.0.discriminator_learning_rate
    }

    #[getter]
    fn schedule(&self) -> String {
        self.text("schedule")
    }

    #[getter]
    fn schedule_start(&self) -> u64 {
        self.0.schedule_start
    }

    #[getter]
    fn schedule_end(&self) -> u64 {
        self.0.schedule_end
    }

    #[getter]
    fn gradient_clip(&self) -> f64 {
        self.0.gradient_clip
    }

    #[getter]
    fn adam_beta1(&self) -> f64 {
        self.0.adam_beta1
    }

    #[getter]
    fn adam_beta2(&self) -> f64 {
        self.0.adam_beta2
    }

    #[getter]
    fn adam_epsilon(&self) -> f64 {
        self.0.adam_epsilon
    }

    #[getter]
    fn ema_images(&self) -> u64 {
        self.0.ema_images
    }

    #[getter]
    fn ema_rampup(&self) -> f64 {
        self.0.ema_rampup
    }

    #[getter]
    fn batch_size(&self) -> usize {
        self.0.batch_size
    }

    #[getter]
    fn epochs(&self) -> u64 {
        self.0.epochs
    }

    #[getter]
    fn steps(&self) -> Option<u64> {
        self.0.steps
    }

    #[getter]
    fn images(&self) -> Option<u64> {
        self.0.images
    }

    #[getter]
    fn time_limit_s(&self) -> Option<f64> {
        self.0.time_limit_s
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed
    }

    #[getter]
    fn init_from(&self) -> &str {
        &self.0.init_from
    }

    #[getter]
    fn freeze_discriminator(&self) -> usize {
        self.0.freeze_discriminator
    }

    #[getter]
    fn log_every(&self) -> u64 {
        self.0.log_every
    }

    #[getter]
    fn sample_every(&self) -> u64 {
        self.0.sample_every
    }

    #[getter]
    fn snapshot_every(&self) -> u64 {
        self.0.snapshot_every
    }

    #[getter]
    fn checkpoint_every(&self) -> u64 {
        self.0.checkpoint_every
    }

    #[getter]
    fn keep_checkpoints(&self) -> usize {
        self.0.keep_checkpoints
    }

    #[getter]
    fn on_non_finite(&self) -> String {
        self.text("on_non_finite")
    }

    #[getter]
    fn monitor_every(&self) -> u64 {
        self.0.monitor_every
    }

    #[getter]
    fn early_stop(&self) -> u64 {
        self.0.early_stop
    }

    #[getter]
    fn sample_humans(&self) -> usize {
        self.0.sample_humans
    }

    #[getter]
    fn sample_articles(&self) -> usize {
        self.0.sample_articles
    }

    #[getter]
    fn device(&self) -> &str {
        &self.0.device
    }

    #[getter]
    fn threads(&self) -> usize {
        self.0.threads
    }

    #[getter]
    fn architecture(&self) -> String {
        self.text("architecture")
    }

    #[getter]
    fn generator_copies(&self) -> String {
        self.text("generator_copies")
    }

    #[getter]
    fn loader(&self) -> String {
        self.text("loader")
    }

    #[getter]
    fn loader_workers(&self) -> usize {
        self.0.loader_workers
    }

    #[getter]
    fn loader_prefetch(&self) -> usize {
        self.0.loader_prefetch
    }

    #[getter]
    fn precision(&self) -> String {
        self.text("precision")
    }

    #[getter]
    fn cuda_graph(&self) -> bool {
        self.0.cuda_graph
    }
}

/// A text as HTML shows it.
fn escaped(text: &str) -> String {
    (text.replace('&', "&amp;")).replace('<', "&lt;").replace('>', "&gt;")
}

/// Python's overrides as JSON.
fn json(overrides: Option<&Bound<'_, PyDict>>) -> PyResult<Value> {
    let mut map = Map::new();
    for (name, value) in overrides.into_iter().flatten() {
        let name: String = name.extract()?;
        let value = from_python(&name, &value)?;
        map.insert(name, value);
    }
    Ok(Value::Object(map))
}

/// The names of the presets.
#[pyfunction]
pub fn presets() -> Vec<&'static str> {
    Preset::ALL.map(Preset::name).to_vec()
}

/// Every setting: name, kind, choices, help, and whether a run may go on with another value.
#[pyfunction]
pub fn settings(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let list: Vec<Value> = FIELDS
        .iter()
        .map(|field| {
            let (kind, choices): (&str, &[&str]) = match field.kind {
                Kind::Count | Kind::OptionalCount => ("count", &[]),
                Kind::Number | Kind::OptionalNumber => ("number", &[]),
                Kind::Flag => ("flag", &[]),
                Kind::Text => ("text", &[]),
                Kind::Choice(names) => ("choice", names),
                Kind::Size => ("size", &[]),
            };
            serde_json::json!({"name": field.name, "kind": kind, "choices": choices, "help": field.help, "harmless": field.harmless})
        })
        .collect();
    to_python(py, &list)
}
