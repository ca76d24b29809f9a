//! Pictures from Python wherever they are: a path, a file's bytes, a PIL picture, an array.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyFloat};

use super::arrays::{Given, Picture, elements_to_numpy};
use crate::data::{Source, source_of};

/// A picture from Python: a path, a file's bytes, a dataset's record of either, a PIL picture, or an array. None for a
/// missing one. Relative paths are relative to the folder.
///
/// # Errors
/// `ValueError` for an array of another shape or type, `TypeError` for anything else.
pub fn source(name: &str, value: &Bound<'_, PyAny>, folder: &Path) -> PyResult<Option<Source>> {
    if is_missing(value)? {
        return Ok(None);
    }
    if let Ok(path) = value.extract::<PathBuf>() {
        let given = !path.as_os_str().is_empty();
        return Ok(given.then(|| source_of(folder.join(path))).transpose()?);
    }
    if let Ok(bytes) = value.extract::<PyBackedBytes>() {
        return Ok(Some(Source::Encoded(Arc::new(bytes), name.into())));
    }
    if let Ok(view) = value.cast::<View>() {
        return Ok(Some(Source::Encoded(Arc::new(Viewed(view.clone().unbind())), name.into())));
    }
    if let Ok(record) = value.cast::<PyDict>() {
        for key in ["bytes", "path"] {
            if let Some(inner) = record.get_item(key)?
                && let Some(found) = source(name, &inner, folder)?
            {
                return Ok(Some(found));
            }
        }
        return Ok(None);
    }
    match Given::of(name, value)?.load(name)? {
        Picture::Path(path) => Ok(Some(source_of(folder.join(path))?)),
        Picture::Encoded(bytes) => Ok(Some(Source::Encoded(Arc::new(bytes), name.into()))),
        Picture::Pixels(pixels) => Ok(Some(Source::Pixels(Arc::new(pixels), name.into()))),
    }
}

/// A picture as Python pickles it, and as [`source`] reads it: a path, a file's bytes, or an array.
pub fn stored<'py>(py: Python<'py>, source: &Source) -> PyResult<Bound<'py, PyAny>> {
    match source {
        Source::File(path) => Ok(path.into_pyobject(py)?.into_any()),
        Source::Member(_, path) => Ok(path.into_pyobject(py)?.into_any()),
        Source::Encoded(bytes, _) => Ok(PyBytes::new(py, (**bytes).as_ref()).into_any()),
        Source::Pixels(picture, _) => {
            let shape = [picture.height() as usize, picture.width() as usize, 3];
            Ok(elements_to_numpy(py, picture.as_raw().clone(), &shape)?.into_any())
        }
    }
}

/// None, NaN, and what data frames put into empty cells.
pub fn is_missing(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_none() {
        return Ok(true);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(number.extract::<f64>()?.is_nan());
    }
    let kind = value.get_type();
    Ok(["NAType", "NaTType"].contains(&kind.name()?.to_str()?))
}

/// The text of a cell. Data frames turn whole numbers beside empty cells into floats.
pub fn text(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if is_missing(value)? {
        return Ok(None);
    }
    let value = if value.hasattr("item")? { value.call_method0("item")? } else { value.clone() };
    let text = match value.cast::<PyFloat>() {
        Ok(number) if number.call_method0("is_integer")?.is_truthy()? => number.call_method0("__int__")?.str()?,
        _ => value.str()?,
    };
    let text = text.to_str()?.to_owned();
    Ok((!text.trim().is_empty()).then_some(text))
}

/// Bytes of a picture file in memory that another object owns.
#[pyclass(frozen)]
pub struct View {
    #[allow(dead_code, reason = "it is held, not read")]
    owner: Py<PyArray1<u8>>,
    start: usize,
    length: usize,
}

impl View {
    pub fn of(buffer: &Bound<'_, PyAny>) -> PyResult<View> {
        let py = buffer.py();
        let array = py.import("numpy")?.call_method1("frombuffer", (buffer, "uint8"))?;
        let array = array.cast_into::<PyArray1<u8>>()?;
        Ok(View { start: array.data() as usize, length: array.len(), owner: array.unbind() })
    }
}

/// Shares a view between threads.
pub struct Viewed(pub Py<View>);

impl AsRef<[u8]> for Viewed {
    fn as_ref(&self) -> &[u8] {
        let View { start, length, .. } = self.0.get();
        // SAFETY: the array at this address has that length, is of Arrow's immutable memory, and lives as long as the
        // view holds it.
        unsafe { std::slice::from_raw_parts(*start as *const u8, *length) }
    }
}
