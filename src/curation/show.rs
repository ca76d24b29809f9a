//! Encodes pictures for pages: thumbnails for the report, whole pictures in a format that every browser knows.

use crate::data::Source;
use crate::error::{Error, Result};
use crate::pixels::{Format, png, resize};

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
    Format::Jpeg(QUALITY).encode(&pixels, to, 3).map_err(|reason| Error::content(source.name(), reason))
}

/// Encodes a picture as PNG at its own size.
///
/// # Errors
/// As [`Source::decode`].
pub fn as_png(source: &Source) -> Result<Vec<u8>> {
    let picture = source.decode()?;
    let size = [picture.height() as usize, picture.width() as usize];
    Ok(png(picture.as_raw(), size, 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::decode_rgb;
    use image::{Rgb, RgbImage};

    #[test]
    fn a_thumbnail_keeps_proportions_and_a_png_keeps_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bmp");
        let picture = RgbImage::from_fn(300, 100, |x, y| Rgb([x as u8, y as u8, 7]));
        picture.save(&path).unwrap();
        let small = decode_rgb(&thumbnail(&Source::from(path.clone()), 60).unwrap()).unwrap();
        assert_eq!((small.width(), small.height()), (60, 20));
        let same = decode_rgb(&thumbnail(&Source::from(path.clone()), 600).unwrap()).unwrap();
        assert_eq!((same.width(), same.height()), (300, 100));
        assert_eq!(decode_rgb(&as_png(&Source::from(path)).unwrap()).unwrap(), picture);
    }
}
