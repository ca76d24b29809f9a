//! `cagan.Pairs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use numpy::PyArrayDyn;
use pyo3::exceptions::{PyImportError, PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySlice, PyTuple, PyType};
use rayon::prelude::*;

use super::compute::{Signals, compute};
use super::pair::{PairParts, PyPair, decoded, pair_of, parts_of};
use super::rows::{Columns, Rows, dataset_rows, frame_rows, is_dataset, is_frame, read_parquet};
use super::sources::{source, stored};
use crate::data::{Article, LeftOut, Note, OnError, Options, Pair, Pairs, PassedOver, Source};
use crate::dolls::{SEED, SIZE, SWAPS, write_observed};
use crate::error::{Error, Result};
use crate::pixels::{png, sheet, shrunk};

/// Pairs on a contact sheet.
const SHEET: usize = 16;
/// Height and width of a picture on it.
const CELL: [usize; 2] = [96, 96];
/// Pairs in a row of it.
const ACROSS: usize = 8;

/// Pairs: of a folder, of a list, or of rows in memory. It is a sequence of `Pair`s. No picture is opened yet.
///
/// A folder is read by the first of these layouts that it has: `pairs.csv` (columns human and article and optionally
/// id, group, split, exclude, reason, reviewed; paths relative to the folder); `human/` and `article/` matched by file
/// stem; `image/` and `cloth/`, as in the try-on sets, with or without a text file of the pairs; `images/` with
/// `<id>_0` (human) and `<id>_1` (article), as in DressCode; files `<id>_1` and `<id>_5`, also in folders `1/` and
/// `5/`; files `<id>_1_front` and `<id>_6_flat`, as in DeepFashion In-shop; tar files with `<key>.human.jpg` and
/// `<key>.article.jpg`, as WebDataset writes them. All but the first may also be in folders `train`, `val`, `valid`,
/// `validation`, `test`, and all but the first and the last further down.
///
/// Args:
///     folder: The folder, a .csv, .parquet or .tar file, rows as for `from_rows`, a data frame as for `from_frame`, or a
///         dataset as for `from_dataset`.
///     human: The folder or the pattern of the humans, in place of a layout: `"photos"`, or `"*_0.jpg"`, in which `*` is
///         any part of a name, `?` a character and `**` any folders. Of a data frame or a dataset: the column.
///     article: The folder or the pattern of the articles. Two files whose signs stand for the same are a pair.
///     on_error: "raise" (the default), or "skip" to leave out pairs with a file that is missing, has no partner or, in
///         training, cannot be decoded. `skipped` and the run's folder list them.
///     extra_articles: Whether articles without a human join as targets. By default each is an error.
///
/// Warns:
///     UserWarning: A file that is a picture was passed over, or a split is empty. `passed_over` and `notes` say more.
///
/// Raises:
///     FileNotFoundError: For a missing folder, or one of none of these layouts.
///     ValueError: For a folder without pairs, a picture without its partner, a repeated id, or a broken CSV.
///     TypeError: For an object that holds no pairs.
///     ImportError: For a .parquet file or a data frame that needs a library to be read.
///
/// Example:
///     >>> import cagan
///     >>> dolls = cagan.dolls("data/shop", count=4)
///     >>> pairs = cagan.Pairs("data/shop", human="human/*.png", article="article/*.png")
///     >>> len(pairs), pairs[0].id, [pair.id for pair in pairs[1:3]]
///     (4, '00000', ['00001', '00002'])
#[pyclass(name = "Pairs", module = "cagan", frozen, sequence)]
pub struct PyPairs(pub Pairs);

/// Returns the options of a reading.
fn options(on_error: Option<&str>, extra_articles: Option<bool>) -> Result<Options> {
    let on_error = match on_error {
        None => OnError::default(),
        Some("raise") => OnError::Raise,
        Some("skip") => OnError::Skip,
        Some(other) => return Err(Error::setting("on_error", "raise or skip", other)),
    };
    Ok(Options { on_error, extra_articles: extra_articles.unwrap_or_default(), sides: None })
}

