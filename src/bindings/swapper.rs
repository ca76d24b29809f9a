//! `cagan.Swapper` and `cagan.Swap`.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Mutex;

use image::RgbImage;
use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use rayon::prelude::*;

use super::arrays::{Picture, bytes_from_numpy, bytes_to_numpy};
use super::config::PyConfig;
use crate::error::{Error, Result};
use crate::inference::{Request, Swapped, Swapper};
use crate::pixels::{png, sheet};
use crate::storage::write_atomically;

/// The longest side of a picture in a notebook.
const SHOWN: usize = 384;

/// One swapped photo, of the photo's own size. Where the mask is 0 the picture has the photo's exact bytes.
///
/// `Swapper.swap` makes them. By hand:
///
/// Args:
///     image: The person in the target article: uint8, [H, W, 3].
///     mask: What is repainted: uint8, [H, W].
///     paint: What the generator would paint: uint8, [H, W, 3].
///     located: Where the worn article is: uint8, [H, W], if that is known.
///
/// Raises:
///     ValueError: For arrays of other shapes or types.
#[pyclass(name = "Swap", module = "cagan", frozen, eq)]
#[derive(PartialEq)]
pub struct PySwap(Swapped);

#[pymethods]
impl PySwap {
    #[new]
    #[pyo3(signature = (image, mask, paint, located=None))]
    fn new(
        image: &Bound<'_, PyAny>,
        mask: &Bound<'_, PyAny>,
        paint: &Bound<'_, PyAny>,
        located: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (image, shape) = bytes_from_numpy("image", image, "[H, W, 3]", |s| matches!(*s, [h, w, 3] if h * w > 0))?;
        let size = [shape[0], shape[1]];
        let [h, w] = size;
        let flat = |name, object| {
            bytes_from_numpy(name, object, &format!("[{h}, {w}]"), |s| *s == size).map(|(bytes, _)| bytes)
        };
        let mask = flat("mask", mask)?;
        let located = located.map(|object| flat("located", object)).transpose()?;
        let (paint, _) = bytes_from_numpy("paint", paint, &format!("[{h}, {w}, 3]"), |s| *s == [h, w, 3])?;
        Ok(PySwap(Swapped { size, image, mask, paint, located }))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let parts = ["image", "mask", "paint", "located"].map(|name| slf.getattr(name));
        let parts = parts.into_iter().collect::<PyResult<Vec<_>>>()?;
        Ok((slf.get_type().into_any(), PyTuple::new(slf.py(), parts)?))
    }

    /// The person in the target article: uint8, [H, W, 3].
    #[getter]
    fn image<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        bytes_to_numpy(py, self.0.image.clone(), &self.shape(true))
    }

    /// What is repainted: uint8, [H, W], 255 = all of it.
    #[getter]
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        bytes_to_numpy(py, self.0.mask.clone(), &self.shape(false))
    }

    /// What the generator would paint: uint8, [H, W, 3].
    #[getter]
    fn paint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        bytes_to_numpy(py, self.0.paint.clone(), &self.shape(true))
    }

    /// Where the worn article is: uint8, [H, W], 255 = there, above 127 by the generator's own cut. None of networks
    /// that do not look for it apart from what they repaint ("vasily", "paper").
    #[getter]
    fn located<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<u8>>>> {
        let located = self.0.located.clone();
        located.map(|bytes| bytes_to_numpy(py, bytes, &self.shape(false))).transpose()
    }

    /// Writes the picture as PNG, and the mask and where the worn article is beside it where paths are given; the
    /// latter only where the networks tell it.
    ///
    /// Raises:
    ///     OSError: Where the path cannot be written.
    #[pyo3(signature = (path, mask=None, located=None))]
    fn save(&self, py: Python<'_>, path: PathBuf, mask: Option<PathBuf>, located: Option<PathBuf>) -> PyResult<()> {
        let swap = &self.0;
        Ok(py.detach(|| -> Result<()> {
            write_atomically(&path, &png(&swap.image, swap.size, 3))?;
            let masks = [(mask, Some(&swap.mask)), (located, swap.located.as_ref())];
            for (path, bytes) in masks {
                if let (Some(path), Some(bytes)) = (path, bytes) {
                    write_atomically(&path, &png(bytes, swap.size, 1))?;
                }
            }
            Ok(())
        })?)
    }

    /// Picture, mask and paint side by side.
    fn _repr_png_(&self, py: Python<'_>) -> Cow<'_, [u8]> {
        py.detach(|| {
            let size = self.0.size;
            let longest = size[0].max(size[1]).max(SHOWN);
            let cell = size.map(|side| (side * SHOWN / longest).max(1));
            let [height, width] = size.map(|side| side as u32);
            let picture = |bytes: Vec<u8>| RgbImage::from_raw(width, height, bytes);
            let mask = self.0.mask.iter().flat_map(|&level| [level; 3]).collect();
            let parts = [self.0.image.clone(), mask, self.0.paint.clone()];
            let (pixels, size) = sheet(&[parts.map(picture).to_vec()], cell, 4);
            png(&pixels, size, 3)
        })
        .into()
    }

    fn __repr__(&self) -> String {
        format!("Swap({} x {})", self.0.size[0], self.0.size[1])
    }
}

