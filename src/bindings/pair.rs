//! `cagan.Pair`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arrays::elements_to_numpy;
use super::compute::compute;
use super::sources::{source as source_of, stored};
use crate::data::{Pair, Source};
use crate::error::Result;
use crate::pixels::{png, sheet, shrunk};

/// The size of each picture of a pair in a notebook.
const SHOWN: [usize; 2] = [256, 192];

/// One pair: a human and the article that the human wears. Each access to a picture decodes it.
///
/// Args:
///     id: The pair's name.
///     human_path: The photo's file; or, in memory, a file's bytes, a PIL picture, or an array as of `human`.
///     article_path: The product picture's file, or the same in memory.
///     group: A name, as a person's. A split keeps the pairs of one group together.
///     split: The part of the set that the pair belongs to, as "train".
///
/// Raises:
///     TypeError: A picture is missing.
///     ValueError: An array has another shape or type.
///
/// Example:
///     >>> import cagan
///     >>> cagan.Pair("ann", "human/ann.jpg", "article/ann.jpg").human_path.name
///     'ann.jpg'
#[pyclass(name = "Pair", module = "cagan", frozen, eq)]
#[derive(PartialEq)]
pub struct PyPair(pub Pair);

#[pymethods]
impl PyPair {
    #[new]
    #[pyo3(signature = (id, human_path, article_path, group=None, split=None))]
    fn new(
        id: String,
        human_path: &Bound<'_, PyAny>,
        article_path: &Bound<'_, PyAny>,
        group: Option<String>,
        split: Option<String>,
    ) -> PyResult<Self> {
        pair_of((id, human_path.clone(), article_path.clone(), group, split)).map(PyPair)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, PairParts<'py>)> {
        Ok((slf.get_type().into_any(), parts_of(slf.py(), slf.get().0.clone())?))
    }

    #[getter]
    fn id(&self) -> &str {
        &self.0.id
    }

    /// The photo's file; None for a photo in memory or in a tar file.
    #[getter]
    fn human_path(&self) -> Option<PathBuf> {
        self.0.human.path().map(Path::to_owned)
    }

    /// The product picture's file; None for a picture in memory or in a tar file.
    #[getter]
    fn article_path(&self) -> Option<PathBuf> {
        self.0.article.path().map(Path::to_owned)
    }

    /// The photo as `cagan.Swapper.swap` takes it: its path, its bytes in a tar file, or its pixels.
    #[getter]
    fn human_source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        path_or_pixels(py, &self.0.human)
    }

    /// The product picture as `cagan.Swapper.swap` takes it: its path, its bytes in a tar file, or its pixels.
    #[getter]
    fn article_source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        path_or_pixels(py, &self.0.article)
    }

    /// Pairs of one group share a person or an article: they stay on one side of a split, and none is another's target.
    #[getter]
    fn group(&self) -> Option<&str> {
        self.0.group.as_deref()
    }

    /// The part of the set, by `pairs.csv` or the folder, as "train".
    #[getter]
    fn split(&self) -> Option<&str> {
        self.0.split.as_deref()
    }

    /// The photo: uint8, [H, W, 3].
    #[getter]
    fn human<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        decoded(py, &self.0.human)
    }

    /// The product picture: uint8, [H, W, 3].
    #[getter]
    fn article<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        decoded(py, &self.0.article)
    }

    /// The photo and the product picture side by side; white for an unreadable one.
    fn _repr_png_(&self, py: Python<'_>) -> PyResult<Cow<'_, [u8]>> {
        compute(py, || -> Result<_> {
            let sides = [&self.0.human, &self.0.article];
            let cells = sides.map(|side| Some(shrunk(&*side.decode().ok()?, SHOWN)));
            let (pixels, size) = sheet(&[cells.to_vec()], SHOWN, 4);
            Ok(png(&pixels, size, 3).into())
        })
    }

    fn __repr__(&self) -> String {
        format!("Pair({:?})", self.0.id)
    }
}

/// A pair as Python pickles it: id, human, article, group, split.
pub type PairParts<'py> = (String, Bound<'py, PyAny>, Bound<'py, PyAny>, Option<String>, Option<String>);

pub fn parts_of(py: Python<'_>, pair: Pair) -> PyResult<PairParts<'_>> {
    let (human, article) = (stored(py, &pair.human)?, stored(py, &pair.article)?);
    Ok((pair.id, human, article, pair.group, pair.split))
}

pub fn pair_of((id, human, article, group, split): PairParts<'_>) -> PyResult<Pair> {
    let picture = |side: &str, value: &Bound<'_, PyAny>| {
        let missing = || PyTypeError::new_err(format!("{side}: expected a picture, got none"));
        source_of(&format!("{side} of `{id}`"), value, Path::new(""))?.ok_or_else(missing)
    };
    let (human, article) = (picture("human", &human)?, picture("article", &article)?);
    Ok(Pair { human, article, id, group, split })
}

pub fn path_or_pixels<'py>(py: Python<'py>, source: &Source) -> PyResult<Bound<'py, PyAny>> {
    match source {
        Source::File(path) => Ok(path.into_pyobject(py)?.into_any()),
        Source::Member(..) => {
            let bytes = compute(py, || source.bytes())?;
            Ok(PyBytes::new(py, &bytes).into_any())
        }
        Source::Encoded(..) | Source::Pixels(..) => Ok(decoded(py, source)?.into_any()),
    }
}

pub fn decoded<'py>(py: Python<'py>, source: &Source) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let picture = compute(py, || source.decode())?;
    let shape = [picture.height() as usize, picture.width() as usize, 3];
    elements_to_numpy(py, Arc::unwrap_or_clone(picture).into_raw(), &shape)
}
