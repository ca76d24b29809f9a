//! Decodes a file's bytes to upright sRGB pixels, within limits.

use std::cell::Cell;
use std::io::{Cursor, Read};
use std::panic::UnwindSafe;
use std::path::Path;
use std::sync::{Once, OnceLock};

use flate2::read::ZlibDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use memchr::memchr;

use super::jpeg::decode_jpeg;
use super::limits::{MAX_DECODER_BYTES, MAX_FILE_BYTES, check_pixels};
use super::orientation::{Notes, raw_profile};
use super::raw::{Decoded, Foreign, Pixels, Raw, Refusal};
use super::sniff::{foreign, what_it_is};
use super::tiff::decode_tiff;
use crate::error::{AtPath, Error, Result};

/// A decoder of what this module does not read. It gives `None` for a format that it does not know either, and else the
/// reason why there is no picture.
pub type Fallback = fn(&[u8]) -> std::result::Result<Option<Foreign>, String>;

static FALLBACK: OnceLock<Fallback> = OnceLock::new();

/// Sets the decoder that is asked for kinds of pictures that this module does not read. The first call counts.
pub fn set_fallback(decoder: Fallback) {
    let _ = FALLBACK.set(decoder);
}

/// Decodes a picture file to 8-bit RGB. Applies the orientation, composites transparency over white and converts ICC
/// profiles of RGB, grey and CMYK to sRGB. Detects the format by content, not by the file's name. Takes an animation's
/// first frame. Ignores a profile that cannot be read.
///
/// # Errors
/// [`Error::NotFound`], and [`Error::Content`] for a file that is not a whole picture, a file above [`MAX_FILE_BYTES`]
/// or a picture above [`MAX_PIXELS`].
pub fn read_rgb(path: &Path) -> Result<RgbImage> {
    let file = std::fs::File::open(path).at(path)?;
    let length = file.metadata().at(path)?.len();
    let failed = |reason: String| Error::content(path, format!("cannot be decoded: {reason}"));
    if length > MAX_FILE_BYTES {
        return Err(failed(format!("expected at most {MAX_FILE_BYTES} bytes, got {length}")));
    }
    let mut bytes = Vec::with_capacity(length as usize + 1);
    // A pipe has no length, and a file may grow.
    (file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)).at(path)?;
    decode_rgb(&bytes).map_err(failed)
}

/// Decodes a file's bytes as [`read_rgb`] does.
///
/// # Errors
/// Returns the reason, without the file's name.
pub fn decode_rgb(bytes: &[u8]) -> std::result::Result<RgbImage, String> {
    let raw = match quietly(|| decode(bytes))? {
        Ok(raw) => Ok(raw),
        Err(Refusal::Broken(reason)) => Err(reason),
        Err(Refusal::Unsupported(reason)) => match FALLBACK.get() {
            Some(decoder) => match decoder(bytes) {
                Ok(Some(picture)) => check_pixels(picture.width as usize, picture.height as usize)
                    .and_then(|()| Raw::from_foreign(picture)),
                Ok(None) => Err(reason),
                Err(error) => Err(error),
            },
            None => Err(reason),
        },
    };
    let raw = raw.map_err(|reason| reason.trim_end().replace(['\n', '\r'], " "))?;
    quietly(|| raw.into_rgb())
}

/// Converts a picture that another library decoded as [`read_rgb`] does its own.
///
/// # Errors
/// A layout without a name in [`Foreign`], bytes that do not fill it, or no pixels.
pub fn foreign_rgb(picture: Foreign) -> std::result::Result<RgbImage, String> {
    check_pixels(picture.width as usize, picture.height as usize)?;
    let raw = Raw::from_foreign(picture)?;
    quietly(|| raw.into_rgb())
}

fn decode(bytes: &[u8]) -> Decoded {
    match bytes {
        [0xff, 0xd8, ..] => decode_jpeg(bytes),
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => decode_tiff(bytes),
        _ => decode_other(bytes),
    }
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Calls a decoder and catches its panics, without printing their trace. Fuzzing found panics in the decoders; one bad
/// file must not end a run.
fn quietly<T>(decode: impl FnOnce() -> T + UnwindSafe) -> std::result::Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !DECODING.get() {
                others(info);
            }
        }));
    });
    DECODING.set(true);
    let result = std::panic::catch_unwind(decode);
    DECODING.set(false);
    result.map_err(|_| "the decoder failed".to_owned())
}

