//! `cagan.Swapper` and `cagan.Swap`.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use image::RgbImage;
use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::arrays::{DeviceName, Given, bytes_from_numpy, bytes_to_numpy};
use super::compute::compute;
use super::config::PyConfig;
use super::stream::{OnRow, PySwapStream, Side, is_list};
use crate::error::{AtPath, Error, Result};
use crate::inference::{Swapped, Swapper};
use crate::pixels::{Format, png, sheet};
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
///
/// Raises:
///     ValueError: An array has another shape or type.
#[pyclass(name = "Swap", module = "cagan", frozen, eq)]
#[derive(PartialEq)]
pub struct PySwap(pub Swapped);

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

    /// The repainted region: uint8, [H, W], 255 = repainted.
    #[getter]
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        bytes_to_numpy(py, self.0.mask.clone(), &self.shape(false))
    }

    /// The generator's proposal for every pixel: uint8, [H, W, 3].
    #[getter]
    fn paint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        bytes_to_numpy(py, self.0.paint.clone(), &self.shape(true))
    }

    /// The region of the worn article: uint8, [H, W], 255 = inside; the generator's own cut lies at 127. None for
    /// "vasily" and "paper", which do not locate it.
    #[getter]
    fn located<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<u8>>>> {
        let located = self.0.located.clone();
        located.map(|bytes| bytes_to_numpy(py, bytes, &self.shape(false))).transpose()
    }

    /// Writes the picture, and with `mask` and `located` those too, the picture last. Without a located region nothing
    /// is written to `located`. A path's ending is the format: .png, .webp (lossless), .jpg or .jpeg.
    ///
    /// Raises:
    ///     ValueError: An ending is another one, or the picture is too large for the format; nothing is written then.
    ///     OSError: A path cannot be written.
    #[pyo3(signature = (path, mask=None, located=None))]
    fn save(&self, py: Python<'_>, path: PathBuf, mask: Option<PathBuf>, located: Option<PathBuf>) -> PyResult<()> {
        let swap = &self.0;
        compute(py, || -> Result<()> {
            let parts =
                [(mask, Some(&swap.mask), 1), (located, swap.located.as_ref(), 1), (Some(path), Some(&swap.image), 3)];
            let mut files = Vec::new();
            for (path, bytes, channels) in parts {
                if let (Some(path), Some(bytes)) = (path, bytes) {
                    let encoded = Format::of(&path, None)?.encode(bytes, swap.size, channels);
                    let encoded = encoded.map_err(|reason| Error::content(&path, reason))?;
                    files.push((path, encoded));
                }
            }
            files.iter().try_for_each(|(path, bytes)| write_atomically(path, bytes))
        })
    }

    /// Encodes the picture or another part, as `save` writes it.
    ///
    /// Args:
    ///     ending: The format: "png", "webp" (lossless), "jpg" or "jpeg".
    ///     part: "image", "mask", "paint" or "located".
    ///
    /// Returns:
    ///     The file's bytes.
    ///
    /// Raises:
    ///     ValueError: The ending or the part is another one, the picture is too large for the format, or the swap has no
    ///         located region.
    #[pyo3(signature = (ending="png", part="image"))]
    fn encoded<'py>(&self, py: Python<'py>, ending: &str, part: &str) -> PyResult<Bound<'py, PyBytes>> {
        let swap = &self.0;
        let (bytes, channels) = match part {
            "image" => (Some(&swap.image), 3),
            "mask" => (Some(&swap.mask), 1),
            "paint" => (Some(&swap.paint), 3),
            "located" => (swap.located.as_ref(), 1),
            other => return Err(Error::setting("part", "image, mask, paint or located", other).into()),
        };
        let bytes =
            bytes.ok_or_else(|| Error::setting("part", "image, mask or paint of a swap without a region", part))?;
        let path = PathBuf::from(format!("{part}.{}", ending.trim_start_matches('.')));
        let encoded = compute(py, || -> Result<_> {
            let encoded = Format::of(&path, None)?.encode(bytes, swap.size, channels);
            encoded.map_err(|reason| Error::content(&path, reason))
        })?;
        Ok(PyBytes::new(py, &encoded))
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