/// Returns the folders or the patterns of both sides, or none.
pub fn sides(human: Option<String>, article: Option<String>) -> Result<Option<[String; 2]>> {
    match (human, article) {
        (None, None) => Ok(None),
        (Some(human), Some(article)) => Ok(Some([human, article])),
        (one, _) => {
            let name = if one.is_some() { "article" } else { "human" };
            Err(Error::setting(name, "a folder or a pattern, as for the other side", "none"))
        }
    }
}

/// Warns of what the reading of a folder left out.
pub fn warn(py: Python<'_>, place: &Path, notes: &[Note], passed: &[PassedOver]) -> PyResult<()> {
    let mut said: Vec<String> = notes.iter().filter(|note| note.warning).map(|note| note.text.clone()).collect();
    let pictures: Vec<&PassedOver> = passed.iter().filter(|passed| passed.picture).collect();
    if let Some(first) = pictures.first() {
        let path = first.path.strip_prefix(place).unwrap_or(&first.path).display();
        let (count, reason) = (pictures.len(), &first.reason);
        let what = if count == 1 { "1 picture is" } else { &format!("{count} pictures are") };
        said.push(format!("{what} passed over, the first: {path}: {reason}"));
    }
    if said.is_empty() {
        return Ok(());
    }
    let text = format!("{}: {}", place.display(), said.join("; ")).replace('\0', " ");
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(text)?, 1)
}

/// The columns of the options of `from_frame` and `from_dataset`.
fn columns(human: Option<String>, article: Option<String>, others: [Option<String>; 3]) -> Columns {
    let (human, article) = (human.unwrap_or("human".into()), article.unwrap_or("article".into()));
    Columns { human, article, others }
}

#[pymethods]
impl PyPairs {
    #[new]
    #[pyo3(signature = (folder, *, human=None, article=None, on_error=None, extra_articles=None))]
    fn new(
        folder: &Bound<'_, PyAny>,
        human: Option<String>,
        article: Option<String>,
        on_error: Option<&str>,
        extra_articles: Option<bool>,
    ) -> PyResult<Self> {
        let py = folder.py();
        let mut options = options(on_error, extra_articles)?;
        if let Ok(path) = folder.extract::<PathBuf>() {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
            if ["parquet", "pq"].contains(&ending.as_str()) {
                let table = read_parquet(py, &path)?;
                let parent = path.parent().map(Path::to_owned);
                return Self::of_frame(&table, &columns(human, article, [None, None, None]), parent, &options);
            }
            options.sides = sides(human, article)?;
            let pairs = compute(py, || Pairs::open(&path, &options))?;
            warn(py, &path, &pairs.notes, &pairs.passed_over)?;
            return Ok(PyPairs(pairs));
        }
        if let Ok(pairs) = folder.cast::<PyPairs>() {
            return Ok(PyPairs(pairs.get().0.clone()));
        }
        if is_dataset(folder)? {
            return Self::of_dataset(folder, &columns(human, article, [None, None, None]), &options);
        }
        if is_frame(folder)? {
            return Self::of_frame(folder, &columns(human, article, [None, None, None]), None, &options);
        }
        let Ok(rows) = folder.try_iter() else {
            let expected = "a folder, a .csv or .parquet file, rows of human and article, a data frame or a dataset";
            let text = format!("pairs: expected {expected}, got {}", folder.get_type().name()?);
            return Err(PyTypeError::new_err(text));
        };
        Self::of_rows(rows.as_any(), None, &options)
    }

