//! Converts rows of pairs, data frames and datasets from Python to the core's rows.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pyo3::exceptions::{PyImportError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMapping, PyString};

use super::pair::PyPair;
use super::sources::{View, source, text};
use crate::data::{Namer, Row, read_flag};
use crate::error::Error;

/// The columns that rows may have beside the pictures.
pub const OTHERS: [&str; 6] = ["id", "group", "split", "exclude", "reason", "reviewed"];

/// Rows as Python gives them, to be named and checked.
pub struct Rows {
    folder: PathBuf,
    rows: Vec<Row>,
    /// The ids so far.
    taken: Namer,
}

impl Rows {
    /// Begins without rows. Relative paths are relative to the folder, or else to the current one.
    pub fn new(folder: Option<PathBuf>) -> Rows {
        Rows { folder: folder.unwrap_or_default(), rows: Vec::new(), taken: Namer::default() }
    }

    /// Returns the rows. Those without ids have the names of their files, or their numbers.
    pub fn finish(self) -> Vec<Row> {
        self.rows
    }

    /// Adds a row: a pair, a mapping with the keys human and article, or a sequence of human, article, and optionally
    /// id, group and split.
    pub fn push(&mut self, row: &Bound<'_, PyAny>) -> PyResult<()> {
        let number = self.rows.len();
        if let Ok(pair) = row.cast::<PyPair>() {
            let pair = &pair.get().0;
            self.taken.take(&pair.id)?;
            self.rows.push(Row {
                id: pair.id.clone(),
                human: Some(pair.human.clone()),
                article: Some(pair.article.clone()),
                group: pair.group.clone(),
                split: pair.split.clone(),
                ..Row::default()
            });
            return Ok(());
        }
        if let Ok(map) = row.cast::<PyMapping>() {
            let get = |name: &str| map.contains(name)?.then(|| map.get_item(name)).transpose();
            let others = OTHERS.map(get).into_iter().collect::<PyResult<Vec<_>>>()?;
            return self.add(get("human")?.as_ref(), get("article")?.as_ref(), &others);
        }
        let wrong = || {
            let kind = row.get_type().name().map_or_else(|_| "another object".into(), |name| name.to_string());
            let expected = "(human, article), and optionally id, group and split, a dict of them, or a Pair";
            PyTypeError::new_err(format!("row {number}: expected {expected}, got {kind}"))
        };
        if row.is_instance_of::<PyString>() || row.is_instance_of::<PyBytes>() {
            return Err(wrong());
        }
        let cells: Vec<Bound<'_, PyAny>> = row.try_iter().map_err(|_| wrong())?.collect::<PyResult<_>>()?;
        match &cells[..] {
            [human, article, others @ ..] if others.len() <= 3 => {
                let others: Vec<Option<Bound<'_, PyAny>>> = others.iter().cloned().map(Some).collect();
                self.add(Some(human), Some(article), &others)
            }
            _ => {
                let got = cells.len();
                Err(Error::setting(format!("row {number}"), "human, article, id, group and split", got).into())
            }
        }
    }

    /// Adds a row of cells; `others` are those of [`OTHERS`], or the first of them.
    pub fn add(
        &mut self,
        human: Option<&Bound<'_, PyAny>>,
        article: Option<&Bound<'_, PyAny>>,
        others: &[Option<Bound<'_, PyAny>>],
    ) -> PyResult<()> {
        let number = self.rows.len();
        let mut texts = Vec::with_capacity(OTHERS.len());
        for place in 0..OTHERS.len() {
            texts.push(match others.get(place).and_then(Option::as_ref) {
                Some(cell) => text(cell)?,
                None => None,
            });
        }
        let flag = |place: usize| -> PyResult<bool> {
            let cell = texts[place].as_deref().unwrap_or_default();
            let wrong = |message| Error::setting(format!("row {number}"), message, cell);
            Ok(read_flag(OTHERS[place], cell.trim()).map_err(wrong)?)
        };
        let (exclude, reviewed) = (flag(3)?, flag(5)?);
        let id = match texts[0].take() {
            Some(id) => {
                self.taken.take(&id)?;
                id
            }
            None => {
                let path = |cell: Option<&Bound<'_, PyAny>>| cell.and_then(|cell| cell.extract::<PathBuf>().ok());
                let file = path(human).or_else(|| path(article));
                let stem = file.and_then(|path| Some(path.file_stem()?.to_str()?.to_owned()));
                self.taken.fresh(&stem.filter(|stem| !stem.is_empty()).unwrap_or_else(|| number.to_string()))?
            }
        };
        let picture = |side: &str, cell: Option<&Bound<'_, PyAny>>| match cell {
            Some(cell) => source(&format!("{side} of `{id}`"), cell, &self.folder),
            None => Ok(None),
        };
        let (human, article) = (picture("human", human)?, picture("article", article)?);
        let [group, split, _, reason] = [1, 2, 3, 4].map(|place| texts[place].take());
        let reason = reason.unwrap_or_default();
        self.rows.push(Row { id, human, article, group, split, exclude, reason, reviewed, ..Row::default() });
        Ok(())
    }
}