/// A trained generator in use. It can be copied and pickled: the copy in another process loads the same snapshot.
///
/// Args:
///     path: A run folder, of which the newest snapshot is loaded, or one snapshot file.
///     device: "auto", "cpu", "cuda" or "cuda:N", or a `torch.device`. Defaults to "auto".
///
/// Raises:
///     FileNotFoundError: The path does not exist.
///     ValueError: The folder has no snapshot, or the snapshot is truncated or of another version.
///     RuntimeError: libtorch does not find the device.
#[pyclass(name = "Swapper", module = "cagan", frozen)]
pub struct PySwapper {
    pub swapper: Mutex<Swapper>,
    /// Whether a swap needs the picture of the worn article ("vasily", "paper").
    #[pyo3(get)]
    pub needs_worn: bool,
    #[pyo3(get)]
    config: PyConfig,
    #[pyo3(get)]
    path: PathBuf,
    /// The step that the snapshot was taken at.
    #[pyo3(get)]
    step: u64,
    /// The path from the root, since a worker may be in another folder.
    absolute: PathBuf,
    /// As it was given.
    device: String,
}

#[pymethods]
impl PySwapper {
    #[new]
    #[pyo3(signature = (path, device=None))]
    fn new(py: Python<'_>, path: PathBuf, device: Option<DeviceName>) -> PyResult<Self> {
        let device = device.map_or_else(|| crate::Config::default().device.clone(), |name| name.0);
        let (swapper, absolute) = compute(py, || -> Result<_> {
            let swapper = Swapper::open(&path, &device)?;
            let absolute = std::path::absolute(&swapper.path).at(&swapper.path)?;
            Ok((swapper, absolute))
        })?;
        Ok(PySwapper {
            config: PyConfig(swapper.config.clone()),
            path: swapper.path.clone(),
            step: swapper.step,
            needs_worn: swapper.needs_worn(),
            swapper: Mutex::new(swapper),
            absolute,
            device,
        })
    }

    /// Loads a pickled swapper's snapshot.
    ///
    /// Raises:
    ///     FileNotFoundError: The snapshot is gone.
    ///     ValueError: The file now holds the snapshot of another step.
    #[staticmethod]
    fn _restored(py: Python<'_>, path: PathBuf, device: DeviceName, step: u64) -> PyResult<Self> {
        let swapper = Self::new(py, path, Some(device))?;
        if swapper.step != step {
            let text = format!("expected the snapshot of step {step}, as it was pickled, got step {}", swapper.step);
            return Err(Error::content(&swapper.path, text).into());
        }
        Ok(swapper)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let it = slf.get();
        let parts = (it.absolute.clone(), it.device.clone(), it.step);
        Ok((slf.get_type().getattr("_restored")?, parts.into_pyobject(slf.py())?))
    }