    /// Makes pairs of rows.
    ///
    /// Args:
    ///     rows: Each (human, article), with id, group and split after them if known; a dict with these keys; or a
    ///         `Pair`. A picture is a path, a file's bytes, a PIL picture, or a uint8 array [H, W, 3]. Without an id a
    ///         pair has the name of its photo, or its number.
    ///     folder: The folder to which paths are relative; the current one by default.
    ///     on_error: As of `Pairs`.
    ///     extra_articles: As of `Pairs`, for rows whose human is None.
    ///
    /// Raises:
    ///     TypeError: A row or a picture is of another type.
    ///     ValueError: An id occurs twice, a file is missing, or there are no rows.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> dolls = cagan.dolls("data/dolls", count=8)
    ///     >>> pairs = cagan.Pairs.from_rows([(doll.human, doll.article, doll.id) for doll in dolls])
    ///     >>> pairs["00003"].human_path is None, pairs["00003"].human.shape
    ///     (True, (128, 96, 3))
    #[staticmethod]
    #[pyo3(signature = (rows, *, folder=None, on_error=None, extra_articles=None))]
    fn from_rows(
        rows: &Bound<'_, PyAny>,
        folder: Option<PathBuf>,
        on_error: Option<&str>,
        extra_articles: Option<bool>,
    ) -> PyResult<Self> {
        Self::of_rows(rows, folder, &options(on_error, extra_articles)?)
    }

    /// Makes pairs of a data frame: of pandas, polars or pyarrow, of a dict of columns, or of any that speaks Arrow's
    /// or the data frames' protocol. Columns `exclude` and `reason` leave rows out, as in `pairs.csv`.
    ///
    /// Args:
    ///     frame: The data frame.
    ///     human: The column of the photos: paths, files' bytes, PIL pictures or arrays (default "human").
    ///     article: The column of the product pictures (default "article").
    ///     id: The column of the names; "id" by default, if there is one.
    ///     group: The column of the groups; "group" by default, if there is one.
    ///     split: The column of the splits; "split" by default, if there is one.
    ///     folder: The folder to which paths are relative; the current one by default.
    ///     on_error: As of `Pairs`.
    ///     extra_articles: As of `Pairs`.
    ///
    /// Raises:
    ///     TypeError: It is no data frame.
    ///     ValueError: A column is missing, an id occurs twice, or a file is missing.
    ///     ImportError: The data frame can only be read by a library that is missing.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> dolls = cagan.dolls("data/dolls", count=8)
    ///     >>> columns = {"photo": [doll.human_path for doll in dolls], "shirt": [doll.article_path for doll in dolls]}
    ///     >>> cagan.Pairs.from_frame(columns, human="photo", article="shirt").ids[:2]
    ///     ['00000', '00001']
    #[staticmethod]
    #[pyo3(signature = (
        frame, *, human=None, article=None, id=None, group=None, split=None, folder=None, on_error=None,
        extra_articles=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn from_frame(
        frame: &Bound<'_, PyAny>,
        human: Option<String>,
        article: Option<String>,
        id: Option<String>,
        group: Option<String>,
        split: Option<String>,
        folder: Option<PathBuf>,
        on_error: Option<&str>,
        extra_articles: Option<bool>,
    ) -> PyResult<Self> {
        let columns = columns(human, article, [id, group, split]);
        Self::of_frame(frame, &columns, folder, &options(on_error, extra_articles)?)
    }