/// The names of the columns of a data frame or a dataset.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The column of the photos.
    pub human: String,
    /// The column of the product pictures.
    pub article: String,
    /// The columns of ids, groups and splits; those of these names, if they exist, by default.
    pub others: [Option<String>; 3],
}

impl Columns {
    /// Returns the columns of the human, of the article, and those of [`OTHERS`] that exist.
    ///
    /// # Errors
    /// A column that is missing.
    fn chosen(&self, known: &[String]) -> PyResult<(String, String, Vec<Option<String>>)> {
        let has = |name: &String| known.contains(name);
        let needed = |name: &String| match has(name) {
            true => Ok(name.clone()),
            false => Err(Error::setting("columns", format!("`{name}` among them"), known.join(", "))),
        };
        let mut others = Vec::new();
        for (place, name) in OTHERS.iter().enumerate() {
            others.push(match self.others.get(place).and_then(Option::as_ref) {
                Some(given) => Some(needed(given)?),
                None => Some((*name).to_owned()).filter(has),
            });
        }
        Ok((needed(&self.human)?, needed(&self.article)?, others))
    }
}

/// Whether an object is a data frame, or columns by name.
pub fn is_frame(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    for name in ["columns", "column_names", "__arrow_c_stream__", "__dataframe__"] {
        if object.hasattr(name)? {
            return Ok(true);
        }
    }
    Ok(object.cast::<PyMapping>().is_ok())
}

/// Whether an object is a dataset of Hugging Face, or several by split.
pub fn is_dataset(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object.hasattr("with_format")? && (object.hasattr("features")? || object.cast::<PyMapping>().is_ok()))
}

/// Adds the rows of a data frame: of pandas, polars or pyarrow, of columns by name, or of anything that speaks Arrow's
/// or the data frames' protocol.
///
/// # Errors
/// `ValueError` for a missing column, `TypeError` for no data frame, `ImportError` for one that needs a library to be
/// read.
pub fn frame_rows(frame: &Bound<'_, PyAny>, columns: &Columns, rows: &mut Rows) -> PyResult<()> {
    let frame = &readable(frame)?;
    let names: Vec<String> = if frame.hasattr("column_names")? {
        frame.getattr("column_names")?.extract()?
    } else if let Ok(map) = frame.cast::<PyMapping>() {
        map.keys()?.extract()?
    } else {
        let names = frame.getattr("columns")?.try_iter()?;
        names.map(|name| name?.str()?.extract()).collect::<PyResult<_>>()?
    };
    // An index of that name serves as ids.
    let index = match frame.hasattr("index")? && !names.iter().any(|name| name == "id") {
        true => Some(frame.getattr("index")?)
            .filter(|index| index.getattr("name").is_ok_and(|n| n.eq("id").unwrap_or(false))),
        false => None,
    };
    let names: Vec<String> = names.into_iter().chain(index.is_some().then(|| "id".to_owned())).collect();
    let (human, article, others) = columns.chosen(&names)?;
    let column = |name: &String| -> PyResult<Vec<Bound<'_, PyAny>>> {
        let cells = match &index {
            Some(index) if name == "id" => index.clone(),
            _ => frame.get_item(name)?,
        };
        for method in ["to_pylist", "to_list", "tolist"] {
            // An array's `tolist` would turn its pictures into lists of numbers.
            if cells.hasattr(method)? && !cells.hasattr("strides")? {
                return cells.call_method0(method)?.extract();
            }
        }
        cells.try_iter()?.collect()
    };
    let (humans, articles) = (column(&human)?, column(&article)?);
    let others = others.iter().map(|name| name.as_ref().map(column).transpose()).collect::<PyResult<Vec<_>>>()?;
    if humans.len() != articles.len() || others.iter().flatten().any(|column| column.len() != humans.len()) {
        let lengths = format!("{} and {}", humans.len(), articles.len());
        return Err(Error::setting("columns", "columns of one length", lengths).into());
    }
    for (place, (human, article)) in humans.iter().zip(&articles).enumerate() {
        let cells: Vec<_> = others.iter().map(|column| column.as_ref().map(|cells| cells[place].clone())).collect();
        rows.add(Some(human), Some(article), &cells)?;
    }
    Ok(())
}

