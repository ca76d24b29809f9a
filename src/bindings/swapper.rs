//! `cagan.Swapper` and `cagan.Swap`.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use image::RgbImage;
use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use rayon::prelude::*;

use super::arrays::{Picture, elements_from_numpy, elements_to_numpy};
use super::compute::compute;
use super::config::PyConfig;
use crate::error::{Error, Result};
use crate::inference::{Flow, Request, Swapped, Swapper};
use crate::pixels::{png, sheet};
use crate::storage::write_atomically;

/// The longest side of a picture in a notebook.
const SHOWN: usize = 384;

/// One swapped photo, of the photo's own size. Where the mask is 0 the picture has the photo's exact bytes.
///
/// `Swapper.swap` makes them. To make one by hand:
///
/// Args:
///     image: The person in the target article: uint8, [H, W, 3].
///     mask: The repainted region: uint8, [H, W], 255 = repainted.
///     paint: The generator's proposal for every pixel: uint8, [H, W, 3].
///     located: The region of the worn article: uint8, [H, W], 255 = inside.
///     flow: The places in the target article that the paint shows: float32, [h, w, 2].
///
/// Raises:
///     ValueError: An array has another shape or type.
#[pyclass(name = "Swap", module = "cagan", frozen, eq)]
#[derive(PartialEq)]
pub struct PySwap(Swapped);

#[pymethods]
impl PySwap {
    #[new]
    #[pyo3(signature = (image, mask, paint, located=None, flow=None))]
    fn new(
        image: &Bound<'_, PyAny>,
        mask: &Bound<'_, PyAny>,
        paint: &Bound<'_, PyAny>,
        located: Option<&Bound<'_, PyAny>>,
        flow: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (image, shape) =
            elements_from_numpy("image", image, "[H, W, 3]", |s| matches!(*s, [h, w, 3] if h * w > 0))?;
        let size = [shape[0], shape[1]];
        let [h, w] = size;
        let flat = |name, object| {
            elements_from_numpy(name, object, &format!("[{h}, {w}]"), |s| *s == size).map(|(bytes, _)| bytes)
        };
        let mask = flat("mask", mask)?;
        let located = located.map(|object| flat("located", object)).transpose()?;
        let (paint, _) = elements_from_numpy("paint", paint, &format!("[{h}, {w}, 3]"), |s| *s == [h, w, 3])?;
        let some = |s: &[usize]| matches!(*s, [h, w, 2] if h * w > 0);
        let flow = flow.map(|object| elements_from_numpy("flow", object, "[h, w, 2]", some)).transpose()?;
        let flow = flow.map(|(places, shape)| Flow { size: [shape[0], shape[1]], places });
        Ok(PySwap(Swapped { size, image, mask, paint, located, flow }))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let parts = ["image", "mask", "paint", "located", "flow"].map(|name| slf.getattr(name));
        let parts = parts.into_iter().collect::<PyResult<Vec<_>>>()?;
        Ok((slf.get_type().into_any(), PyTuple::new(slf.py(), parts)?))
    }