    /// Makes pairs of a dataset of Hugging Face's `datasets`, or of a dict of them by split. Pictures stay in the
    /// dataset's files, and nothing is copied to disk.
    ///
    /// Args:
    ///     dataset: The dataset.
    ///     human: The column of the photos: pictures or paths (default "human").
    ///     article: The column of the product pictures (default "article").
    ///     id: The column of the names; "id" by default, if there is one.
    ///     group: The column of the groups; "group" by default, if there is one.
    ///     split: The column of the splits; "split" by default, if there is one.
    ///     on_error: As of `Pairs`.
    ///     extra_articles: As of `Pairs`.
    ///
    /// Raises:
    ///     TypeError: It is no dataset.
    ///     ValueError: A column is missing, an id occurs twice, or a cell is no picture.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> dolls = cagan.dolls("data/dolls", count=8)
    ///     >>> rows = [{"human": doll.human, "article": doll.article} for doll in dolls]
    ///     >>> len(cagan.Pairs.from_dataset(rows))
    ///     8
    #[staticmethod]
    #[pyo3(signature = (
        dataset, *, human=None, article=None, id=None, group=None, split=None, on_error=None, extra_articles=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn from_dataset(
        dataset: &Bound<'_, PyAny>,
        human: Option<String>,
        article: Option<String>,
        id: Option<String>,
        group: Option<String>,
        split: Option<String>,
        on_error: Option<&str>,
        extra_articles: Option<bool>,
    ) -> PyResult<Self> {
        let columns = columns(human, article, [id, group, split]);
        Self::of_dataset(dataset, &columns, &options(on_error, extra_articles)?)
    }

    /// The folder that was read; None for pairs that were made by hand.
    #[getter]
    fn folder(&self) -> Option<PathBuf> {
        self.0.folder.clone()
    }

    /// The pairs' names, in order.
    #[getter]
    fn ids(&self) -> Vec<&str> {
        self.0.ids().collect()
    }

    /// The number of pairs of each named split.
    #[getter]
    fn splits(&self) -> BTreeMap<&str, usize> {
        self.0.splits()
    }

    /// Articles without a human, which join as targets: (id, path). The path of a picture in memory is a name.
    #[getter]
    fn extra_articles(&self) -> Vec<(String, PathBuf)> {
        self.0.extra().map(|article| (article.id, article.picture.name().to_owned())).collect()
    }

    /// Pairs that `pairs.csv` excludes: (id, path, reason).
    #[getter]
    fn excluded(&self) -> Vec<(String, PathBuf, String)> {
        left_out(&self.0.excluded)
    }

