//! `cagan.Pairs` and `cagan.Pair`.

use std::path::{Path, PathBuf};

use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::arrays::bytes_to_numpy;
use crate::data::{Pair, Pairs};
use crate::dolls::{SEED, SIZE, SWAPS};
use crate::error::Error;
use crate::pixels::read_rgb;

/// One pair on disk: a human and the article that the human wears. Pictures are decoded when asked for.
#[pyclass(name = "Pair", module = "cagan", frozen, eq)]
#[derive(PartialEq)]
pub struct PyPair(Pair);

#[pymethods]
impl PyPair {
    #[getter]
    fn id(&self) -> &str {
        &self.0.id
    }

    #[getter]
    fn human_path(&self) -> PathBuf {
        self.0.human.clone()
    }

    #[getter]
    fn article_path(&self) -> PathBuf {
        self.0.article.clone()
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

    fn __repr__(&self) -> String {
        format!("Pair({:?})", self.0.id)
    }
}

fn decoded<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let picture = py.detach(|| read_rgb(path))?;
    let shape = [picture.height() as usize, picture.width() as usize, 3];
    bytes_to_numpy(py, picture.into_raw(), &shape)
}

/// The pairs of a folder: `pairs.csv` (columns id, human, article; paths relative to the folder) if it is there, else `human/` and
/// `article/` matched by file stem.
///
/// Args:
///     folder: The folder.
///
/// Raises:
///     FileNotFoundError: For a folder that is not there, or that has neither `pairs.csv` nor both sub-folders.
///     ValueError: For an empty folder, a picture without its partner, an id that comes twice, or a broken CSV.
#[pyclass(name = "Pairs", module = "cagan", frozen, sequence)]
pub struct PyPairs(pub Pairs);

#[pymethods]
impl PyPairs {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        Ok(PyPairs(py.detach(|| Pairs::open(folder))?))
    }

    #[getter]
    fn folder(&self) -> PathBuf {
        self.0.folder.clone()
    }

    /// The pairs' names, in order.
    #[getter]
    fn ids(&self) -> Vec<&str> {
        self.0.pairs.iter().map(|pair| pair.id.as_str()).collect()
    }

    /// Splits off a share of the pairs, drawn by `seed` (0 where none is given).
    ///
    /// Args:
    ///     share: The part to split off, between 0 and 1.
    ///     seed: What the draw comes from.
    ///
    /// Returns:
    ///     The rest and the share, both in their old order.
    ///
    /// Raises:
    ///     ValueError: For a share that leaves a side empty.
    #[pyo3(signature = (share, seed=None))]
    fn split(&self, share: f64, seed: Option<u64>) -> PyResult<(PyPairs, PyPairs)> {
        let (rest, share) = self.0.split(share, seed.unwrap_or_default())?;
        Ok((PyPairs(rest), PyPairs(share)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// The pair at an index, or with an id.
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<PyPair> {
        let pair = if let Ok(id) = key.extract::<String>() {
            self.0.find(&id)?
        } else if let Ok(index) = key.extract::<i64>() {
            let len = self.0.len();
            let place = if index < 0 { index + len as i64 } else { index };
            let pair = usize::try_from(place)
                .ok()
                .and_then(|p| self.0.pairs.get(p));
            pair.ok_or(Error::Index { index, len })?
        } else {
            let text = format!("pairs: expected an index or an id, got {}", key.repr()?);
            return Err(PyTypeError::new_err(text));
        };
        Ok(PyPair(pair.clone()))
    }

    /// Whether there is that pair, or one with that id.
    fn __contains__(&self, key: &Bound<'_, PyAny>) -> bool {
        match key.extract::<String>() {
            Ok(id) => self.0.find(&id).is_ok(),
            Err(_) => key
                .cast::<PyPair>()
                .is_ok_and(|pair| self.0.pairs.contains(&pair.get().0)),
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "Pairs({:?}, {} pairs)",
            self.0.folder.display().to_string(),
            self.0.len()
        )
    }
}

/// Draws synthetic pairs: paper dolls and the garments that they wear, as an ordinary pairs folder of PNG files; and true swaps,
/// for evaluation.
///
/// A true swap is the same person in the article of another pair: `swaps/<human id>__<target id>.png`, beside it as `.alpha.png`
/// the mask of what changes (8 bit grey: how much of a pixel either article covers, above 0 wherever the two pictures may differ),
/// and all of them in `swaps/list.csv` with the columns human and target, as `cagan swap --list` takes it.
///
/// Args:
///     out: The folder, made where it is not there.
///     count: How many pairs, 1 to 1,000,000.
///     seed: What the drawing comes from; 0 where none is given. The same seed gives the same bytes.
///     size: (height, width), or one number for a square, 16 to 1024 each; 128 x 96 where none is given.
///     swaps: How many true swaps of each person, fewer than pairs. Where no number is given 1, if there is another article.
///
/// Returns:
///     The pairs.
///
/// Raises:
///     ValueError: For a count, a size or a number of swaps outside the limits.
///     OSError: Where the folder cannot be written.
#[pyfunction]
#[pyo3(signature = (out, count, seed=None, size=None, swaps=None))]
pub fn dolls(
    py: Python<'_>,
    out: PathBuf,
    count: i64,
    seed: Option<i64>,
    size: Option<Size>,
    swaps: Option<i64>,
) -> PyResult<PyPairs> {
    let positive = |name: &str, value: i64| {
        u64::try_from(value).map_err(|_| Error::setting(name, "zero or more", value))
    };
    let count = positive("count", count)?;
    let seed = seed.map_or(Ok(SEED), |seed| positive("seed", seed))?;
    let side = |value| {
        u32::try_from(value).map_err(|_| Error::setting("size", "sides of 16 to 1024", value))
    };
    let size = match size {
        None => SIZE,
        Some(Size::Square(length)) => [side(length)?; 2],
        Some(Size::Sides(height, width)) => [side(height)?, side(width)?],
    };
    let swaps = match swaps {
        None => SWAPS.min(count.saturating_sub(1)),
        Some(swaps) => positive("swaps", swaps)?,
    };
    let pairs = py.detach(|| {
        crate::dolls::write(&out, count, seed, size, swaps)?;
        Pairs::open(&out)
    })?;
    Ok(PyPairs(pairs))
}

/// (height, width), or one number for a square.
#[derive(FromPyObject)]
pub enum Size {
    Square(i64),
    Sides(i64, i64),
}