/// Returns a data frame whose columns can be taken by name.
fn readable<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = frame.py();
    if frame.get_type().name()?.to_str()? == "LazyFrame" {
        return frame.call_method0("collect");
    }
    let by_name = frame.cast::<PyMapping>().is_ok()
        || (frame.hasattr("columns")? || frame.hasattr("column_names")?) && frame.hasattr("__getitem__")?;
    // A relation of a database has columns, too, but gives no cells.
    if by_name && !(frame.hasattr("fetchall")? || frame.hasattr("execute")?) {
        return Ok(frame.clone());
    }
    let arrow = frame.hasattr("__arrow_c_stream__")?;
    if !arrow && !frame.hasattr("__dataframe__")? {
        let text = format!("frame: expected a data frame or columns by name, got {}", frame.get_type().name()?);
        return Err(PyTypeError::new_err(text));
    }
    let ways: &[(&str, &str)] = match arrow {
        true => &[("pyarrow", "table"), ("polars", "DataFrame")],
        false => &[("pyarrow.interchange", "from_dataframe"), ("pandas.api.interchange", "from_dataframe")],
    };
    for (module, way) in ways {
        if let Ok(module) = py.import(*module) {
            return module.call_method1(*way, (frame,));
        }
    }
    Err(PyImportError::new_err("pyarrow: expected for this data frame, found none; pip install pyarrow"))
}

/// Reads a Parquet file with pyarrow, polars or pandas.
///
/// # Errors
/// `ImportError` without any of them.
pub fn read_parquet<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyAny>> {
    if !path.is_file() {
        return Err(Error::NotFound { path: path.into(), what: "file" }.into());
    }
    for (module, read) in [("pyarrow.parquet", "read_table"), ("polars", "read_parquet"), ("pandas", "read_parquet")] {
        let Ok(module) = py.import(module) else { continue };
        match module.call_method1(read, (path,)) {
            // pandas without an engine.
            Err(error) if error.is_instance_of::<PyImportError>(py) => {}
            Err(error) => {
                let text = format!("expected a Parquet file, got another one: {}", error.value(py));
                return Err(Error::content(path, text).into());
            }
            Ok(frame) => return Ok(frame),
        }
    }
    let text = "pyarrow: expected for .parquet files, found none; pip install 'cagan[parquet]'";
    Err(PyImportError::new_err(text))
}