    /// How a file that cannot be read later is handled: "raise" or "skip".
    #[getter]
    fn on_error(&self) -> &'static str {
        match self.0.on_error {
            OnError::Raise => "raise",
            OnError::Skip => "skip",
        }
    }

    /// Pairs that were skipped when the folder was read: (id, path, reason). Pictures are decoded later: a run lists
    /// the pairs that it skips then in its `skipped.csv`.
    #[getter]
    fn skipped(&self) -> Vec<(String, PathBuf, String)> {
        left_out(&self.0.skipped)
    }

    /// Files in the folders of the pictures that are none of them: (path, reason).
    #[getter]
    fn passed_over(&self) -> Vec<(PathBuf, String)> {
        self.0.passed_over.iter().map(|passed| (passed.path.clone(), passed.reason.clone())).collect()
    }

    /// What the reading of the folder chose or left out, a sentence each: which text file decides, which split is
    /// empty.
    #[getter]
    fn notes(&self) -> Vec<&str> {
        self.0.notes.iter().map(|note| note.text.as_str()).collect()
    }

    /// Returns the pairs that a function wants.
    ///
    /// Args:
    ///     wanted: Called with each `Pair`; true keeps it.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> pairs = cagan.dolls("data/dolls", count=8)
    ///     >>> pairs.filter(lambda pair: pair.id > "00005").ids
    ///     ['00006', '00007']
    fn filter(&self, wanted: &Bound<'_, PyAny>) -> PyResult<PyPairs> {
        let mut places = Vec::new();
        for (place, pair) in self.0.iter().enumerate() {
            if wanted.call1((PyPair(pair),))?.is_truthy()? {
                places.push(place);
            }
        }
        Ok(PyPairs(self.0.at(&places)))
    }

    /// Returns the pairs as a data frame with the columns id, human, article, group and split, which `from_frame`
    /// reads: of pandas, or else of polars. Pictures are paths, or the bytes or pixels of those in memory; polars gets
    /// the pixels as PNG.
    ///
    /// Raises:
    ///     ImportError: Neither pandas nor polars is installed.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> frame = cagan.dolls("data/dolls", count=8).to_frame()
    ///     >>> len(frame), list(frame.columns)
    ///     (8, ['id', 'human', 'article', 'group', 'split'])
    fn to_frame<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pairs = &self.0;
        let Some((library, is_polars)) = ["pandas", "polars"].iter().find_map(|name| {
            let library = py.import(*name).ok()?;
            Some((library, *name == "polars"))
        }) else {
            return Err(PyImportError::new_err("pandas: expected pandas or polars for a data frame, found neither"));
        };
        let picture = |source: &Source| match (source, source.address().and_then(Path::to_str)) {
            (_, Some(path)) => Ok(path.into_pyobject(py)?.into_any()),
            // Arrays of several shapes are no column of polars.
            (Source::Pixels(pixels, _), None) if is_polars => {
                let size = [pixels.height() as usize, pixels.width() as usize];
                Ok(PyBytes::new(py, &png(pixels.as_raw(), size, 3)).into_any())
            }
            _ => stored(py, source),
        };
        let columns = PyDict::new(py);
        let text = |value: fn(Pair) -> Option<String>| PyList::new(py, pairs.iter().map(value));
        columns.set_item("id", text(|pair| Some(pair.id))?)?;
        let humans = pairs.iter().map(|pair| picture(&pair.human)).collect::<PyResult<Vec<_>>>()?;
        let articles = pairs.iter().map(|pair| picture(&pair.article)).collect::<PyResult<Vec<_>>>()?;
        columns.set_item("human", humans)?;
        columns.set_item("article", articles)?;
        columns.set_item("group", text(|pair| pair.group)?)?;
        columns.set_item("split", text(|pair| pair.split)?)?;
        library.call_method1("DataFrame", (columns,))
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
    #[expect(clippy::too_many_arguments, reason = "they are the parts of a pickle")]
    fn _restored(
        folder: Option<PathBuf>,
        pairs: Vec<PairParts<'_>>,
        extra: Vec<(String, Bound<'_, PyAny>)>,
        excluded: Vec<(String, PathBuf, String)>,
        skipped: Vec<(String, PathBuf, String)>,
        passed_over: Vec<(PathBuf, String, bool)>,
        notes: Vec<(String, bool)>,
        skips: bool,
    ) -> PyResult<PyPairs> {
        let left_out = |(id, path, reason)| LeftOut { id, path, reason };
        let article = |(id, picture): (String, Bound<'_, PyAny>)| -> PyResult<Article> {
            let pair = pair_of((id, picture.clone(), picture, None, None))?;
            Ok(Article { id: pair.id, picture: pair.article })
        };
        let mut restored = Pairs::default();
        restored.folder = folder;
        let pairs = pairs.into_iter().map(pair_of).collect::<PyResult<Vec<_>>>()?;
        let extra = extra.into_iter().map(article).collect::<PyResult<Vec<_>>>()?;
        restored.set(&pairs, &extra)?;
        restored.excluded = excluded.into_iter().map(left_out).collect();
        restored.skipped = skipped.into_iter().map(left_out).collect();
        restored.passed_over =
            (passed_over.into_iter()).map(|(path, reason, picture)| PassedOver { path, reason, picture }).collect();
        restored.notes = notes.into_iter().map(|(text, warning)| Note { text, warning }).collect();
        restored.on_error = if skips { OnError::Skip } else { OnError::Raise };
        Ok(PyPairs(restored))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, pairs) = (slf.py(), &slf.get().0);
        let parts = (
            pairs.folder.clone(),
            pairs.iter().map(|pair| parts_of(py, pair)).collect::<PyResult<Vec<_>>>()?,
            (pairs.extra())
                .map(|article| stored(py, &article.picture).map(|picture| (article.id, picture)))
                .collect::<PyResult<Vec<_>>>()?,
            left_out(&pairs.excluded),
            left_out(&pairs.skipped),
            (pairs.passed_over.iter())
                .map(|passed| (passed.path.clone(), passed.reason.clone(), passed.picture))
                .collect::<Vec<_>>(),
            pairs.notes.iter().map(|note| (note.text.clone(), note.warning)).collect::<Vec<_>>(),
            pairs.on_error == OnError::Skip,
        );
        Ok((slf.get_type().getattr("_restored")?, parts.into_pyobject(py)?))
    }

    /// Draws a contact sheet of pairs from the whole set, each human above its article; white for unreadable pictures.
    fn _repr_png_(&self, py: Python<'_>) -> PyResult<Cow<'_, [u8]>> {
        compute(py, || -> Result<_> {
            let count = self.0.len().min(SHEET);
            let chosen: Vec<Pair> = (0..count).map(|k| self.0.pair(k * self.0.len() / count)).collect();
            let mut rows = Vec::new();
            for part in chosen.chunks(ACROSS) {
                let sides: [fn(&Pair) -> &Source; 2] = [|pair| &pair.human, |pair| &pair.article];
                for side in sides {
                    let small = |pair: &Pair| Some(shrunk(&*side(pair).decode().ok()?, CELL));
                    rows.push(part.par_iter().map(small).collect());
                }
            }
            let (pixels, size) = sheet(&rows, CELL, 4);
            Ok(png(&pixels, size, 3).into())
        })
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("collections.abc")?.getattr("Sequence")?.call_method1("__iter__", (slf,))
    }

    /// Iterates from the last pair to the first.
    fn __reversed__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("collections.abc")?.getattr("Sequence")?.call_method1("__reversed__", (slf,))
    }

    /// Returns the place of a pair, as for a list.
    ///
    /// Raises:
    ///     ValueError: The pair is not there.
    #[pyo3(signature = (value, start=0, stop=isize::MAX, /))]
    fn index(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>, start: isize, stop: isize) -> PyResult<usize> {
        let pairs = slf.py().import("builtins")?.getattr("list")?.call1((slf,))?;
        pairs.call_method1("index", (value, start, stop))?.extract()
    }

    /// Counts a pair.
    #[pyo3(signature = (value, /))]
    fn count(&self, value: &Bound<'_, PyAny>) -> usize {
        value.cast::<PyPair>().map_or(0, |pair| self.0.iter().filter(|own| *own == pair.get().0).count())
    }

    /// Returns the pair at an index, or with an id; or the pairs of a slice.
    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let pair = if let Ok(slice) = key.cast::<PySlice>() {
            let range = slice.indices(self.0.len() as isize)?;
            let place = |k: usize| (range.start + k as isize * range.step) as usize;
            let places: Vec<usize> = (0..range.slicelength).map(place).collect();
            return Ok(Bound::new(py, PyPairs(self.0.at(&places)))?.into_any());
        } else if let Ok(id) = key.extract::<String>() {
            self.0.find(&id)?
        } else if let Ok(index) = key.extract::<i64>() {
            let len = self.0.len();
            let place = if index < 0 { index + len as i64 } else { index };
            let place = usize::try_from(place).ok().filter(|place| *place < len);
            self.0.pair(place.ok_or(Error::Index { index, len })?)
        } else {
            let text = format!("pairs: expected an index, a slice or an id, got {}", key.repr()?);
            return Err(PyTypeError::new_err(text));
        };
        Ok(Bound::new(py, PyPair(pair))?.into_any())
    }

    /// Returns these pairs and then the others. An id that both have gets a number in the second: `a_2`.
    fn __add__(&self, other: &Bound<'_, PyAny>) -> PyResult<PyPairs> {
        match other.cast::<PyPairs>() {
            Ok(other) => Ok(PyPairs(self.0.joined(&other.get().0)?)),
            Err(_) => {
                let kind = other.get_type();
                Err(PyTypeError::new_err(format!("pairs: expected other Pairs to add, got {}", kind.name()?)))
            }
        }
    }

    /// Whether the pairs contain that pair, or one with that id.
    fn __contains__(&self, key: &Bound<'_, PyAny>) -> bool {
        match key.extract::<String>() {
            Ok(id) => self.0.position(&id).is_some(),
            Err(_) => key.cast::<PyPair>().is_ok_and(|pair| {
                let pair = &pair.get().0;
                self.0.position(&pair.id).is_some_and(|place| self.0.pair(place) == *pair)
            }),
        }
    }

    fn __repr__(&self) -> String {
        let Pairs { folder, excluded, skipped, passed_over, .. } = &self.0;
        let folder = folder.as_ref().map(|folder| format!("{:?}, ", folder.display().to_string()));
        let mut text = format!("Pairs({}{} pairs", folder.unwrap_or_default(), self.0.len());
        let counts = [
            ("articles without a human", self.0.extra().len()),
            ("excluded", excluded.len()),
            ("skipped", skipped.len()),
            ("files passed over", passed_over.len()),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            text += &format!(", {count} {what}");
        }
        text + ")"
    }
}

