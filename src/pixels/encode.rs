//! From tensors to bytes, and from bytes to a file's.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ColorType, ImageEncoder};
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use tch::{Device, Tensor};

use crate::error::{Error, Result};

/// JPEG's quality where the user asks for none: differences are hard to see.
pub const QUALITY: u8 = 95;

/// A format that pictures are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lossless.
    Png,
    /// Of a quality from 1 to 100. From 90 on, colours keep their full resolution.
    Jpeg(u8),
    /// Lossless WebP.
    WebP,
}

impl Format {
    /// Returns the format that a file's ending says. `quality` is JPEG's, [`QUALITY`] without one.
    ///
    /// ```
    /// use cagan::pixels::Format;
    /// assert_eq!(Format::of("a.JPG".as_ref(), Some(80)).unwrap(), Format::Jpeg(80));
    /// let error = Format::of("a.bmp".as_ref(), None).unwrap_err();
    /// assert_eq!(error.to_string(), "a.bmp: expected a name that ends in .png, .jpg, .jpeg or .webp");
    /// ```
    ///
    /// # Errors
    /// [`Error::Content`] for another ending, [`Error::Setting`] for a quality outside 1 to 100 or of a lossless format.
    pub fn of(path: &Path, quality: Option<u8>) -> Result<Format> {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        let format = match ending.to_str() {
            Some("png") => Format::Png,
            Some("jpg" | "jpeg") => Format::Jpeg(quality.unwrap_or(QUALITY)),
            Some("webp") => Format::WebP,
            _ => return Err(Error::content(path, "expected a name that ends in .png, .jpg, .jpeg or .webp")),
        };
        match (format, quality) {
            (Format::Jpeg(1..=100), _) | (_, None) => Ok(format),
            (Format::Jpeg(quality), _) => Err(Error::setting("quality", "1 to 100", quality)),
            (_, Some(quality)) => {
                Err(Error::setting("quality", "none, since PNG and WebP files are written without loss", quality))
            }
        }
    }

    /// Encodes interleaved 8-bit pixels with 1 or 3 channels.
    ///
    /// # Errors
    /// The reason, for a side that is longer than the format's limit.
    pub fn encode(
        self,
        pixels: &[u8],
        [height, width]: [usize; 2],
        channels: usize,
    ) -> std::result::Result<Vec<u8>, String> {
        let (kind, layout) = match channels {
            1 => (ColorType::L8, PixelFormat::Grayscale),
            3 => (ColorType::Rgb8, PixelFormat::Rgb),
            _ => unreachable!("pictures have 1 or 3 channels"),
        };
        let (most, name) = match self {
            Format::Png => (usize::MAX, "PNG"),
            Format::Jpeg(_) => (65_500, "JPEG"),
            Format::WebP => (16_383, "WebP"),
        };
        if width > most || height > most {
            return Err(format!("expected sides of at most {most} pixels for {name}, got {width} x {height}"));
        }
        let (w, h) = (width as u32, height as u32);
        let mut bytes = Vec::new();
        match self {
            Format::Png => PngEncoder::new(&mut bytes).write_image(pixels, w, h, kind.into()),
            Format::WebP => WebPEncoder::new_lossless(&mut bytes).write_image(pixels, w, h, kind.into()),
            Format::Jpeg(quality) => {
                let colours = if quality < 90 { Subsampling::S420 } else { Subsampling::S444 };
                return compress(pixels, width, height, layout, quality, colours).map_err(|error| error.to_string());
            }
        }
        .map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// Encodes interleaved 8-bit pixels with 1 or 3 channels as PNG.
pub fn png(pixels: &[u8], size: [usize; 2], channels: usize) -> Vec<u8> {
    Format::Png.encode(pixels, size, channels).expect("writing to memory does not fail")
}

/// Encodes 16-bit grey pixels as PNG.
pub fn png16(pixels: &[u16], [height, width]: [usize; 2]) -> Vec<u8> {
    let native: Vec<u8> = pixels.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&native, width as u32, height as u32, ColorType::L16.into())
        .expect("writing to memory does not fail");
    bytes
}

/// Copies a uint8 tensor's bytes, in the order of its dimensions.
pub fn to_vec(bytes: &Tensor) -> Vec<u8> {
    let bytes = bytes.to_device(Device::Cpu).contiguous();
    let mut out = vec![0u8; bytes.numel()];
    bytes.copy_data(&mut out, bytes.numel());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::decode_rgb;

    #[test]
    fn formats_keep_pixels_or_nearly() {
        let pixels: Vec<u8> = (0..60).flat_map(|at| [at * 4, 255 - at * 4, 128]).collect();
        for (name, most) in [("a.png", 0), ("a.webp", 0), ("a.jpg", 8), ("a.JPEG", 8)] {
            let format = Format::of(name.as_ref(), None).unwrap();
            let read = decode_rgb(&format.encode(&pixels, [6, 10], 3).unwrap()).unwrap();
            assert_eq!(read.dimensions(), (10, 6));
            let far = read.as_raw().iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far <= Some(most), "{name}: {far:?}");
            let grey = decode_rgb(&format.encode(&pixels[..60], [6, 10], 1).unwrap()).unwrap();
            assert!(grey.pixels().all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]));
        }
    }

    #[test]
    fn what_a_format_cannot_hold_is_refused() {
        for name in ["a", "a.gif", "a.png.bak"] {
            assert!(Format::of(name.as_ref(), None).is_err());
        }
        let refused = |name: &str, quality| Format::of(name.as_ref(), Some(quality)).unwrap_err().to_string();
        assert_eq!(refused("a.jpg", 0), "quality: expected 1 to 100, got 0");
        assert_eq!(refused("a.jpg", 101), "quality: expected 1 to 100, got 101");
        assert!(refused("a.png", 90).contains("written without loss, got 90"));
        let long = vec![0; 70_000];
        let said = Format::Jpeg(90).encode(&long, [1, 70_000], 1).unwrap_err();
        assert_eq!(said, "expected sides of at most 65500 pixels for JPEG, got 70000 x 1");
        assert!(Format::WebP.encode(&long, [70_000, 1], 1).is_err());
    }
}
