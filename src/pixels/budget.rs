//! One budget of memory for pictures, and the sizes of pictures before they are decoded.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::ImageReader;

/// The bytes of pictures that one computation holds at once, unless a single one is larger. The guide states it.
pub const BUDGET: u64 = 512 << 20;

/// Reads the number of pixels of a picture file from its header. Returns `None` for what is no regular file, and for a
/// file whose header the decoders of the core do not read.
pub fn pixels_of_file(path: &Path) -> Option<u64> {
    // The header of a pipe would be gone afterwards.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    pixels_of(BufReader::new(File::open(path).ok()?))
}

/// Reads the number of pixels of an encoded picture from its header, as [`pixels_of_file`] does.
///
/// ```
/// use cagan::pixels::{pixels_of_bytes, png};
/// assert_eq!(pixels_of_bytes(&png(&[0; 6], [2, 3], 1)), Some(6));
/// assert_eq!(pixels_of_bytes(b"a letter"), None);
/// ```
pub fn pixels_of_bytes(bytes: &[u8]) -> Option<u64> {
    pixels_of(Cursor::new(bytes))
}

fn pixels_of(reader: impl BufRead + Seek) -> Option<u64> {
    let reader = ImageReader::new(reader).with_guessed_format().ok()?;
    let size = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reader.into_dimensions()));
    let (width, height) = size.ok()?.ok()?;
    Some(u64::from(width) * u64::from(height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::png;

    #[test]
    fn a_header_tells_the_size_of_a_broken_picture_too() {
        let bytes = png(&[0; 3 * 400 * 300], [400, 300], 3);
        let folder = tempfile::tempdir().unwrap();
        let [whole, cut, text] = ["whole", "cut", "text"].map(|name| folder.path().join(name));
        std::fs::write(&whole, &bytes).unwrap();
        std::fs::write(&cut, &bytes[..60]).unwrap();
        std::fs::write(&text, "a letter").unwrap();
        assert_eq!([&whole, &cut].map(|path| pixels_of_file(path)), [Some(120_000); 2]);
        assert_eq!([&text, folder.path()].map(pixels_of_file), [None; 2]);
    }
}
