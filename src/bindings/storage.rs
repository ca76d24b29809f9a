//! Files for Python: atomic writes, and the headers of safetensors files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::prelude::*;

use super::compute::compute;
use crate::storage;

/// Reads the header entries of a snapshot or a checkpoint, without reading its tensors.
///
/// Raises:
///     FileNotFoundError: For a missing file.
///     ValueError: For a file that is no safetensors file.
#[pyfunction]
pub fn read_header(py: Python<'_>, path: PathBuf) -> PyResult<BTreeMap<String, String>> {
    compute(py, || storage::read_header(&path))
}

/// Replaces a file at once: a reader sees the old content or the new one, also after a crash.
///
/// An existing file keeps its permissions, a new one obeys the umask. A link stays a link.
///
/// Raises:
///     OSError: If the folder cannot be written; the old file then stays.
#[pyfunction]
pub fn write_atomically(py: Python<'_>, path: PathBuf, content: &[u8]) -> PyResult<()> {
    compute(py, || storage::write_atomically(&path, content))
}
