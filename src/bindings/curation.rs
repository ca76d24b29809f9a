//! The core of `cagan.curate` and `cagan.review`: the list of a folder's pairs, thresholds, reasons, pictures for
//! pages.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::arrays::{from_python, to_python};
use super::compute::{compute, lock};
use super::dataset::{sides, warn};
use super::sources::source;
use crate::curation::{OPTIONS, Options, Reason, as_png, curate, thumbnail};
use crate::data::{Listing, Row, Source, source_of};
use crate::error::Error;

/// Lists the thresholds of curation: name, default and help.
#[pyfunction]
pub fn curation_options(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let defaults = serde_json::to_value(Options::default()).expect("plain numbers");
    let list: Vec<Value> =
        OPTIONS.iter().map(|(name, help)| json!({"name": name, "default": defaults[name], "help": help})).collect();
    to_python(py, &list)
}

/// Explains the words of the column `reason`.
#[pyfunction]
pub fn curation_reasons(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let words = PyDict::new(py);
    for reason in Reason::ALL {
        words.set_item(reason.name(), reason.help())?;
    }
    Ok(words)
}

/// The list of a folder's pairs: `pairs.csv`, or the folder's pictures while that file does not exist.
///
/// Args:
///     folder: The folder of pairs.
///     csv: The file of the list, if it is not `pairs.csv` in the folder.
///     human: The folder or the pattern of the humans, as for `cagan.Pairs`.
///     article: The folder or the pattern of the articles.
///
/// Raises:
///     FileNotFoundError: For a missing folder, or one without `pairs.csv` and of no layout that `cagan.Pairs` knows.
///     ValueError: For a broken CSV; the message names file, line and column. For one of human and article alone.
#[pyclass(name = "Listing", module = "cagan._cagan", frozen)]
pub struct PyListing(Mutex<Listing>);

