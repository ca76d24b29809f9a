//! Encodes pictures for pages: thumbnails for the report, whole pictures in a format that every browser knows.

use std::path::Path;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::data::Source;
use crate::error::Result;
use crate::pixels::{png, read_rgb, resize};

/// JPEG quality, of 100.
const QUALITY: u8 = 82;

/// Encodes a picture as JPEG, shrunk so that neither side is longer than `most`. Its proportions stay.
///
/// # Errors
/// As [`Source::decode`].
pub fn thumbnail(source: &Source, most: usize) -> Result<Vec<u8>> {
    let picture = source.decode()?;
    let from = [picture.height() as usize, picture.width() as usize];
    let longest = from[0].max(from[1]);
    let to = match longest > most {
        true => from.map(|side| (side * most).div_ceil(longest).max(1)),
        false => from,
    };
    let pixels = resize(picture.as_raw(), from, to, 3);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(&pixels, to[1] as u32, to[0] as u32, ExtendedColorType::Rgb8)
        .map_err(|error| crate::Error::content(source.name(), error.to_string()))?;
    Ok(bytes)
}

/// Encodes a picture as PNG at its own size.
///
/// # Errors
/// As [`read_rgb`].
pub fn as_png(path: &Path) -> Result<Vec<u8>> {
    let picture = read_rgb(path)?;
    let size = [picture.height() as usize, picture.width() as usize];
    Ok(png(picture.as_raw(), size, 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    #[test]
    fn a_thumbnail_keeps_proportions_and_a_png_keeps_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bmp");
        let picture = RgbImage::from_fn(300, 100, |x, y| Rgb([x as u8, y as u8, 7]));
        picture.save(&path).unwrap();
        let small = image::load_from_memory(&thumbnail(&Source::from(path.clone()), 60).unwrap()).unwrap();
        assert_eq!((small.width(), small.height()), (60, 20));
        let same = image::load_from_memory(&thumbnail(&Source::from(path.clone()), 600).unwrap()).unwrap();
        assert_eq!((same.width(), same.height()), (300, 100));
        assert_eq!(image::load_from_memory(&as_png(&path).unwrap()).unwrap().into_rgb8(), picture);
    }
}
