//! Pictures between files, bytes and tensors: value ranges, decoding, fitting to a size, grids.

mod decode;
mod fit;
mod sheet;

use image::{ColorType, ImageEncoder};
use tch::{Kind, Tensor};

pub use decode::{MAX_FILE_BYTES, MAX_PIXELS, decode_rgb, read_rgb};
pub(crate) use fit::paste;
pub use fit::{Placement, Rect, place, planes, resize, resize_part};
pub use sheet::sheet;

use crate::config::Architecture;

/// What the networks take a pixel's bytes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRange {
    /// [0, 1], the article's.
    Unit,
    /// [-1, 1], the paper's and ours.
    Symmetric,
}

const UNIT: f64 = 1.0 / 255.0;
const SYMMETRIC: f64 = 1.0 / 127.5;

impl ValueRange {
    pub fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Vasily => ValueRange::Unit,
            Architecture::Paper | Architecture::Kisekae => ValueRange::Symmetric,
        }
    }

    /// From black to white.
    pub fn span(self) -> f64 {
        match self {
            ValueRange::Unit => 1.0,
            ValueRange::Symmetric => 2.0,
        }
    }

    /// Mid-grey.
    pub fn middle(self) -> f64 {
        match self {
            ValueRange::Unit => 0.5,
            ValueRange::Symmetric => 0.0,
        }
    }

    /// Bytes to values.
    ///
    /// # Shapes
    /// `bytes`: any shape, uint8 or float32 levels of 0 to 255. Returns the same shape, float32, in the range.
    pub fn from_bytes(self, bytes: &Tensor) -> Tensor {
        let floats = bytes.to_kind(Kind::Float);
        match self {
            ValueRange::Unit => floats * UNIT,
            ValueRange::Symmetric => floats * SYMMETRIC - 1.0,
        }
    }

    /// One byte, to the bit as [`ValueRange::from_bytes`] has it.
    pub fn from_byte(self, byte: u8) -> f32 {
        match self {
            ValueRange::Unit => f32::from(byte) * UNIT as f32,
            ValueRange::Symmetric => f32::from(byte) * SYMMETRIC as f32 - 1.0,
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
        (levels + 0.5).floor().clamp(0.0, 255.0).to_kind(Kind::Uint8)
    }
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
/// `cells`: rows of `[3, H, W]` uint8 tensors, all of one size; an empty place is `None`. Returns interleaved RGB bytes
/// and their [height, width].
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
            let values = range.from_bytes(&bytes);
            assert_eq!(range.to_bytes(&values), bytes);
            let singly: Vec<f32> = (0..=255).map(|byte| range.from_byte(byte)).collect();
            assert_eq!(Vec::<f32>::try_from(values).unwrap(), singly);
        }
        let ends = ValueRange::Symmetric.from_bytes(&Tensor::from_slice(&[0u8, 255]));
        assert_eq!(Vec::<f32>::try_from(ends).unwrap(), [-1.0, 1.0]);
    }

    #[test]
    fn a_grid_places_its_cells() {
        let cell = |v| Some(Tensor::full([3, 1, 2], v, (Kind::Uint8, tch::Device::Cpu)));
        let (pixels, size) = grid(&[vec![None, cell(5)], vec![cell(6)]], 1);
        assert_eq!(size, [5, 7]);
        let red = |y: usize, x: usize| pixels[(y * 7 + x) * 3];
        assert_eq!([red(1, 1), red(1, 4), red(1, 5), red(1, 6)], [255, 5, 5, 255]);
        assert_eq!([red(3, 1), red(3, 2), red(3, 3), red(3, 4)], [6, 6, 255, 255]);
    }
}