    /// Returns the swapper itself, which never changes.
    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Py<Self>, _memo: &Bound<'py, PyAny>) -> Py<Self> {
        slf
    }

    /// Puts the target article on the person. Ctrl-C is heard during a long list.
    ///
    /// Args:
    ///     human: The photo: a path, a file's bytes, a file opened for bytes, a PIL picture, or a uint8 array [H, W, 3];
    ///         or a list of them.
    ///     worn: The product picture of the worn article; or a list. "kisekae" works without it, less well.
    ///     target: The product picture of the article to put on; or a list. A single picture goes with every element of
    ///         a list.
    ///     on_error: "raise" (the default), or "skip" to put the exception in the place of a swap whose pictures cannot
    ///         be read.
    ///
    /// Returns:
    ///     A Swap, or a list of them if any argument is a list. `stream` gives them one by one.
    ///
    /// Raises:
    ///     FileNotFoundError: A path does not exist.
    ///     ValueError: Lists differ in length, a file is not a picture, an array has another shape or type, or "vasily" or
    ///         "paper" gets no worn article.
    ///     TypeError: The target is missing.
    #[pyo3(signature = (human, worn=None, target=None, *, on_error=None))]
    fn swap<'py>(
        slf: &Bound<'py, Self>,
        human: &Bound<'py, PyAny>,
        worn: Option<&Bound<'py, PyAny>>,
        target: Option<&Bound<'py, PyAny>>,
        on_error: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let sides = sides(human, worn, target, is_list)?;
        let on_row = OnRow::of(on_error)?;
        let many = sides.iter().any(Side::is_many);
        check_lists(&[("human", Some(human)), ("target", target), ("worn", worn)], on_row)?;
        let mut stream = PySwapStream::new(slf, sides, on_row)?;
        if many {
            let swaps = PyList::empty(slf.py());
            while let Some(swap) = stream.advance(slf.py())? {
                swaps.append(swap)?;
            }
            return Ok(swaps.into_any());
        }
        Ok(stream.advance(slf.py())?.expect("one request, one swap"))
    }

    /// Swaps as `swap` does, and gives the swaps one by one: a list of any length takes the memory of a few. Pictures
    /// are read as the swaps are taken.
    ///
    /// Args:
    ///     human: A photo, or a list or an iterator of photos, as `swap` takes them.
    ///     worn: The worn articles.
    ///     target: The articles to put on.
    ///     on_error: "raise" (the default) raises in the turn of a swap whose pictures cannot be read; the next call
    ///         of `next` goes on behind it. "skip" gives the exception in its place.
    ///
    /// Returns:
    ///     An iterator of the swaps, in order. After Ctrl-C it still gives those that were done.
    ///
    /// Raises:
    ///     ValueError: Lists differ in length, or "vasily" or "paper" gets no worn article. The iterator raises as
    ///         `swap`.
    ///     TypeError: The target is missing.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> pairs = cagan.dolls("data/dolls", count=8)
    ///     >>> swapper = cagan.train(pairs, "runs/first", "smoke", steps=2, progress=False).swapper()
    ///     >>> photos = (pair.human_path for pair in pairs)
    ///     >>> for swap in swapper.stream(photos, pairs[0].article, pairs[1].article):
    ///     ...     size = swap.image.shape
    ///     >>> size
    ///     (128, 96, 3)
    #[pyo3(signature = (human, worn=None, target=None, *, on_error=None))]
    fn stream(
        slf: &Bound<'_, Self>,
        human: &Bound<'_, PyAny>,
        worn: Option<&Bound<'_, PyAny>>,
        target: Option<&Bound<'_, PyAny>>,
        on_error: Option<&str>,
    ) -> PyResult<PySwapStream> {
        let sides = sides(human, worn, target, |object| {
            Ok(is_list(object)? || (object.hasattr("__next__")? && !object.hasattr("read")?))
        })?;
        let on_row = OnRow::of(on_error)?;
        check_lists(&[("human", Some(human)), ("target", target), ("worn", worn)], on_row)?;
        PySwapStream::new(slf, sides, on_row)
    }

    /// The bytes of the snapshot's file, made of the weights that are loaded.
    fn _snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes =
            compute(py, || Ok::<_, Error>(self.swapper.lock().unwrap_or_else(PoisonError::into_inner).snapshot()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __repr__(&self) -> String {
        format!("Swapper({:?}, step {})", self.path.display().to_string(), self.step)
    }
}

/// The pictures of human, target and worn article, each one or many.
fn sides<'py>(
    human: &Bound<'py, PyAny>,
    worn: Option<&Bound<'py, PyAny>>,
    target: Option<&Bound<'py, PyAny>>,
    is_many: impl Fn(&Bound<'py, PyAny>) -> PyResult<bool>,
) -> PyResult<[Side; 3]> {
    // Python allows only optional arguments after an optional one.
    let target = target
        .ok_or_else(|| PyTypeError::new_err("target: expected the picture of the article to put on, got none"))?;
    let side = |name: &'static str, object: &Bound<'py, PyAny>| match is_many(object)? {
        true => Ok::<_, PyErr>(Side::many(object.try_iter()?)),
        false => Side::one(name, object),
    };
    let worn = worn.map_or(Ok(Side::Nothing), |worn| side("worn", worn))?;
    Ok([side("human", human)?, side("target", target)?, worn])
}

/// Checks before any work that the lists among the arguments have one length and, where a row's error raises, hold
/// pictures.
fn check_lists(arguments: &[(&'static str, Option<&Bound<'_, PyAny>>)], on_row: OnRow) -> PyResult<()> {
    let mut length = None;
    for &(name, object) in arguments {
        let Some(object) = object else { continue };
        if !is_list(object)? {
            continue;
        }
        let count = object.len()?;
        let (first, expected) = *length.get_or_insert((name, count));
        if count != expected {
            return Err(Error::Array {
                name: name.into(),
                expected: format!("as many pictures as {first} ({expected})"),
                got: count.to_string(),
            }
            .into());
        }
        if on_row == OnRow::Raise {
            for (i, item) in object.try_iter()?.enumerate() {
                Given::of(&format!("{name}[{i}]"), &item?)?;
            }
        }
    }
    Ok(())
}
