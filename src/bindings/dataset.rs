//! `cagan.Pairs` and `cagan.Pair`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rayon::prelude::*;

use super::arrays::elements_to_numpy;
use super::compute::compute;
use crate::data::{Article, LeftOut, OnError, Options, Pair, Pairs};
use crate::dolls::{SEED, SIZE, SWAPS};
use crate::error::{Error, Result};
use crate::pixels::{png, read_rgb, sheet};

/// Pairs on a contact sheet.
const SHEET: usize = 16;
/// Pairs in a row of it.
const ACROSS: usize = 8;

/// One pair on disk: a human and the article that the human wears. Each access to a picture decodes it.
///
/// Args:
///     id: The pair's name.
///     human_path: The photo's file.
///     article_path: The product picture's file.
///     group: A name, as a person's. A split keeps the pairs of one group together.
///     split: The part of the set that the pair belongs to, as "train".
///
/// Example:
///     >>> import cagan
///     >>> cagan.Pair("ann", "human/ann.jpg", "article/ann.jpg").human_path.name
///     'ann.jpg'
#[pyclass(name = "Pair", module = "cagan", frozen, eq)]
#[derive(PartialEq)]
pub struct PyPair(Pair);

#[pymethods]
impl PyPair {
    #[new]
    #[pyo3(signature = (id, human_path, article_path, group=None, split=None))]
    fn new(
        id: String,
        human_path: PathBuf,
        article_path: PathBuf,
        group: Option<String>,
        split: Option<String>,
    ) -> Self {
        PyPair(Pair { id, human: human_path, article: article_path, group, split })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, PairParts) {
        (slf.get_type().into_any(), parts_of(slf.get().0.clone()))
    }

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

    fn __repr__(&self) -> String {
        format!("Pair({:?})", self.0.id)
    }
}

/// A pair as Python pickles it: id, human, article, group, split.
type PairParts = (String, PathBuf, PathBuf, Option<String>, Option<String>);

fn parts_of(pair: Pair) -> PairParts {
    (pair.id, pair.human, pair.article, pair.group, pair.split)
}

fn decoded<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let picture = compute(py, || read_rgb(path))?;
    let shape = [picture.height() as usize, picture.width() as usize, 3];
    elements_to_numpy(py, picture.into_raw(), &shape)
}

/// The pairs of a folder, by the first of these layouts that it has: `pairs.csv` (columns id, human, article and
/// optionally group, split, exclude, reason, reviewed; paths relative to the folder); `human/` and `article/` matched
/// by file stem; `image/` and `cloth/`, as in the try-on sets, with or without a text file of the pairs; files `<id>_1`
/// (human) and `<id>_5` (article). All but the first may also be in folders `train`, `val`, `valid`, `validation`,
/// `test`. No picture is opened yet.
///
/// Args:
///     folder: The folder.
///     on_error: "raise" (the default), or "skip" to leave out pairs with a file that is missing, has no partner or, in
///         training, cannot be decoded. `skipped` and the run's folder list them.
///     extra_articles: Whether articles without a human join as targets. By default each is an error.
///
/// Raises:
///     FileNotFoundError: For a missing folder, or one of none of these layouts.
///     ValueError: For a folder without pairs, a picture without its partner, a repeated id, or a broken CSV.
#[pyclass(name = "Pairs", module = "cagan", frozen, sequence)]
pub struct PyPairs(pub Pairs);