#[pymethods]
impl PyListing {
    #[new]
    #[pyo3(signature = (folder, csv=None, human=None, article=None))]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        csv: Option<PathBuf>,
        human: Option<String>,
        article: Option<String>,
    ) -> PyResult<Self> {
        let csv = csv.unwrap_or_else(|| folder.join("pairs.csv"));
        let sides = sides(human, article)?;
        let listing = compute(py, || Listing::open_at(&folder, &csv, sides.as_ref()))?;
        warn(py, &folder, &listing.notes, &listing.passed_over)?;
        Ok(PyListing(Mutex::new(listing)))
    }

    #[getter]
    fn folder(&self, py: Python<'_>) -> PathBuf {
        self.lock(py).folder().into()
    }

    /// The file `pairs.csv`, whether it exists yet or not.
    #[getter]
    fn path(&self, py: Python<'_>) -> PathBuf {
        self.lock(py).path().into()
    }

    /// The rows: texts by column.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let listing = self.lock(py);
        (0..listing.rows().len()).map(|place| cells(py, &listing, place)).collect()
    }

    /// The files of the rows: human and article, None for one that the row does not have.
    #[getter]
    fn files(&self, py: Python<'_>) -> Vec<Files> {
        self.lock(py).rows().iter().map(files).collect()
    }

    /// The files of the row with that id.
    ///
    /// Raises:
    ///     KeyError: For an id that is not listed.
    fn files_of(&self, py: Python<'_>, id: &str) -> PyResult<Files> {
        let listing = self.lock(py);
        Ok(files(&listing.rows()[listing.find(id)?]))
    }

    /// The decisions, one for each row: excluded, reasons, reviewed.
    #[getter]
    fn decisions<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.lock(py).rows().iter().map(|row| decision(py, row)).collect()
    }

    /// The ids of the rows of each group of two or more, by the group's name.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let listing = self.lock(py);
        let groups = PyDict::new(py);
        for (name, places) in listing.groups() {
            groups.set_item(name, places.iter().map(|&place| &listing.rows()[place].id).collect::<Vec<_>>())?;
        }
        Ok(groups)
    }

    /// The texts of the row with that id.
    ///
    /// Raises:
    ///     KeyError: For an id that is not listed.
    fn row<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Bound<'py, PyDict>> {
        let listing = self.lock(py);
        cells(py, &listing, listing.find(id)?)
    }

    /// The decision about the row with that id: excluded, reasons, reviewed.
    ///
    /// Raises:
    ///     KeyError: For an id that is not listed.
    fn decision<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Bound<'py, PyDict>> {
        let listing = self.lock(py);
        decision(py, &listing.rows()[listing.find(id)?])
    }

    /// Changes texts of the row with that id, by column. Missing columns are added.
    ///
    /// Raises:
    ///     KeyError: For an id that is not listed.
    ///     ValueError: For a text that the column does not take.
    fn set(&self, py: Python<'_>, id: &str, cells: &Bound<'_, PyDict>) -> PyResult<()> {
        let cells: Vec<(String, String)> = cells.items().extract()?;
        let mut listing = self.lock(py);
        let place = listing.find(id)?;
        for (column, text) in cells {
            listing.set(place, &column, &text)?;
        }
        Ok(())
    }

    /// Measures and judges all pairs and fills the columns `group`, `exclude` and `reason`. Writes no file.
    ///
    /// Args:
    ///     options: Thresholds in place of the defaults.
    ///     observe: Called with "measure" or "compare", the pictures done and their total. Its exception stops the
    ///         work.
    ///
    /// Returns:
    ///     For each pair its reasons with their measurements, the pair whose photo it repeats, and the first pair of
    ///     its group.
    ///
    /// Raises:
    ///     TypeError: For a name that is no option.
    ///     ValueError: For a bad value.
    fn curate<'py>(
        &self,
        py: Python<'py>,
        options: &Bound<'py, PyDict>,
        observe: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Value::Object(given) = from_python("options", options)? else { unreachable!("a dictionary is a map") };
        let options = Options::with(&given)?;
        let observe = observe.clone().unbind();
        let mut guard = self.lock(py);
        let listing: &mut Listing = &mut guard;
        let findings = compute(py, || {
            curate(listing, &options, |stage, done, total| {
                Python::attach(|py| {
                    py.check_signals()?;
                    observe.call1(py, (stage, done, total)).map(|_| ())
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

    /// Whether another program wrote the file since it was read or written here.
    fn is_stale(&self, py: Python<'_>) -> bool {
        self.lock(py).is_stale()
    }

    /// Writes the file atomically. A file that would not change is left alone.
    ///
    /// Raises:
    ///     OSError: If the folder cannot be written; the old file then stays.
    fn write(&self, py: Python<'_>) -> PyResult<()> {
        let mut guard = self.lock(py);
        let listing: &mut Listing = &mut guard;
        compute(py, || listing.write())
    }
}

impl PyListing {
    fn lock<'a>(&'a self, py: Python<'_>) -> MutexGuard<'a, Listing> {
        lock(py, &self.0)
    }
}

/// The files of a row: human and article.
type Files = (Option<PathBuf>, Option<PathBuf>);

fn files(row: &Row) -> Files {
    let file = |picture: &Option<Source>| picture.as_ref().and_then(Source::address).map(Path::to_owned);
    (file(&row.human), file(&row.article))
}

fn cells<'py>(py: Python<'py>, listing: &Listing, place: usize) -> PyResult<Bound<'py, PyDict>> {
    let cells = PyDict::new(py);
    for (column, text) in listing.columns().iter().zip(listing.cells(place)) {
        cells.set_item(column, text)?;
    }
    Ok(cells)
}

fn decision<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyDict>> {
    let decision = PyDict::new(py);
    decision.set_item("excluded", row.exclude)?;
    decision.set_item("reasons", row.reasons().collect::<Vec<_>>())?;
    decision.set_item("reviewed", row.reviewed)?;
    Ok(decision)
}

/// Encodes pictures, files or pixels, as JPEG, neither side longer than `most`; None for one that cannot be read.
#[pyfunction]
pub fn thumbnails<'py>(
    py: Python<'py>,
    pictures: Vec<Bound<'py, PyAny>>,
    most: usize,
) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
    let all = pictures.iter().map(|picture| source("picture", picture, Path::new("")));
    let all: Vec<_> = all.collect::<PyResult<_>>()?;
    let mut pictures = Vec::with_capacity(all.len());
    for part in all.chunks(64) {
        py.check_signals()?;
        let one = |picture: &Option<Source>| thumbnail(picture.as_ref()?, most).ok();
        let shown: Vec<_> = compute(py, || Ok::<_, Error>(part.par_iter().map(one).collect()))?;
        pictures.extend(shown);
    }
    let bytes = |picture: Vec<u8>| PyBytes::new(py, &picture);
    Ok(pictures.into_iter().map(|picture| picture.map(bytes)).collect())
}

/// Encodes a picture file as PNG, at its own size.
///
/// Raises:
///     FileNotFoundError: For a missing file.
///     ValueError: For a file that cannot be decoded.
#[pyfunction]
pub fn to_png(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyBytes>> {
    let bytes = compute(py, || as_png(&source_of(path)?))?;
    Ok(PyBytes::new(py, &bytes))
}
