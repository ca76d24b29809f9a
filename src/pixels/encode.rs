//! From tensors to bytes, and from bytes to a file's.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ColorType, ImageEncoder, ImageFormat};
use tch::{Device, Tensor};

use crate::error::{Error, Result};

/// The endings of file names that [`encode`] writes.
pub const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"];

/// JPEG quality, of 100.
const QUALITY: u8 = 95;

/// Encodes interleaved 8-bit pixels with 1 or 3 channels in the format that the path's ending names; without an ending
/// as PNG. JPEG alone loses detail.
///
/// # Errors
/// [`Error::Setting`] for another ending, or a picture that is too large for the format.
///
/// ```
/// let bytes = cagan::pixels::encode("a.JPG".as_ref(), &[9; 12], [2, 2], 3)?;
/// assert_eq!(bytes[..3], [0xff, 0xd8, 0xff]);
/// let error = cagan::pixels::encode("a.gif".as_ref(), &[9; 12], [2, 2], 3).unwrap_err();
/// assert_eq!(error.to_string(), "path: expected a name that ends in .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, got a.gif");
/// # Ok::<(), cagan::Error>(())
/// ```
pub fn encode(path: &Path, pixels: &[u8], size: [usize; 2], channels: usize) -> Result<Vec<u8>> {
    let format = format_of(path)?;
    if format == ImageFormat::Png {
        return Ok(png(pixels, size, channels));
    }
    let mut bytes = Vec::new();
    let [height, width] = size.map(|side| side as u32);
    let written = match format {
        ImageFormat::Jpeg => {
            JpegEncoder::new_with_quality(&mut bytes, QUALITY).write_image(pixels, width, height, kind(channels).into())
        }
        _ => image::write_buffer_with_format(
            &mut Cursor::new(&mut bytes),
            pixels,
            width,
            height,
            kind(channels),
            format,
        ),
    };
    let reason = |e: image::ImageError| Error::setting("path", format!("a format for {height} x {width}"), e);
    written.map(|()| bytes).map_err(reason)
}

/// The format that a path's ending names.
///
/// # Errors
/// [`Error::Setting`] for an ending that is not among [`ENDINGS`].
pub fn format_of(path: &Path) -> Result<ImageFormat> {
    let Some(ending) = path.extension() else {
        return Ok(ImageFormat::Png);
    };
    let ending = ending.to_string_lossy().to_ascii_lowercase();
    let known = ENDINGS.contains(&ending.as_str()).then(|| ImageFormat::from_extension(&ending)).flatten();
    known.ok_or_else(|| {
        let endings = ENDINGS.map(|ending| format!(".{ending}")).join(", ");
        Error::setting("path", format!("a name that ends in {endings}"), path.display())
    })
}

fn kind(channels: usize) -> ColorType {
    match channels {
        1 => ColorType::L8,
        3 => ColorType::Rgb8,
        _ => unreachable!("pictures have 1 or 3 channels"),
    }
}

/// Encodes interleaved 8-bit pixels with 1 or 3 channels as PNG.
pub fn png(pixels: &[u8], [height, width]: [usize; 2], channels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels, width as u32, height as u32, kind(channels).into())
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

    #[test]
    fn every_ending_gives_its_format_and_all_but_jpeg_the_same_pixels() {
        let pixels: Vec<u8> = (0..60).collect();
        for ending in ENDINGS {
            for (channels, size) in [(3, [4, 5]), (1, [6, 10])] {
                let bytes = encode(Path::new(&format!("a.{ending}")), &pixels, size, channels).unwrap();
                let format = ImageFormat::from_extension(ending).unwrap();
                assert_eq!(image::guess_format(&bytes).unwrap(), format);
                let decoded = image::load_from_memory(&bytes).unwrap();
                let got = if channels == 3 { decoded.into_rgb8().into_raw() } else { decoded.into_luma8().into_raw() };
                let most = if format == ImageFormat::Jpeg { 12 } else { 0 };
                assert!(got.iter().zip(&pixels).all(|(a, b)| a.abs_diff(*b) <= most), "{ending} {got:?}");
            }
        }
        assert_eq!(encode(Path::new("a"), &pixels, [4, 5], 3).unwrap(), png(&pixels, [4, 5], 3));
        let wide = encode(Path::new("a.webp"), &[0; 20_000], [1, 20_000], 1).unwrap_err();
        assert!(wide.to_string().contains("20000"), "{wide}");
    }
}
