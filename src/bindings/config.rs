//! `cagan.Config`.

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple, PyType};
use serde_json::{Map, Value};

use super::arrays::{from_python, to_python};
use crate::config::{Config, FIELDS, Field, Kind, Preset};

/// All settings of a run: a preset and overrides, checked. Immutable.
///
/// Args:
///     preset: "kisekae" (the default, ours), "paper", "vasily" (the 2017 article) or "smoke" (tiny, for tests).
///     **overrides: Settings by name; `print(cagan.Config())` lists them with their sources. `image_size` takes
///         (height, width), or one number for a square.
///
/// Raises:
///     TypeError: The name of an override is not a setting.
///     ValueError: The preset is unknown, or a value breaks a rule; the message names the field and the rule.
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

    /// Reads the text of `to_json`. Missing settings take the preset's values.
    ///
    /// Raises:
    ///     ValueError: The text is not a JSON object, or a value breaks a rule.
    ///     TypeError: A name is not a setting.
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

    /// The same settings but for the overrides.
    ///
    /// Raises:
    ///     TypeError: The name of an override is not a setting.
    ///     ValueError: A value breaks a rule.
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

    /// The number of steps of a run on that many pairs.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> cagan.Config("vasily").total_steps(940)
    ///     2950
    fn total_steps(&self, pairs: usize) -> u64 {
        self.0.total_steps(pairs)
    }

    /// The same settings with each share of the run's length as a number of images, for a run on that many pairs. A run
    /// does this at its start.
    ///
    /// Raises:
    ///     ValueError: The schedule's end then comes before its start.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> cagan.Config(images=4160, judge_after="50%").resolved(100).judge_after
    ///     2080
    fn resolved(&self, pairs: usize) -> PyResult<Self> {
        Ok(PyConfig(self.0.resolved(pairs)?))
    }

    /// The stages of a run on that many pairs: names, and the images seen at which each begins.
    ///
    /// Raises:
    ///     ValueError: As `resolved`.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> cagan.Config().stages(779)
    ///     [('locate', 0), ('place', 5600), ('judge', 20000)]
    fn stages(&self, pairs: usize) -> PyResult<Vec<(String, u64)>> {
        Ok(self.0.resolved(pairs)?.stages())
    }

    fn __repr__(&self) -> String {
        let preset = Config::preset(self.0.preset);
        let mut text = format!("Config({:?}", self.0.preset.name());
        for field in FIELDS.iter().filter(|field| self.0.differs(field, &preset)) {
            let value = match &self.0.value(field) {
                Value::Null => "None".into(),
                Value::Bool(true) => "True".into(),
                Value::Bool(false) => "False".into(),
                other => other.to_string(),
            };
            text.push_str(&format!(", {}={value}", field.name));
        }
        text + ")"
    }

    /// The settings that the networks use, a line each: first those that differ from the preset.
    fn __str__(&self) -> String {
        let map = self.0.to_map();
        let mut text = format!("preset {}", self.0.preset.name());
        let (own, others) = self.rows();
        for (name, source) in own.into_iter().chain(others) {
            text.push_str(&format!("\n{name:27} {:12} {source}", map[name].to_string()));
        }
        text
    }

    /// The settings that differ from the preset as a table, and the others that the networks use folded below it.
    fn _repr_html_(&self) -> String {
        let map = self.0.to_map();
        let table = |rows: &[(&'static str, String)], on: &str, off: &str| {
            let row = |(name, source): &(&'static str, String)| {
                let value = match &map[*name] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let cells = [*name, &value, source].map(|text| format!("<td>{on}{}{off}</td>", escaped(text)));
                format!("<tr>{}</tr>", cells.concat())
            };
            let head = "<thead><tr><th>setting</th><th>value</th><th>source</th></tr></thead>";
            format!("<table>{head}<tbody>{}</tbody></table>", rows.iter().map(row).collect::<String>())
        };
        let (own, others) = self.rows();
        let preset = self.0.preset.name();
        let differs = match own.is_empty() {
            true => format!("<p>preset <b>{preset}</b>, as it is</p>"),
            false => format!("<p>preset <b>{preset}</b>, but</p>{}", table(&own, "<mark><b>", "</b></mark>")),
        };
        let count = others.len();
        format!(
            "{differs}<details><summary>{count} settings of the preset</summary>{}</details>",
            table(&others, "", "")
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().getattr("from_json")?, (slf.get().0.to_json(),)))
    }

    #[getter]
    fn preset(&self) -> &str {
        self.0.preset.name()
    }
}

/// Settings with their sources.
type Rows = Vec<(&'static str, String)>;

impl PyConfig {
    /// The settings that the networks use, with their sources: those that differ from the preset, and the others.
    fn rows(&self) -> (Rows, Rows) {
        let used =
            |name: &str| FIELDS.iter().any(|field| field.name == name && field.used_by.contains(&self.0.architecture));
        let rows = self.0.sources().into_iter().filter(|(name, _)| used(name));
        rows.partition(|(_, source)| source.starts_with("yours"))
    }
}

/// Gives the class a property for each setting, with the row's help as docstring.
pub fn add_properties(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let property = py.import("builtins")?.getattr("property")?;
    for field in FIELDS {
        let get = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<Py<PyAny>> {
            let config = args.get_item(0)?.cast_into::<PyConfig>()?;
            to_native(args.py(), &config.get().0.value(field))
        };
        let get = PyCFunction::new_closure(py, None, None, get)?;
        class.setattr(field.name, property.call1((get, py.None(), py.None(), field.help))?)?;
    }
    Ok(())
}

/// A setting's value as Python has it: a size is a tuple.
fn to_native(py: Python<'_>, value: &Value) -> PyResult<Py<PyAny>> {
    match value {
        Value::Array(sides) => {
            let sides: Vec<i64> = sides.iter().filter_map(Value::as_i64).collect();
            Ok(PyTuple::new(py, sides)?.into_any().unbind())
        }
        other => Ok(to_python(py, other)?.unbind()),
    }
}

/// The text with HTML's special characters escaped.
fn escaped(text: &str) -> String {
    (text.replace('&', "&amp;")).replace('<', "&lt;").replace('>', "&gt;")
}

/// The overrides as JSON.
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
pub fn presets() -> &'static [&'static str] {
    Preset::NAMES
}

/// The table of settings: for each its name, kind, choices, bounds, default, group, the architectures that use it,
/// source, help, and whether a resumed run may change it.
#[pyfunction]
pub fn settings(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let row = |field: &Field| {
        let (kind, choices): (&str, &[&str]) = match field.kind {
            Kind::Count | Kind::OptionalCount => ("count", &[]),
            Kind::Number | Kind::OptionalNumber => ("number", &[]),
            Kind::Flag => ("flag", &[]),
            Kind::Text => ("text", &[]),
            Kind::Choice(names) => ("choice", names),
            Kind::Size => ("size", &[]),
            Kind::Moment => ("moment", &[]),
        };
        let bounds = field.bounds.is_bounded().then(|| field.bounds.to_string());
        let used_by: Vec<&str> = field.used_by.iter().map(|architecture| architecture.name()).collect();
        serde_json::json!({
            "name": field.name, "kind": kind, "optional": field.is_optional(), "choices": choices, "bounds": bounds,
            "default": field.default(), "group": field.group, "used_by": used_by, "source": field.source,
            "help": field.help, "resumable": field.resumable,
        })
    };
    to_python(py, &FIELDS.iter().map(row).collect::<Vec<Value>>())
}
