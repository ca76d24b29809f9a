//! `cagan.Swap`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use image::RgbImage;
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::arrays::{elements_from_numpy, elements_to_numpy};
use super::compute::compute;
use crate::error::{Error, Result};
use crate::inference::{Flow, Swapped};
use crate::pixels::{Format, png, resize, sheet};
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
pub struct PySwap(pub Swapped);

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
        Ok(PySwap(Swapped::of_parts(size, [image, mask, paint], located, flow)))
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
        let mask = compute(py, || Ok::<_, Error>(self.0.mask()))?;
        elements_to_numpy(py, mask, &self.shape(false))
    }

    /// The generator's proposal for every pixel: uint8, [H, W, 3].
    #[getter]
    fn paint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        let paint = compute(py, || Ok::<_, Error>(self.0.paint()))?;
        elements_to_numpy(py, paint, &self.shape(true))
    }

    /// The region of the worn article: uint8, [H, W], 255 = inside; the generator's own cut lies at 127. None for
    /// "vasily" and "paper", which do not locate it.
    #[getter]
    fn located<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<u8>>>> {
        let located = compute(py, || Ok::<_, Error>(self.0.located()))?;
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

    /// Writes the picture, and with `mask` and `located` those too, the picture last. Without a located region nothing
    /// is written to `located`. A path's ending is the format: .png, .webp, .jpg or .jpeg.
    ///
    /// Args:
    ///     path: The picture's file.
    ///     mask: The mask's file.
    ///     located: The located region's file.
    ///     quality: 1 to 100: the picture's loss as JPEG (95 without it) or WebP (lossless without it). The mask and
    ///         the located region are written as without it.
    ///     max_side: The longest side of what is written, in pixels; larger pictures are shrunk.
    ///
    /// Raises:
    ///     ValueError: An ending is another one, the picture is too large for the format, or `quality` is out of its range
    ///         or comes with .png, or `max_side` is below 1; nothing is written then.
    ///     OSError: A path cannot be written.
    #[pyo3(signature = (path, mask=None, located=None, *, quality=None, max_side=None))]
    fn save(
        &self,
        py: Python<'_>,
        path: PathBuf,
        mask: Option<PathBuf>,
        located: Option<PathBuf>,
        quality: Option<i64>,
        max_side: Option<i64>,
    ) -> PyResult<()> {
        let most = longest(max_side)?;
        let parts = [(mask, Part::Mask, None), (located, Part::Located, None), (Some(path), Part::Image, quality)];
        let mut files = Vec::new();
        for (path, part, quality) in parts {
            let Some(path) = path else { continue };
            if let Some(encoded) = self.file(py, &path, part, quality, most)? {
                files.push((path, encoded));
            }
        }
        compute(py, || files.iter().try_for_each(|(path, bytes)| write_atomically(path, bytes)))
    }

    /// Encodes the picture or another part, as `save` writes it.
    ///
    /// Args:
    ///     ending: The format: "png", "webp", "jpg" or "jpeg".
    ///     part: "image", "mask", "paint" or "located".
    ///     quality: As in `save`.
    ///     max_side: As in `save`.
    ///
    /// Returns:
    ///     The file's bytes.
    ///
    /// Raises:
    ///     ValueError: The ending or the part is another one, the picture is too large for the format, `quality` or
    ///         `max_side` is out of its range, or the swap has no located region.
    #[pyo3(signature = (ending="png", part="image", *, quality=None, max_side=None))]
    fn encoded<'py>(
        &self,
        py: Python<'py>,
        ending: &str,
        part: &str,
        quality: Option<i64>,
        max_side: Option<i64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let which = match part {
            "image" => Part::Image,
            "mask" => Part::Mask,
            "paint" => Part::Paint,
            "located" => Part::Located,
            other => return Err(Error::setting("part", "image, mask, paint or located", other).into()),
        };
        let path = PathBuf::from(format!("{part}.{}", ending.trim_start_matches('.')));
        let without = || Error::setting("part", "image, mask or paint of a swap without a region", part);
        let encoded = self.file(py, &path, which, quality, longest(max_side)?)?.ok_or_else(without)?;
        Ok(PyBytes::new(py, &encoded))
    }

    /// The picture or another part as a picture of Pillow.
    ///
    /// Args:
    ///     part: "image", "mask", "paint" or "located".
    ///
    /// Raises:
    ///     ValueError: The part is another one, or the swap has no located region.
    #[pyo3(signature = (part="image"))]
    fn to_pil<'py>(slf: &Bound<'py, Self>, part: &str) -> PyResult<Bound<'py, PyAny>> {
        let array = Self::array_of(slf, part)?;
        slf.py().import("PIL.Image")?.call_method1("fromarray", (array,))
    }

    /// The picture or another part as a torch tensor: float32 of 0 to 1, [H, W, 3], or [H, W] of a mask.
    ///
    /// Args:
    ///     part: "image", "mask", "paint" or "located".
    ///
    /// Raises:
    ///     ValueError: The part is another one, or the swap has no located region.
    ///
    /// Example:
    ///     >>> import cagan, torch
    ///     >>> pairs = cagan.dolls("data/dolls", count=2, size=64)
    ///     >>> people = torch.rand(2, 3, 64, 64)
    ///     >>> swaps = cagan.Swapper("dolls").swap(people, target=pairs[0].article)
    ///     >>> torch.stack([swap.to_tensor() for swap in swaps]).shape
    ///     torch.Size([2, 64, 64, 3])
    #[pyo3(signature = (part="image"))]
    fn to_tensor<'py>(slf: &Bound<'py, Self>, part: &str) -> PyResult<Bound<'py, PyAny>> {
        let array = Self::array_of(slf, part)?;
        slf.py().import("cagan._floats")?.call_method1("tensor", (array,))
    }

    /// Shows the picture, in a notebook below the cell, elsewhere in the system's viewer.
    ///
    /// Raises:
    ///     ValueError: As `to_pil`.
    #[pyo3(signature = (part="image"))]
    fn show(slf: &Bound<'_, Self>, part: &str) -> PyResult<()> {
        let picture = Self::to_pil(slf, part)?;
        slf.py().import("cagan.showing")?.call_method1("show", (picture,))?;
        Ok(())
    }

    /// The photo and the swap side by side, as a picture of Pillow.
    ///
    /// Args:
    ///     human: The photo that was swapped, as `Swapper.swap` takes it, or its Pair.
    ///
    /// Raises:
    ///     ValueError: The photo has another size, or is no picture.
    ///     FileNotFoundError: The photo is missing.
    fn before_after<'py>(slf: &Bound<'py, Self>, human: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("cagan.showing")?.call_method1("before_after", (slf, human))
    }

    /// Picture, mask and paint side by side.
    fn _repr_png_(&self, py: Python<'_>) -> PyResult<Cow<'_, [u8]>> {
        compute(py, || -> Result<_> {
            let size = self.0.size;
            let longest = size[0].max(size[1]).max(SHOWN);
            let cell = size.map(|side| (side * SHOWN / longest).max(1));
            let [height, width] = size.map(|side| side as u32);
            let picture = |bytes: Vec<u8>| RgbImage::from_raw(width, height, bytes);
            let mask = self.0.mask().into_iter().flat_map(|level| [level; 3]).collect();
            let parts = [self.0.image.clone(), mask, self.0.paint()];
            let (pixels, size) = sheet(&[parts.map(picture).to_vec()], cell, 4);
            Ok(png(&pixels, size, 3).into())
        })
    }

    fn __repr__(&self) -> String {
        format!("Swap({} x {})", self.0.size[0], self.0.size[1])
    }
}