impl PySwap {
    fn shape(&self, colour: bool) -> Vec<usize> {
        let [height, width] = self.0.size;
        if colour { vec![height, width, 3] } else { vec![height, width] }
    }
}

/// A trained generator in use.
///
/// Args:
///     path: A run folder, whose newest snapshot is taken, or one snapshot file.
///     device: "auto" (where none is given), "cpu", "cuda" or "cuda:N".
///
/// Raises:
///     FileNotFoundError: For a path that is not there.
///     ValueError: For a folder without snapshots, a truncated snapshot or one of another version.
///     RuntimeError: For a device that is not there.
#[pyclass(name = "Swapper", module = "cagan", frozen)]
pub struct PySwapper {
    swapper: Mutex<Swapper>,
    #[pyo3(get)]
    config: PyConfig,
    #[pyo3(get)]
    path: PathBuf,
    /// The step that the snapshot was taken at.
    #[pyo3(get)]
    step: u64,
}

#[pymethods]
impl PySwapper {
    #[new]
    #[pyo3(signature = (path, device=None))]
    fn new(py: Python<'_>, path: PathBuf, device: Option<&str>) -> PyResult<Self> {
        let device = device.map_or_else(|| crate::Config::default().device, str::to_owned);
        let swapper = py.detach(|| Swapper::open(&path, &device))?;
        Ok(PySwapper {
            config: PyConfig(swapper.config.clone()),
            path: swapper.path.clone(),
            step: swapper.step,
            swapper: Mutex::new(swapper),
        })
    }

    /// Whether swaps cannot do without the picture of the worn article ("vasily", "paper").
    #[getter]
    fn needs_worn(&self) -> bool {
        self.swapper.lock().expect("no swap has panicked").needs_worn()
    }

    /// Puts the target article on the person.
    ///
    /// Args:
    ///     human: The photo: a path, a PIL picture (turned upright already) or a uint8 array [H, W, 3]; or a list of them.
    ///     worn: The product picture of what the person wears; or a list. "kisekae" can do without, less well.
    ///     target: The product picture of what to put on; or a list. A single picture goes with every element of a list.
    ///
    /// Returns:
    ///     A Swap, or a list of them where any argument is a list.
    ///
    /// Raises:
    ///     FileNotFoundError: For a path that is not there.
    ///     ValueError: For lists of different lengths, a file that is no picture, an array of another shape or type, and no worn article
    ///         for "vasily" or "paper".
    ///     TypeError: Without a target.
    #[pyo3(signature = (human, worn=None, target=None))]
    fn swap<'py>(
        &self,
        py: Python<'py>,
        human: &Bound<'py, PyAny>,
        worn: Option<&Bound<'py, PyAny>>,
        target: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // After an optional argument Python wants optional ones.
        let target = target
            .ok_or_else(|| PyTypeError::new_err("target: expected the picture of the article to put on, got none"))?;
        let mut arguments = vec![("human", human), ("target", target)];
        arguments.extend(worn.map(|worn| ("worn", worn)));
        let mut lists = Vec::new();
        let mut length = None;
        for (name, object) in arguments {
            if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
                let list = object.try_iter()?.collect::<PyResult<Vec<_>>>()?;
                let pictures: PyResult<Vec<Picture>> = list
                    .iter()
                    .enumerate()
                    .map(|(i, item)| Picture::from_python(&format!("{name}[{i}]"), item))
                    .collect();
                let (first, count) = *length.get_or_insert((name, list.len()));
                if count != list.len() {
                    return Err(Error::Array {
                        name: name.into(),
                        expected: format!("as many pictures as {first} ({count})"),
                        got: list.len().to_string(),
                    }
                    .into());
                }
                lists.push((true, pictures?));
            } else {
                lists.push((false, vec![Picture::from_python(name, object)?]));
            }
        }
        let count = length.map_or(1, |(_, count)| count);
        let swaps = py.detach(|| -> Result<Vec<Swapped>> {
            let decoded = |side: usize, i: usize| {
                let (is_list, pictures): &(bool, Vec<Picture>) = &lists[side];
                pictures[if *is_list { i } else { 0 }].decode()
            };
            let mut swaps = Vec::new();
            // A part at a time, so that a long list of photos is not in memory whole.
            for start in (0..count).step_by(64) {
                let part = start..count.min(start + 64);
                let requests = part.into_par_iter().map(|i| {
                    Ok(Request {
                        human: decoded(0, i)?,
                        target: decoded(1, i)?,
                        worn: lists.get(2).map(|_| decoded(2, i)).transpose()?,
                    })
                });
                let requests = requests.collect::<Result<Vec<_>>>()?;
                let swapper = self.swapper.lock().expect("no swap has panicked");
                swaps.extend(swapper.swap(&requests)?);
            }
            Ok(swaps)
        })?;
        let swaps = swaps.into_iter().map(PySwap);
        if length.is_some() {
            let swaps = swaps.map(|swap| Bound::new(py, swap)).collect::<PyResult<Vec<_>>>()?;
            return Ok(PyList::new(py, swaps)?.into_any());
        }
        let swap = swaps.into_iter().next().expect("one request, one swap");
        Ok(Bound::new(py, swap)?.into_any())
    }

    fn __repr__(&self) -> String {
        format!("Swapper({:?}, step {})", self.path.display().to_string(), self.step)
    }
}
