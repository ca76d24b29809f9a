//! Pictures between files, bytes and tensors: value ranges, decoding, resizing, grids.

use std::io::Cursor;
use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageEncoder, ImageReader, Limits, Rgb, RgbImage,
};
use tch::{Kind, Tensor};

use crate::config::Architecture;
use crate::error::{AtPath, Error, Result};

/// A decoded picture may take this many bytes; a larger one is refused before it is decoded.
pub const MAX_DECODED_BYTES: u64 = 512 << 20;

/// What the networks take a pixel's bytes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRange {
    /// [0, 1], the article's.
    Unit,
    /// [-1, 1], the paper's.
    Symmetric,
}

impl ValueRange {
    pub fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Vasily => ValueRange::Unit,
            Architecture::Paper => ValueRange::Symmetric,
        }
    }

    /// Bytes to values.
    ///
    /// # Shapes
    /// `bytes`: any shape, uint8. Returns the same shape, float32, in the range.
    pub fn from_bytes(self, bytes: &Tensor) -> Tensor {
        let floats = bytes.to_kind(Kind::Float);
        match self {
            ValueRange::Unit => floats * (1.0 / 255.0),
            ValueRange::Symmetric => floats * (1.0 / 127.5) - 1.0,
        }
    }

    /// Values to bytes, rounded to the nearest; what lies outside the range is clipped.
    ///
    /// # Shapes
    /// `values`: any shape, float. Returns the same shape, uint8.
    ///
    /// ```
    /// use cagan::pixels::ValueRange;
    /// let values = tch::Tensor::from_slice(&[-1.0f32, 0.0, 1.0]);
    /// let bytes = Vec::<u8>::try_from(ValueRange::Symmetric.to_bytes(&values)).unwrap();
    /// assert_eq!(bytes, [0, 128, 255]);
    /// ```
    pub fn to_bytes(self, values: &Tensor) -> Tensor {
        let levels = match self {
            ValueRange::Unit => values * 255.0,
            ValueRange::Symmetric => (values + 1.0) * 127.5,
        };
        (levels + 0.5)
            .floor()
            .clamp(0.0, 255.0)
            .to_kind(Kind::Uint8)
    }
}

/// Decodes a picture file to RGB: orientation applied, grey widened, transparency laid on white.
///
/// # Errors
/// [`Error::NotFound`], and [`Error::Content`] for what is no whole picture or larger than [`MAX_DECODED_BYTES`].
pub fn read_rgb(path: &Path) -> Result<RgbImage> {
    let bytes = std::fs::read(path).at(path)?;
    decode_rgb(&bytes).map_err(|error| Error::content(path, format!("cannot be decoded: {error}")))
}

/// Decodes as [`read_rgb`].
///
/// # Errors
/// What the decoder says.
pub fn decode_rgb(bytes: &[u8]) -> std::result::Result<RgbImage, String> {
    let picture = decode(bytes).map_err(|error| error.to_string().trim_end().to_owned())?;
    // The JPEG decoder fills what is missing with grey: a truncated file shows only by its missing end.
    match bytes {
        [0xff, 0xd8, ..] if !jpeg_ends(bytes) => Err("the JPEG has no end: it is truncated".into()),
        _ => Ok(picture),
    }
}

/// Whether an end-of-image marker follows the last start of a scan. Within a scan's data a marker cannot occur.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let pair = |marker: u8| move |pair: &[u8]| pair == [0xff, marker];
    let scan = bytes.windows(2).rposition(pair(0xda));
    scan.is_some_and(|start| bytes[start..].windows(2).any(pair(0xd9)))
}

fn decode(bytes: &[u8]) -> std::result::Result<RgbImage, image::ImageError> {
    // By content: a scraped folder's extensions are often wrong.
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    if !picture.color().has_alpha() {
        return Ok(picture.into_rgb8());
    }
    let rgba = picture.into_rgba8();
    Ok(RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
    }))
}

/// Stretches interleaved 8-bit pixels (1 or 3 channels) to another size: averaged when it shrinks, bilinear when it grows.
///
/// # Shapes
/// `pixels`: `height * width * channels` bytes. Returns `to_height * to_width * channels` bytes.
pub fn resize(pixels: &[u8], from: [usize; 2], to: [usize; 2], channels: usize) -> Vec<u8> {
    if from == to {
        return pixels.to_vec();
    }
    match channels {
        1 => resize_typed::<U8>(pixels, from, to),
        3 => resize_typed::<U8x3>(pixels, from, to),
        _ => unreachable!("pictures have 1 or 3 channels"),
    }
}

/// One kind of pixel at a time: the library's untyped call compiles all sixteen into this crate.
fn resize_typed<P: PixelTrait + InnerPixel<Component = u8>>(
    pixels: &[u8],
    from: [usize; 2],
    to: [usize; 2],
) -> Vec<u8> {
    let [from, to] = [from, to].map(|sides| sides.map(|side| side as u32));
    let source = TypedImageRef::<P>::from_buffer(from[1], from[0], pixels)
        .expect("the caller's size fits its bytes");
    let mut target = TypedImage::<P>::new(to[1], to[0]);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .expect("a convolution of whole pictures");
    P::components(target.pixels())
        .iter()
        .map(|byte| byte.to_owned())
        .collect()
}