/// A part of a swap that can be written.
#[derive(Clone, Copy)]
enum Part {
    Image,
    Mask,
    Paint,
    Located,
}

impl Part {
    /// Returns its bytes and their channels. `None` for a region that the swap does not have.
    fn of(self, swap: &Swapped) -> Option<(Cow<'_, [u8]>, usize)> {
        match self {
            Part::Image => Some((Cow::Borrowed(&swap.image), 3)),
            Part::Mask => Some((Cow::Owned(swap.mask()), 1)),
            Part::Paint => Some((Cow::Owned(swap.paint()), 3)),
            Part::Located => Some((Cow::Owned(swap.located()?), 1)),
        }
    }
}

/// Parses `max_side`.
fn longest(max_side: Option<i64>) -> Result<usize> {
    match max_side {
        None => Ok(usize::MAX),
        Some(side @ 1..) => Ok(side as usize),
        Some(side) => Err(Error::setting("max_side", "1 or more pixels", side)),
    }
}

impl PySwap {
    /// Encodes a part as the path's ending says. None for a region that the swap does not have.
    fn file(
        &self,
        py: Python<'_>,
        path: &Path,
        part: Part,
        quality: Option<i64>,
        most: usize,
    ) -> PyResult<Option<Vec<u8>>> {
        let wrong = |quality: i64| Error::setting("quality", "1 to 100", quality);
        let quality = quality.map(|q| u8::try_from(q).ok().filter(|q| (1..=100).contains(q)).ok_or_else(|| wrong(q)));
        let quality = quality.transpose()?;
        // Pillow has the lossy form.
        let lossy = quality.is_some() && Format::of(path, None)? == Format::WebP;
        let format = Format::of(path, if lossy { None } else { quality })?;
        let made = compute(py, || -> Result<_> {
            let Some((bytes, channels)) = part.of(&self.0) else { return Ok(None) };
            let (size, longest) = (self.0.size, self.0.size[0].max(self.0.size[1]));
            let (bytes, size) = match longest > most {
                false => (bytes, size),
                true => {
                    let to = size.map(|side| ((side * most + longest / 2) / longest).max(1));
                    (Cow::Owned(resize(&bytes, size, to, channels)), to)
                }
            };
            if lossy {
                return Ok(Some((bytes.into_owned(), size, channels)));
            }
            let encoded = format.encode(&bytes, size, channels).map_err(|reason| Error::content(path, reason))?;
            Ok(Some((encoded, size, 0)))
        })?;
        match (made, quality) {
            (None, _) => Ok(None),
            (Some((pixels, [height, width], channels @ 1..)), Some(quality)) => {
                let mode = if channels == 1 { "L" } else { "RGB" };
                let picture = (mode, (width, height), PyBytes::new(py, &pixels));
                let encoded = py.import("cagan._pillow")?.call_method1("webp", (path, picture, quality))?;
                Ok(Some(encoded.extract()?))
            }
            (Some((encoded, ..)), _) => Ok(Some(encoded)),
        }
    }

    /// The array of a part.
    fn array_of<'py>(slf: &Bound<'py, Self>, part: &str) -> PyResult<Bound<'py, PyAny>> {
        let known = ["image", "mask", "paint", "located"];
        let array = if known.contains(&part) { slf.getattr(part)? } else { slf.py().None().into_bound(slf.py()) };
        if array.is_none() {
            let rule = match known.contains(&part) {
                true => "image, mask or paint of a swap without a region",
                false => "image, mask, paint or located",
            };
            return Err(Error::setting("part", rule, part).into());
        }
        Ok(array)
    }

    fn shape(&self, colour: bool) -> Vec<usize> {
        let [height, width] = self.0.size;
        if colour { vec![height, width, 3] } else { vec![height, width] }
    }
}