/// Adds the rows of a dataset of Hugging Face. Pictures that its files hold stay there: a row keeps a view of their
/// bytes in the dataset's memory map.
///
/// # Errors
/// `TypeError` for no dataset, `ValueError` for a missing column or a cell that is no picture.
pub fn dataset_rows(dataset: &Bound<'_, PyAny>, columns: &Columns, rows: &mut Rows) -> PyResult<()> {
    /// Rows read at once.
    const PART: usize = 1000;
    let py = dataset.py();
    if let Ok(splits) = dataset.cast::<PyMapping>() {
        for item in splits.items()?.iter() {
            let (name, part): (String, Bound<'_, PyAny>) = item.extract()?;
            let before = rows.rows.len();
            dataset_rows(&part, columns, rows)?;
            rows.rows[before..].iter_mut().for_each(|row| row.split = Some(name.clone()));
        }
        return Ok(());
    }
    let is_table = dataset.hasattr("column_names")? && dataset.hasattr("select_columns")?;
    let Some(count) = dataset.len().ok().filter(|_| is_table) else {
        let wrong = |place: &str, expected: &str, got: &Bound<'_, PyAny>| -> PyErr {
            let kind = got.get_type().name().map_or_else(|_| "another object".into(), |name| name.to_string());
            PyTypeError::new_err(format!("{place}: expected {expected}, got {kind}"))
        };
        let is_text = dataset.is_instance_of::<PyString>() || dataset.is_instance_of::<PyBytes>();
        let all = dataset.try_iter().ok().filter(|_| !is_text);
        let expected = "a dataset of Hugging Face, or rows that are dicts of columns";
        let all = all.ok_or_else(|| wrong("dataset", expected, dataset))?;
        // Rows that can only be gone through.
        for (number, row) in all.enumerate() {
            let row = row?;
            let Ok(map) = row.cast::<PyMapping>() else {
                return Err(wrong(&format!("row {number}"), "a dict of columns", &row));
            };
            let (human, article, others) = columns.chosen(&map.keys()?.extract::<Vec<String>>()?)?;
            let cells: Vec<_> = others
                .iter()
                .map(|name| name.as_ref().map(|name| row.get_item(name)).transpose())
                .collect::<PyResult<_>>()?;
            rows.add(Some(&row.get_item(human)?), Some(&row.get_item(article)?), &cells)?;
            py.check_signals()?;
        }
        return Ok(());
    };
    let names: Vec<String> = dataset.getattr("column_names")?.extract()?;
    let (human, article, others) = columns.chosen(&names)?;
    let wanted =
        PyList::new(py, [&human, &article].into_iter().chain(others.iter().flatten()).collect::<HashSet<_>>())?;
    let tables = dataset.call_method1("select_columns", (wanted,))?.call_method1("with_format", ("arrow",))?;
    for start in (0..count).step_by(PART) {
        py.check_signals()?;
        let range = pyo3::types::PySlice::new(py, start as isize, (start + PART).min(count) as isize, 1);
        let table = tables.get_item(range)?;
        let column = |name: &String| cells_of(&table.call_method1("column", (name,))?, dataset, name, start);
        let (humans, articles) = (column(&human)?, column(&article)?);
        let others = others.iter().map(|name| name.as_ref().map(column).transpose()).collect::<PyResult<Vec<_>>>()?;
        for (place, (human, article)) in humans.iter().zip(&articles).enumerate() {
            let cells: Vec<_> = others.iter().map(|column| column.as_ref().map(|cells| cells[place].clone())).collect();
            rows.add(Some(human), Some(article), &cells)?;
        }
    }
    Ok(())
}

/// The cells of a column of an Arrow table that begins at row `start` of the dataset: pictures as views of their bytes
/// or as paths, others as Python's values.
fn cells_of<'py>(
    column: &Bound<'py, PyAny>,
    dataset: &Bound<'py, PyAny>,
    name: &str,
    start: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = column.py();
    let kind = column.getattr("type")?.str()?.to_string();
    if kind.starts_with("struct<") && kind.contains("bytes: ") {
        let mut cells = Vec::new();
        for chunk in column.getattr("chunks")?.try_iter()? {
            let chunk = chunk?;
            // The fields of an empty cell are null after this alone.
            let fields = chunk.call_method0("flatten")?;
            let field = |name: &str| -> PyResult<Bound<'py, PyAny>> {
                fields.get_item(chunk.getattr("type")?.call_method1("get_field_index", (name,))?)
            };
            let (bytes, paths) = (field("bytes")?, field("path")?);
            for place in 0..chunk.len()? {
                let buffer = bytes.get_item(place)?.call_method0("as_buffer")?;
                cells.push(match buffer.is_none() {
                    true => paths.get_item(place)?.call_method0("as_py")?,
                    false => Bound::new(py, View::of(&buffer)?)?.into_any(),
                });
            }
        }
        return Ok(cells);
    }
    if kind.starts_with("list<") || kind.starts_with("extension<") || kind.starts_with("fixed_size_list<") {
        // Pictures as numbers: the dataset knows their shape. It widens bytes to large integers.
        let stored = column.getattr("type")?;
        let stored = if stored.hasattr("storage_type")? { stored.getattr("storage_type")? } else { stored };
        let is_bytes = stored.str()?.to_string().contains("uint8");
        let count = column.len()?;
        let numpy = dataset.call_method1("with_format", ("numpy",))?;
        let cell = |place: usize| -> PyResult<Bound<'py, PyAny>> {
            let cell = numpy.get_item(place)?.get_item(name)?;
            if is_bytes && cell.hasattr("astype")? { cell.call_method1("astype", ("uint8",)) } else { Ok(cell) }
        };
        return (start..start + count).map(cell).collect();
    }
    let cells: Vec<Bound<'py, PyAny>> = column.call_method0("to_pylist")?.extract()?;
    let feature = dataset.getattr("features")?.get_item(name)?;
    match feature.hasattr("int2str")? {
        // Classes have names.
        true => cells
            .into_iter()
            .map(|cell| if cell.is_none() { Ok(cell) } else { feature.call_method1("int2str", (cell,)) })
            .collect(),
        false => Ok(cells),
    }
}
