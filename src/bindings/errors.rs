//! The only place where an [`Error`] becomes a Python exception.

use pyo3::PyErr;
use pyo3::exceptions::{
    PyFileNotFoundError, PyFloatingPointError, PyIndexError, PyKeyError, PyMemoryError, PyOSError, PyRuntimeError,
    PyTypeError, PyValueError,
};

use crate::error::{Error, Named};

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let text = error.to_string();
        // The words behind the message of what failed.
        let (error, more) = match error {
            Error::Rescued { source, .. } => {
                let more = text.strip_prefix(&source.to_string()).unwrap_or_default().to_owned();
                (*source, more)
            }
            error => (error, String::new()),
        };
        match error {
            Error::Setting { .. } | Error::Content { .. } | Error::Array { .. } => PyValueError::new_err(text),
            Error::UnknownName { kind, .. } => match kind {
                // As for any unknown keyword.
                Named::Setting => PyTypeError::new_err(text),
                Named::Id => PyKeyError::new_err(text),
                Named::Preset | Named::Split | Named::Network | Named::Parameter => PyValueError::new_err(text),
            },
            Error::Excluded { .. } => PyKeyError::new_err(text),
            Error::NotFound { .. } => PyFileNotFoundError::new_err(text),
            Error::Io { path, source } => match source.raw_os_error() {
                // With the number Python picks the subclass, as PermissionError.
                Some(number) => {
                    let text = source.to_string();
                    let reason = text.split(" (os error").next().unwrap_or(&text).to_owned();
                    PyOSError::new_err((number, reason + &more, path.display().to_string()))
                }
                None => PyOSError::new_err(text),
            },
            Error::Device(_) | Error::Torn | Error::Torch(_) | Error::Panic(_) | Error::Busy { .. } | Error::Forked => {
                PyRuntimeError::new_err(text)
            }
            Error::Peer { .. } | Error::Lost(_) => PyRuntimeError::new_err(text),
            // One is not the source of another.
            Error::Rescued { .. } => PyRuntimeError::new_err(text),
            Error::Memory(_) => PyMemoryError::new_err(text),
            Error::NonFinite { .. } => PyFloatingPointError::new_err(text),
            Error::Index { .. } => PyIndexError::new_err(text),
        }
    }
}