#[pymethods]
impl PyPairs {
    #[new]
    #[pyo3(signature = (folder, *, on_error=None, extra_articles=None))]
    fn new(py: Python<'_>, folder: PathBuf, on_error: Option<&str>, extra_articles: Option<bool>) -> PyResult<Self> {
        let mut options = Options::default();
        if let Some(on_error) = on_error {
            options.on_error = match on_error {
                "raise" => OnError::Raise,
                "skip" => OnError::Skip,
                other => return Err(Error::setting("on_error", "raise or skip", other).into()),
            };
        }
        options.extra_articles = extra_articles.unwrap_or(options.extra_articles);
        Ok(PyPairs(compute(py, || Pairs::open(folder, &options))?))
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

    /// The number of pairs of each named split.
    #[getter]
    fn splits(&self) -> BTreeMap<&str, usize> {
        self.0.splits()
    }

    /// Articles without a human, which join as targets: (id, path).
    #[getter]
    fn extra_articles(&self) -> Vec<(String, PathBuf)> {
        let articles = self.0.extra.iter();
        articles.map(|article| (article.id.clone(), article.path.clone())).collect()
    }

    /// Pairs that `pairs.csv` excludes: (id, path, reason).
    #[getter]
    fn excluded(&self) -> Vec<(String, PathBuf, String)> {
        left_out(&self.0.excluded)
    }

    /// Pairs that were skipped when the folder was read: (id, path, reason). Pictures are decoded later: a run lists
    /// the pairs that it skips then in its `skipped.csv`.
    #[getter]
    fn skipped(&self) -> Vec<(String, PathBuf, String)> {
        left_out(&self.0.skipped)
    }

    /// Returns the pairs of one named split, as "train".
    ///
    /// Raises:
    ///     ValueError: For a split without pairs.
    fn of_split(&self, name: &str) -> PyResult<PyPairs> {
        Ok(PyPairs(self.0.of_split(name)?))
    }

    /// Splits off a random share of the pairs. Pairs of one group, and pairs that share a human's or an article's file
    /// or its exact bytes, stay on one side.
    ///
    /// Args:
    ///     share: The part to split off, between 0 and 1.
    ///     seed: The seed of the draw (default 0).
    ///
    /// Returns:
    ///     The rest and the share, both in their old order.
    ///
    /// Raises:
    ///     ValueError: For a share that leaves a side empty.
    ///     OSError: For a file that cannot be read.
    #[pyo3(signature = (share, seed=None))]
    fn split(&self, py: Python<'_>, share: f64, seed: Option<u64>) -> PyResult<(PyPairs, PyPairs)> {
        let (rest, share) = compute(py, || self.0.split(share, seed.unwrap_or_default()))?;
        Ok((PyPairs(rest), PyPairs(share)))
    }

    /// Restores pickled pairs as they were read, without looking at the folder.
    #[staticmethod]
    fn _restored(
        folder: PathBuf,
        pairs: Vec<PairParts>,
        extra: Vec<(String, PathBuf)>,
        excluded: Vec<(String, PathBuf, String)>,
        skipped: Vec<(String, PathBuf, String)>,
        skips: bool,
    ) -> PyPairs {
        let pair = |(id, human, article, group, split)| Pair { id, human, article, group, split };
        let left_out = |(id, path, reason)| LeftOut { id, path, reason };
        PyPairs(Pairs {
            folder,
            pairs: pairs.into_iter().map(pair).collect(),
            extra: (extra.into_iter()).map(|(id, path)| Article { id, path }).collect(),
            excluded: excluded.into_iter().map(left_out).collect(),
            skipped: skipped.into_iter().map(left_out).collect(),
            on_error: if skips { OnError::Skip } else { OnError::Raise },
        })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let it = slf.get();
        let pairs: Vec<PairParts> = it.0.pairs.iter().cloned().map(parts_of).collect();
        let parts =
            (it.folder(), pairs, it.extra_articles(), it.excluded(), it.skipped(), it.0.on_error == OnError::Skip);
        Ok((slf.get_type().getattr("_restored")?, parts.into_pyobject(slf.py())?))
    }

    /// Draws a contact sheet of pairs from the whole set, each human above its article; white for unreadable pictures.
    fn _repr_png_(&self, py: Python<'_>) -> PyResult<Cow<'_, [u8]>> {
        compute(py, || -> Result<_> {
            let count = self.0.len().min(SHEET);
            let chosen: Vec<&Pair> = (0..count).map(|k| &self.0.pairs[k * self.0.len() / count]).collect();
            let mut rows = Vec::new();
            for part in chosen.chunks(ACROSS) {
                let paths = [|pair: &Pair| pair.human.clone(), |pair: &Pair| pair.article.clone()];
                for path in paths {
                    let pictures = part.par_iter().map(|pair| read_rgb(&path(pair)).ok());
                    rows.push(pictures.collect());
                }
            }
            let (pixels, size) = sheet(&rows, [96, 96], 4);
            Ok(png(&pixels, size, 3).into())
        })
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Returns the pair at an index, or with an id.
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<PyPair> {
        let pair = if let Ok(id) = key.extract::<String>() {
            self.0.find(&id)?
        } else if let Ok(index) = key.extract::<i64>() {
            let len = self.0.len();
            let place = if index < 0 { index + len as i64 } else { index };
            let pair = usize::try_from(place).ok().and_then(|p| self.0.pairs.get(p));
            pair.ok_or(Error::Index { index, len })?
        } else {
            let text = format!("pairs: expected an index or an id, got {}", key.repr()?);
            return Err(PyTypeError::new_err(text));
        };
        Ok(PyPair(pair.clone()))
    }

    /// Whether the pairs contain that pair, or one with that id.
    fn __contains__(&self, key: &Bound<'_, PyAny>) -> bool {
        match key.extract::<String>() {
            Ok(id) => self.0.find(&id).is_ok(),
            Err(_) => key.cast::<PyPair>().is_ok_and(|pair| self.0.pairs.contains(&pair.get().0)),
        }
    }

    fn __repr__(&self) -> String {
        let Pairs { extra, excluded, skipped, .. } = &self.0;
        let mut text = format!("Pairs({:?}, {} pairs", self.0.folder.display().to_string(), self.0.len());
        let counts =
            [("articles without a human", extra.len()), ("excluded", excluded.len()), ("skipped", skipped.len())];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            text += &format!(", {count} {what}");
        }
        text + ")"
    }
}

fn left_out(list: &[LeftOut]) -> Vec<(String, PathBuf, String)> {
    let parts = |one: &LeftOut| (one.id.clone(), one.path.clone(), one.reason.clone());
    list.iter().map(parts).collect()
}

/// Decodes a picture file as training does: upright, sRGB, transparency on white; uint8, [H, W, 3].
///
/// Raises:
///     FileNotFoundError: For a missing file.
///     ValueError: For a file that is no whole picture, or too large.
#[pyfunction]
pub fn read_picture(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyArrayDyn<u8>>> {
    decoded(py, &path)
}

/// Draws synthetic pairs, paper dolls and the garments that they wear, as an ordinary pairs folder of PNG files, and
/// true swaps for evaluation.
///
/// A true swap is the same person in the article of another pair: `swaps/<human id>__<target id>.png`. Beside it,
/// `.alpha.png` is the mask of the change (8 bit grey: the share of a pixel that either article covers, above 0
/// wherever the two pictures may differ). `swaps/list.csv` lists all swaps with the columns human and target, as `cagan
/// swap --list` reads it.
///
/// With true swaps go `worn/<id>.png`, the share of each pixel that the worn article takes (8 bit grey), and
/// `flow/<human id>__<target id>.png`, the true flow: the place in the target's picture that each pixel shows (16 bit
/// grey, twice as high as the photo: x above y, from 1 at the picture's left or upper edge to 65535 at the right or
/// lower one; 0 where the new article takes less than half of the pixel, or its picture hides the place).
///
/// Args:
///     out: The folder; it is created if missing.
///     count: The number of pairs, 1 to 1,000,000.
///     seed: The seed of the drawing (default 0). Equal seeds give equal bytes.
///     size: (height, width), or one number for a square, 16 to 1024 each (default 128 x 96).
///     swaps: True swaps of each person, fewer than pairs (default 1, or 0 for a single pair).
///
/// Returns:
///     The pairs.
///
/// Raises:
///     ValueError: For a count, a size or a number of swaps outside the limits.
///     OSError: If the folder cannot be written.
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
    let positive =
        |name: &str, value: i64| u64::try_from(value).map_err(|_| Error::setting(name, "zero or more", value));
    let count = positive("count", count)?;
    let seed = seed.map_or(Ok(SEED), |seed| positive("seed", seed))?;
    let side = |value| u32::try_from(value).map_err(|_| Error::setting("size", "sides of 16 to 1024", value));
    let size = match size {
        None => SIZE,
        Some(Size::Square(length)) => [side(length)?; 2],
        Some(Size::Sides(height, width)) => [side(height)?, side(width)?],
    };
    let swaps = match swaps {
        None => SWAPS.min(count.saturating_sub(1)),
        Some(swaps) => positive("swaps", swaps)?,
    };
    let pairs = compute(py, || {
        crate::dolls::write(&out, count, seed, size, swaps)?;
        Pairs::open(&out, &Options::default())
    })?;
    Ok(PyPairs(pairs))
}

/// (height, width), or one number for a square.
#[derive(FromPyObject)]
pub enum Size {
    Square(i64),
    Sides(i64, i64),
}