fn decode_other(bytes: &[u8]) -> Decoded {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(Refusal::broken)?;
    use ImageFormat::{Bmp, Gif, Png, WebP};
    let format = reader.format().filter(|format| [Bmp, Gif, Png, WebP].contains(format));
    let Some(format) = format else {
        if let Some(known) = what_it_is(bytes) {
            return Err(Refusal::Broken(known));
        }
        return Err(Refusal::Unsupported(match foreign(bytes) {
            Some((name, needs)) => format!("it is {name}: it is broken, or Python lacks {needs}"),
            None => format!(
                "expected JPEG, PNG, WebP, BMP, TIFF or GIF, got something else, which begins with the bytes {}",
                bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
            ),
        }));
    };
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    check_pixels(width as usize, height as usize).map_err(Refusal::Broken)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    decoder.set_limits(limits)?;
    let notes = match format {
        Png => png_notes(bytes),
        WebP => Notes { exif: decoder.exif_metadata().ok().flatten(), xmp: decoder.xmp_metadata().ok().flatten() },
        _ => Notes::default(),
    };
    Ok(Raw {
        orientation: notes.orientation(),
        profile: if format == Bmp { bmp_profile(bytes) } else { decoder.icc_profile().ok().flatten() },
        pixels: Pixels::Light(DynamicImage::from_decoder(decoder)?),
    })
}

/// Returns the profile that lies in a BMP whose header is of version 5.
fn bmp_profile(bytes: &[u8]) -> Option<Vec<u8>> {
    /// The file's header, before that of version 5.
    const START: usize = 14;
    let long = |at: usize| Some(u32::from_le_bytes(bytes.get(START + at..)?.first_chunk().copied()?) as usize);
    let embedded = long(0)? == 124 && bytes.get(START + 56..START + 60)? == b"DEBM";
    let (at, length) = (START + long(112)?, long(116)?);
    embedded.then(|| bytes.get(at..at.checked_add(length)?)).flatten().map(<[u8]>::to_vec)
}

/// Reads EXIF and XMP from all places of a PNG, which may lie behind the pixels.
fn png_notes(bytes: &[u8]) -> Notes {
    let (mut notes, mut profile) = (Notes::default(), None);
    let mut rest = &bytes[8.min(bytes.len())..];
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(data) = body.get(..length) else { break };
        let kind = &head[4..];
        match kind {
            b"eXIf" => notes.exif = Some(data.to_vec()),
            b"tEXt" | b"zTXt" | b"iTXt" => {
                let (keyword, text) = data.split_at(memchr(0, data).unwrap_or(data.len()));
                match keyword {
                    b"Raw profile type exif" => {
                        profile = png_text(kind, text).and_then(|text| raw_profile(&text)).or(profile);
                    }
                    b"XML:com.adobe.xmp" => notes.xmp = png_text(kind, text).or(notes.xmp),
                    _ => {}
                }
            }
            _ => {}
        }
        // A checksum follows.
        rest = body.get(length + 4..).unwrap_or_default();
    }
    notes.exif = notes.exif.or(profile);
    notes
}

