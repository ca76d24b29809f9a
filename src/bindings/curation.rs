//! What `cagan.curate` and `cagan.review` ask of the core.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::arrays::{from_python, to_python};
use crate::curation::{OPTIONS, Options, Reason, Row, Standing, as_png, thumbnail};
use crate::error::{Error, Named};

/// The thresholds of curation: name, default and help.
#[pyfunction]
pub fn curation_options(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let defaults = serde_json::to_value(Options::default()).expect("plain numbers");
    let list: Vec<Value> =
        OPTIONS.iter().map(|(name, help)| json!({"name": name, "default": defaults[name], "help": help})).collect();
    to_python(py, &list)
}

/// The words of the column `reason` and what they mean.
#[pyfunction]
pub fn curation_reasons(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let words = PyDict::new(py);
    for reason in Reason::ALL {
        words.set_item(reason.name(), reason.help())?;
    }
    Ok(words)
}

/// Measures and judges pairs.
///
/// Args:
///     rows: Each pair's human, article (a missing side is None) and standing: "open", "kept" or "excluded".
///     options: Thresholds in place of the defaults.
///     observe: Called with "measure" or "compare", how much is done, and of how much. Its exception stops the work.
///
/// Returns:
///     For each pair its reasons with what was measured, the pair whose photo it repeats, and the first pair of its group.
///
/// Raises:
///     TypeError: For a name that is no option.
///     ValueError: For a bad value or standing.
#[pyfunction]
pub fn inspect<'py>(
    py: Python<'py>,
    rows: Vec<(Option<PathBuf>, Option<PathBuf>, String)>,
    options: &Bound<'py, PyDict>,
    observe: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let Value::Object(given) = from_python("options", options)? else { unreachable!("a dictionary is a map") };
    let options = Options::with(&given)?;
    let rows = rows
        .into_iter()
        .map(|(human, article, standing)| {
            let standing = match standing.as_str() {
                "open" => Standing::Open,
                "kept" => Standing::Kept,
                "excluded" => Standing::Excluded,
                name => {
                    return Err(Error::unknown(Named::Standing, name, ["open", "kept", "excluded"]));
                }
            };
            Ok(Row { human, article, standing })
        })
        .collect::<Result<Vec<Row>, Error>>()?;
    let observe = observe.clone().unbind();
    let findings = py.detach(|| {
        crate::curation::inspect(&rows, &options, |stage, done, all| {
            Python::attach(|py| {
                py.check_signals()?;
                observe.call1(py, (stage, done, all)).map(|_| ())
            })
        })
    })?;
    let list: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let reasons: Vec<_> = finding.reasons.iter().map(|(r, text)| (r.name(), text)).collect();
            json!({"reasons": reasons, "duplicate_of": finding.duplicate_of, "group": finding.group})
        })
        .collect();
    to_python(py, &list)
}

/// JPEG bytes of pictures, neither side longer than `most`; None for what cannot be read.
#[pyfunction]
pub fn thumbnails<'py>(
    py: Python<'py>,
    paths: Vec<PathBuf>,
    most: usize,
) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
    let mut pictures = Vec::with_capacity(paths.len());
    for part in paths.chunks(64) {
        py.check_signals()?;
        let shown: Vec<_> = py.detach(|| part.par_iter().map(|path| thumbnail(path, most).ok()).collect());
        pictures.extend(shown);
    }
    let bytes = |picture: Vec<u8>| PyBytes::new(py, &picture);
    Ok(pictures.into_iter().map(|picture| picture.map(bytes)).collect())
}

/// PNG bytes of a picture file, of its own size.
///
/// Raises:
///     FileNotFoundError: For a file that is not there.
///     ValueError: For what cannot be decoded.
#[pyfunction]
pub fn to_png(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyBytes>> {
    let bytes = py.detach(|| as_png(&path))?;
    Ok(PyBytes::new(py, &bytes))
}