/// A picture stretched to `size` as planes.
///
/// # Shapes
/// Returns `3 * height * width` bytes, channel by channel.
pub fn planes(picture: &RgbImage, size: [i64; 2]) -> Vec<u8> {
    let to = size.map(|side| side as usize);
    let from = [picture.height() as usize, picture.width() as usize];
    let pixels = resize(picture.as_raw(), from, to, 3);
    let area = to[0] * to[1];
    let mut planes = vec![0; 3 * area];
    for (i, pixel) in pixels.chunks_exact(3).enumerate() {
        for (c, value) in pixel.iter().enumerate() {
            planes[c * area + i] = *value;
        }
    }
    planes
}

/// PNG bytes of interleaved 8-bit pixels with 1 or 3 channels.
pub fn png(pixels: &[u8], [height, width]: [usize; 2], channels: usize) -> Vec<u8> {
    let kind = match channels {
        1 => ColorType::L8,
        3 => ColorType::Rgb8,
        _ => unreachable!("pictures have 1 or 3 channels"),
    };
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(pixels, width as u32, height as u32, kind.into())
        .expect("writing to memory does not fail");
    bytes
}

/// Lays pictures out as a table with white gaps.
///
/// # Shapes
/// `cells`: rows of `[3, H, W]` uint8 tensors, all of one size; an empty place is `None`. Returns interleaved RGB bytes and
/// their [height, width].
pub fn grid(cells: &[Vec<Option<Tensor>>], gap: usize) -> (Vec<u8>, [usize; 2]) {
    let first = cells.iter().flatten().flatten().next();
    let size = first.expect("a grid has a picture").size();
    let (h, w) = (size[1] as usize, size[2] as usize);
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let (height, width) = (cells.len() * (h + gap) + gap, columns * (w + gap) + gap);
    let mut pixels = vec![255; height * width * 3];
    for (row, line) in cells.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let Some(picture) = cell else { continue };
            let bytes = to_vec(&picture.permute([1, 2, 0]));
            for y in 0..h {
                let start = ((gap + row * (h + gap) + y) * width + gap + column * (w + gap)) * 3;
                pixels[start..start + 3 * w].copy_from_slice(&bytes[3 * w * y..3 * w * (y + 1)]);
            }
        }
    }
    (pixels, [height, width])
}

/// The bytes of a uint8 tensor in the order of its dimensions.
pub fn to_vec(bytes: &Tensor) -> Vec<u8> {
    let bytes = bytes.to_device(tch::Device::Cpu).contiguous();
    let mut out = vec![0u8; bytes.numel()];
    bytes.copy_data(&mut out, bytes.numel());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_both_ranges() {
        let bytes = Tensor::arange(256, (Kind::Uint8, tch::Device::Cpu));
        for range in [ValueRange::Unit, ValueRange::Symmetric] {
            assert_eq!(range.to_bytes(&range.from_bytes(&bytes)), bytes);
        }
        let ends = ValueRange::Symmetric.from_bytes(&Tensor::from_slice(&[0u8, 255]));
        assert_eq!(Vec::<f32>::try_from(ends).unwrap(), [-1.0, 1.0]);
    }

    #[test]
    fn halving_averages_and_planes_are_channel_by_channel() {
        // Columns 0 and 100, 100 and 200: a bilinear halving weighs 1 : 3 : 3 : 1 inside; a constant row stays constant.
        let picture = RgbImage::from_fn(4, 2, |x, _| Rgb([(x / 2 * 100) as u8, 7, 9]));
        let planes = planes(&picture, [1, 2]);
        assert_eq!(planes[2..], [7, 7, 9, 9]);
        // Left: (3*0 + 3*0 + 1*100) / 7 = 14.3; right mirrors it: 85.7.
        assert_eq!(planes[..2], [14, 86]);
    }

    #[test]
    fn transparency_lies_on_white() {
        let mut bytes = Vec::new();
        image::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(
                &[10, 20, 30, 0, 10, 20, 30, 255],
                2,
                1,
                ColorType::Rgba8.into(),
            )
            .unwrap();
        let picture = decode_rgb(&bytes).unwrap();
        assert_eq!(picture.as_raw(), &[255, 255, 255, 10, 20, 30]);
    }

    #[test]
    fn a_grid_places_its_cells() {
        let cell = |v| Some(Tensor::full([3, 1, 2], v, (Kind::Uint8, tch::Device::Cpu)));
        let (pixels, size) = grid(&[vec![None, cell(5)], vec![cell(6)]], 1);
        assert_eq!(size, [5, 7]);
        let red = |y: usize, x: usize| pixels[(y * 7 + x) * 3];
        assert_eq!(
            [red(1, 1), red(1, 4), red(1, 5), red(1, 6)],
            [255, 5, 5, 255]
        );
        assert_eq!(
            [red(3, 1), red(3, 2), red(3, 3), red(3, 4)],
            [6, 6, 255, 255]
        );
    }
}