    /// The person in the target article: uint8, [H, W, 3].
    #[getter]
    fn image<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        elements_to_numpy(py, self.0.image.clone(), &self.shape(true))
    }

    /// The repainted region: uint8, [H, W], 255 = repainted.
    #[getter]
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        elements_to_numpy(py, self.0.mask.clone(), &self.shape(false))
    }

    /// The generator's proposal for every pixel: uint8, [H, W, 3].
    #[getter]
    fn paint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        elements_to_numpy(py, self.0.paint.clone(), &self.shape(true))
    }

    /// The region of the worn article: uint8, [H, W], 255 = inside; the generator's own cut lies at 127. None for
    /// "vasily" and "paper", which do not locate it.
    #[getter]
    fn located<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<u8>>>> {
        let located = self.0.located.clone();
        located.map(|bytes| elements_to_numpy(py, bytes, &self.shape(false))).transpose()
    }

    /// The places in the target article's picture that the paint shows: float32, [h, w, 2], x then y, from -1 to 1
    /// between the picture's outer edges. The array spans the whole photo at the networks' `image_size`. None for
    /// "vasily" and "paper", which do not warp the article.
    #[getter]
    fn flow<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
        let flow = self.0.flow.as_ref();
        flow.map(|flow| elements_to_numpy(py, flow.places.clone(), &[flow.size[0], flow.size[1], 2])).transpose()
    }

    /// Writes the picture as PNG, and with `mask` and `located` those too. Without a located region nothing is written
    /// to `located`.
    ///
    /// Raises:
    ///     OSError: A path cannot be written.
    #[pyo3(signature = (path, mask=None, located=None))]
    fn save(&self, py: Python<'_>, path: PathBuf, mask: Option<PathBuf>, located: Option<PathBuf>) -> PyResult<()> {
        let swap = &self.0;
        compute(py, || -> Result<()> {
            write_atomically(&path, &png(&swap.image, swap.size, 3))?;
            let masks = [(mask, Some(&swap.mask)), (located, swap.located.as_ref())];
            for (path, bytes) in masks {
                if let (Some(path), Some(bytes)) = (path, bytes) {
                    write_atomically(&path, &png(bytes, swap.size, 1))?;
                }
            }
            Ok(())
        })
    }

    /// Picture, mask and paint side by side.
    fn _repr_png_(&self, py: Python<'_>) -> PyResult<Cow<'_, [u8]>> {
        compute(py, || -> Result<_> {
            let size = self.0.size;
            let longest = size[0].max(size[1]).max(SHOWN);
            let cell = size.map(|side| (side * SHOWN / longest).max(1));
            let [height, width] = size.map(|side| side as u32);
            let picture = |bytes: Vec<u8>| RgbImage::from_raw(width, height, bytes);
            let mask = self.0.mask.iter().flat_map(|&level| [level; 3]).collect();
            let parts = [self.0.image.clone(), mask, self.0.paint.clone()];
            let (pixels, size) = sheet(&[parts.map(picture).to_vec()], cell, 4);
            Ok(png(&pixels, size, 3).into())
        })
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
///     path: A run folder, of which the newest snapshot is loaded, or one snapshot file.
///     device: "auto", "cpu", "cuda" or "cuda:N". Defaults to "auto".
///
/// Raises:
///     FileNotFoundError: The path does not exist.
///     ValueError: The folder has no snapshot, or the snapshot is truncated or of another version.
///     RuntimeError: libtorch does not find the device.
#[pyclass(name = "Swapper", module = "cagan", frozen)]
pub struct PySwapper {
    swapper: Mutex<Swapper>,
    needs_worn: bool,
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
        let device = device.map_or_else(|| crate::Config::default().device.clone(), str::to_owned);
        let swapper = compute(py, || Swapper::open(&path, &device))?;
        Ok(PySwapper {
            config: PyConfig(swapper.config.clone()),
            path: swapper.path.clone(),
            step: swapper.step,
            needs_worn: swapper.needs_worn(),
            swapper: Mutex::new(swapper),
        })
    }

    /// Whether a swap needs the picture of the worn article ("vasily", "paper").
    #[getter]
    fn needs_worn(&self) -> bool {
        self.needs_worn
    }

    /// Puts the target article on the person.
    ///
    /// Args:
    ///     human: The photo: a path, an upright PIL picture, or a uint8 array [H, W, 3]; or a list of them.
    ///     worn: The product picture of the worn article; or a list. "kisekae" works without it, less well.
    ///     target: The product picture of the article to put on; or a list. A single picture goes with every element of
    ///         a list.
    ///
    /// Returns:
    ///     A Swap, or a list of them if any argument is a list.
    ///
    /// Raises:
    ///     FileNotFoundError: A path does not exist.
    ///     ValueError: Lists differ in length, a file is not a picture, an array has another shape or type, or "vasily" or
    ///         "paper" gets no worn article.
    ///     TypeError: The target is missing.
    #[pyo3(signature = (human, worn=None, target=None))]
    fn swap<'py>(
        &self,
        py: Python<'py>,
        human: &Bound<'py, PyAny>,
        worn: Option<&Bound<'py, PyAny>>,
        target: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Python allows only optional arguments after an optional one.
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
        let swaps = compute(py, || -> Result<Vec<Swapped>> {
            let decoded = |side: usize, i: usize| {
                let (is_list, pictures): &(bool, Vec<Picture>) = &lists[side];
                pictures[if *is_list { i } else { 0 }].decode()
            };
            let mut swaps = Vec::new();
            // One part at a time bounds the memory for photos.
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
                let swapper = self.swapper.lock().unwrap_or_else(PoisonError::into_inner);
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