/// Unpacks a text chunk's text, which begins with the zero behind its keyword.
fn png_text(kind: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    /// A packed text may claim to be endless.
    const MOST: u64 = 4 << 20;
    let (packed, text) = match (kind, text) {
        (b"tEXt", [0, text @ ..]) => (false, text),
        (b"zTXt", [0, 0, text @ ..]) => (true, text),
        (b"iTXt", [0, packed, 0, rest @ ..]) => {
            // A language and a translated keyword stand before the text.
            let rest = &rest[memchr(0, rest)? + 1..];
            (*packed != 0, &rest[memchr(0, rest)? + 1..])
        }
        _ => return None,
    };
    if !packed {
        return Some(text.to_vec());
    }
    let mut unpacked = Vec::new();
    ZlibDecoder::new(text).take(MOST).read_to_end(&mut unpacked).ok()?;
    Some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
    use moxcms::ColorProfile;

    fn png(pixels: &[u8], width: u32, kind: ExtendedColorType, profile: Option<&ColorProfile>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        if let Some(profile) = profile {
            encoder.set_icc_profile(profile.encode().unwrap()).unwrap();
        }
        encoder.write_image(pixels, width, 1, kind).unwrap();
        bytes
    }

    #[test]
    fn transparency_is_composited_over_white() {
        let pixels = [10, 20, 30, 0, 10, 20, 30, 255, 0, 100, 255, 128];
        let picture = decode_rgb(&png(&pixels, 3, ExtendedColorType::Rgba8, None)).unwrap();
        // The last: (0 * 128 + 255 * 127) / 255 = 127; (100 * 128 + 255 * 127) / 255 = 177.2; 255.
        assert_eq!(picture.as_raw(), &[255, 255, 255, 10, 20, 30, 127, 177, 255]);
    }

    #[test]
    fn sixteen_bits_become_eight() {
        let pixels: Vec<u8> = [0u16, 65_535, 32_896].iter().flat_map(|v| v.to_ne_bytes()).collect();
        let picture = decode_rgb(&png(&pixels, 3, ExtendedColorType::L16, None)).unwrap();
        // 32,896 / 257 = 128.
        assert_eq!(picture.as_raw(), &[0, 0, 0, 255, 255, 255, 128, 128, 128]);
    }

    #[test]
    fn a_wide_gamut_profile_is_converted_to_srgb_and_srgb_stays() {
        let pixels = [200, 100, 50, 0, 0, 0, 255, 255, 255, 90, 90, 90];
        let decoded = |profile: &ColorProfile| {
            decode_rgb(&png(&pixels, 4, ExtendedColorType::Rgb8, Some(profile))).unwrap().into_raw()
        };
        assert_eq!(decoded(&ColorProfile::new_srgb()), pixels);
        let p3 = decoded(&ColorProfile::new_display_p3());
        // Display P3's (200, 100, 50) is a stronger orange in sRGB: linear .5776 .1274 .0319 by the matrix
        // [1.2249 -.2247 0; -.0420 1.0419 0; -.0197 -.0786 1.0979] is .6789 .1085 .0136, in bytes 214 93 31.
        for (got, hand) in p3[..3].iter().zip([214u8, 93, 31]) {
            assert!(got.abs_diff(hand) <= 2, "{p3:?}");
        }
        assert_eq!(p3[3..9], [0, 0, 0, 255, 255, 255]);
        // A broken profile, and one of another colour model, are ignored.
        let mut broken = Vec::new();
        let mut encoder = PngEncoder::new(&mut broken);
        encoder.set_icc_profile(vec![1; 300]).unwrap();
        encoder.write_image(&pixels, 4, 1, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(decode_rgb(&broken).unwrap().into_raw(), pixels);
        let grey = ColorProfile::new_gray_with_gamma(1.0);
        assert_eq!(decoded(&grey), pixels);
    }

    #[test]
    fn a_grey_profile_is_converted_to_srgb() {
        let linear = ColorProfile::new_gray_with_gamma(1.0);
        let bytes = png(&[0, 128, 255], 3, ExtendedColorType::L8, Some(&linear));
        let picture = decode_rgb(&bytes).unwrap();
        // Linear 128 / 255 = .502 is 1.055 * .502^(1 / 2.4) - .055 = .7366 in sRGB, 188 in bytes.
        let middle = picture.as_raw()[3];
        assert!(middle.abs_diff(188) <= 1, "{middle}");
        assert_eq!(picture.as_raw()[6..], [255; 3]);
    }

    #[test]
    fn a_picture_that_claims_too_many_pixels_is_rejected_by_its_header() {
        let mut bytes = png(&[1, 2, 3], 1, ExtendedColorType::Rgb8, None);
        // Width and height follow the signature and IHDR's length and name. The checksum covers them.
        bytes[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let error = decode_rgb(&bytes).unwrap_err();
        assert!(!error.is_empty());
        let pnm = b"P6 60000 60000 255\n";
        assert!(decode_rgb(pnm).is_err());
        // BMP's header has no checksum.
        let mut bmp = Vec::new();
        image::RgbImage::new(2, 2).write_to(&mut Cursor::new(&mut bmp), image::ImageFormat::Bmp).unwrap();
        bmp[18..22].copy_from_slice(&20_000i32.to_le_bytes());
        bmp[22..26].copy_from_slice(&20_000i32.to_le_bytes());
        let error = decode_rgb(&bmp).unwrap_err();
        assert!(error.contains("at most 100000000 pixels, got 20000 x 20000"), "{error}");
    }
}
