//! `cagan.Look`.

use std::sync::Arc;

use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::arrays::elements_to_numpy;
use super::compute::compute;
use crate::error::{Error, Result};
use crate::inference::{Look, LookParts};
use crate::pixels::{decode_rgb, png};

/// A person with the article that the person wears, prepared once for any number of targets.
///
/// `Swapper.look` makes it, and `Swapper.swap` takes it in the place of a photo. With "kisekae" more than half of a
/// swap's work is done in it; with "vasily" and "paper" the pictures are decoded. It belongs to one snapshot, on any
/// device. It can be copied, and pickled: the photo as PNG, and some numbers for each pixel of the networks' size.
#[pyclass(name = "Look", module = "cagan", frozen, eq)]
#[derive(PartialEq)]
pub struct PyLook(pub Arc<Look>);

/// A look as Python pickles it: the photo as PNG; photo and worn article as the networks see them; where the article is
/// and the person's frame; a mark of the weights.
type Parts<'py> =
    (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>, Option<[Bound<'py, PyBytes>; 2]>, String);

#[pymethods]
impl PyLook {
    /// Makes a pickled look again.
    ///
    /// Raises:
    ///     ValueError: The parts do not fit each other.
    #[staticmethod]
    fn _restored(py: Python<'_>, parts: Parts<'_>) -> PyResult<Self> {
        let (photo, human, worn, located, mark) = parts;
        let bytes = |bytes: &Bound<'_, PyBytes>| bytes.as_bytes().to_vec();
        let numbers = |bytes: &Bound<'_, PyBytes>| {
            let numbers = bytes.as_bytes().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("4")));
            numbers.collect::<Vec<f32>>()
        };
        let wrong = |what: &str| Error::content("look", format!("expected the parts of a look, got {what}"));
        let mark = u128::from_str_radix(&mark, 16).map_err(|_| wrong("another mark"))?;
        let parts = LookParts {
            human: bytes(&human),
            worn: worn.as_ref().map(bytes),
            located: located.as_ref().map(|[located, body]| [numbers(located), numbers(body)]),
            mark,
        };
        let photo = bytes(&photo);
        let look = compute(py, || -> Result<_> {
            let photo = decode_rgb(&photo).map_err(|reason| wrong(&reason))?;
            Look::of_parts(photo, parts)
        })?;
        Ok(PyLook(look.into()))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, look) = (slf.py(), &slf.get().0);
        let (photo, parts) = compute(py, || -> Result<_> {
            let size = [look.photo.height() as usize, look.photo.width() as usize];
            Ok((png(look.photo.as_raw(), size, 3), look.parts()))
        })?;
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        let numbers = |numbers: &Vec<f32>| {
            PyBytes::new(py, &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
        };
        let LookParts { human, worn, located, mark } = parts;
        let worn = worn.as_deref().map(bytes);
        let located = located.map(|parts| parts.each_ref().map(numbers));
        let parts: Parts = (bytes(&photo), bytes(&human), worn, located, format!("{mark:032x}"));
        Ok((slf.get_type().getattr("_restored")?, (parts,).into_pyobject(py)?))
    }

    /// Returns the look itself, which never changes.
    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Py<Self>, _memo: &Bound<'py, PyAny>) -> Py<Self> {
        slf
    }

    /// The photo: uint8, [H, W, 3].
    #[getter]
    fn human<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        let photo = &self.0.photo;
        elements_to_numpy(py, photo.as_raw().clone(), &[photo.height() as usize, photo.width() as usize, 3])
    }

    /// The bytes of memory that it takes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.bytes()
    }

    fn __repr__(&self) -> String {
        format!("Look({} x {})", self.0.photo.height(), self.0.photo.width())
    }
}