/// Makes the class a `Sequence`, whose methods it has.
pub fn make_sequence(class: &Bound<'_, PyType>) -> PyResult<()> {
    let sequence = class.py().import("collections.abc")?.getattr("Sequence")?;
    sequence.call_method1("register", (class,))?;
    Ok(())
}

impl PyPairs {
    fn of_rows(rows: &Bound<'_, PyAny>, folder: Option<PathBuf>, options: &Options) -> PyResult<PyPairs> {
        let py = rows.py();
        let mut all = Rows::new(folder.clone());
        for row in rows.try_iter()? {
            all.push(&row?)?;
            py.check_signals()?;
        }
        let rows = all.finish();
        Ok(PyPairs(compute(py, || Pairs::of_rows(rows, folder, options))?))
    }

    fn of_frame(
        frame: &Bound<'_, PyAny>,
        columns: &Columns,
        folder: Option<PathBuf>,
        options: &Options,
    ) -> PyResult<PyPairs> {
        let mut all = Rows::new(folder.clone());
        frame_rows(frame, columns, &mut all)?;
        let rows = all.finish();
        Ok(PyPairs(compute(frame.py(), || Pairs::of_rows(rows, folder, options))?))
    }

    fn of_dataset(dataset: &Bound<'_, PyAny>, columns: &Columns, options: &Options) -> PyResult<PyPairs> {
        let mut all = Rows::new(None);
        dataset_rows(dataset, columns, &mut all)?;
        let rows = all.finish();
        Ok(PyPairs(compute(dataset.py(), || Pairs::of_rows(rows, None, options))?))
    }
}

fn left_out(list: &[LeftOut]) -> Vec<(String, PathBuf, String)> {
    let parts = |one: &LeftOut| (one.id.clone(), one.path.clone(), one.reason.clone());
    list.iter().map(parts).collect()
}

/// Decodes a picture file, by its path or its bytes, as training does: upright, sRGB, transparency on white; uint8,
/// [H, W, 3].
///
/// Raises:
///     FileNotFoundError: For a missing file.
///     ValueError: For a file that is no whole picture, or too large.
#[pyfunction]
pub fn read_picture<'py>(py: Python<'py>, path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let missing = || PyTypeError::new_err("picture: expected a path or a file's bytes, got none");
    decoded(py, &source("picture", path, Path::new(""))?.ok_or_else(missing)?)
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
    let pairs = compute(py, || -> PyResult<Pairs> {
        let mut signals = Signals::new();
        write_observed(&out, count, seed, size, swaps, || signals.check())?;
        Ok(Pairs::open(&out, &Options::default())?)
    })?;
    Ok(PyPairs(pairs))
}

/// (height, width), or one number for a square.
#[derive(FromPyObject)]
pub enum Size {
    Square(i64),
    Sides(i64, i64),
}
