//! Decodes a file's bytes to upright sRGB pixels, within limits.

use std::cell::{Cell, RefCell};
use std::io::{Cursor, Read};
use std::panic::UnwindSafe;
use std::path::Path;
use std::sync::{Arc, Once};

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use memchr::memmem;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformExecutor, TransformOptions};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::{AtPath, Error, Result};

/// [`read_rgb`] rejects a larger file before reading it.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// [`decode_rgb`] rejects a larger picture before decoding it: a few kilobytes can claim to be gigabytes.
pub const MAX_PIXELS: u64 = 100_000_000;
/// The decoders' limit of memory: pixels of at most 8 bytes each, and working space.
const MAX_DECODER_BYTES: u64 = 8 * MAX_PIXELS + (64 << 20);

/// Decodes a picture file to 8-bit RGB. Applies the orientation, composites transparency over white and converts RGB
/// and grey ICC profiles to sRGB. Detects the format by content, not by the file's name. Takes an animation's first
/// frame.
///
/// Converts a CMYK JPEG without its profile, and ignores a profile that cannot be read.
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
    let decoded = quietly(|| match bytes {
        [0xff, 0xd8, ..] => decode_jpeg(bytes),
        _ => decode_other(bytes),
    });
    let raw = decoded
        .map_err(|_| "the decoder failed".to_owned())?
        .map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
    let mut picture = raw.pixels;
    picture.apply_orientation(raw.orientation);
    if let Some(profile) = raw.profile {
        picture = to_srgb(picture, &profile);
    }
    if !picture.color().has_alpha() {
        return Ok(picture.into_rgb8());
    }
    let rgba = picture.into_rgba8();
    Ok(RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
    }))
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Calls a decoder and catches its panics, without printing their trace. Fuzzing found panics in the decoders; one bad
/// file must not end a run.
fn quietly<T>(decode: impl FnOnce() -> T + UnwindSafe) -> std::thread::Result<T> {
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
    result
}

/// A decoder's result.
struct Raw {
    pixels: DynamicImage,
    orientation: Orientation,
    profile: Option<Vec<u8>>,
}

type Decoded = std::result::Result<Raw, Box<dyn std::error::Error>>;

fn check_pixels(width: usize, height: usize) -> std::result::Result<(), String> {
    match width as u64 * height as u64 {
        1..=MAX_PIXELS => Ok(()),
        0 => Err(format!("expected pixels, got {width} x {height}")),
        _ => Err(format!("expected at most {MAX_PIXELS} pixels, got {width} x {height}")),
    }
}

/// Calls the JPEG decoder directly. `image`'s interface to it parses the header anew for each question, which slows
/// small pictures down.
fn decode_jpeg(bytes: &[u8]) -> Decoded {
    let options = DecoderOptions::default().set_strict_mode(false);
    let options = options.set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let (width, height) = decoder.dimensions().ok_or("the JPEG has no size")?;
    check_pixels(width, height)?;
    // The decoder fills missing pixels with grey, so only the missing end shows that a file is truncated.
    if !jpeg_ends(bytes) {
        return Err("the JPEG has no end: it is truncated".into());
    }
    let grey = matches!(decoder.input_colorspace(), Some(ColorSpace::Luma | ColorSpace::LumaA));
    let space = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode()?;
    let (width, height) = (width as u32, height as u32);
    let pixels = match grey {
        true => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
    };
    let exif = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok(Raw {
        pixels: pixels.ok_or("the JPEG has fewer pixels than it says")?,
        orientation: exif.unwrap_or(Orientation::NoTransforms),
        profile: decoder.icc_profile(),
    })
}

/// Whether an end-of-image marker follows the last start of a scan. A scan's data cannot contain a marker.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let scan = memmem::rfind(bytes, b"\xff\xda");
    scan.is_some_and(|start| memmem::rfind(&bytes[start..], b"\xff\xd9").is_some())
}

fn decode_other(bytes: &[u8]) -> Decoded {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    use ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
    if !matches!(reader.format(), Some(Bmp | Gif | Png | Tiff | WebP)) {
        return Err("expected JPEG, PNG, WebP, BMP, TIFF or GIF, got something else".into());
    }
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    check_pixels(width as usize, height as usize)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    decoder.set_limits(limits)?;
    Ok(Raw {
        orientation: decoder.orientation()?,
        profile: decoder.icc_profile().ok().flatten(),
        pixels: DynamicImage::from_decoder(decoder)?,
    })
}

type ToSrgb = Arc<dyn TransformExecutor<u8> + Send + Sync>;

thread_local! {
    /// The last profile and its transform: most photos of a set have the same profile.
    static LAST: RefCell<(Vec<u8>, bool, Option<ToSrgb>)> = const { RefCell::new((Vec::new(), false, None)) };
}

/// Converts a picture from its profile's colours to sRGB. The profile must be one of RGB or, for a grey picture, of
/// grey.
fn to_srgb(picture: DynamicImage, profile: &[u8]) -> DynamicImage {
    let grey = !picture.color().has_color();
    let transform = LAST.with_borrow_mut(|last| {
        if (last.0.as_slice(), last.1) != (profile, grey) {
            *last = (profile.to_vec(), grey, transform(profile, grey));
        }
        last.2.clone()
    });
    let Some(transform) = transform else {
        return picture;
    };
    // Grey profiles take one channel. Alpha stays as it is.
    let rgba = picture.into_rgba8();
    let pixels = rgba.pixels();
    let from: Vec<u8> = if grey {
        pixels.map(|pixel| pixel.0[0]).collect()
    } else {
        pixels.flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]).collect()
    };
    let mut to = vec![0; rgba.as_raw().len() / 4 * 3];
    if transform.transform(&from, &mut to).is_err() {
        return DynamicImage::ImageRgba8(rgba);
    }
    let mut converted = rgba;
    for (pixel, srgb) in converted.pixels_mut().zip(to.chunks_exact(3)) {
        pixel.0[..3].copy_from_slice(srgb);
    }
    DynamicImage::ImageRgba8(converted)
}

/// Returns a profile's transform to sRGB, or `None` for sRGB itself, other colour models and broken profiles.
fn transform(profile: &[u8], grey: bool) -> Option<ToSrgb> {
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    let (space, layout) = match grey {
        true => (DataColorSpace::Gray, Layout::Gray),
        false => (DataColorSpace::Rgb, Layout::Rgb),
    };
    if profile.color_space != space {
        return None;
    }
    let srgb = ColorProfile::new_srgb();
    let options = TransformOptions::default();
    let transform = (profile.create_transform_8bit(layout, &srgb, Layout::Rgb, options)).ok()?;
    // Most profiles are sRGB under some name. A few colours show this, and no pixel needs a conversion.
    let steps: Vec<u8> = (0..=255).step_by(15).collect();
    let probe: Vec<u8> = match grey {
        true => steps.clone(),
        false => (steps.iter()).flat_map(|&a| [[a, a, a], [a, 255 - a, 128], [128, a, 255 - a]].concat()).collect(),
    };
    let expected: Vec<u8> = match grey {
        true => steps.iter().flat_map(|&a| [a; 3]).collect(),
        false => probe.clone(),
    };
    let mut got = vec![0; expected.len()];
    transform.transform(&probe, &mut got).ok()?;
    let same = (got.iter().zip(&expected)).all(|(a, b)| a.abs_diff(*b) <= 1);
    (!same).then_some(transform)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

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
        assert!(decode_rgb(pnm).unwrap_err().contains("expected JPEG"));
        // BMP's header has no checksum.
        let mut bmp = Vec::new();
        image::RgbImage::new(2, 2).write_to(&mut Cursor::new(&mut bmp), image::ImageFormat::Bmp).unwrap();
        bmp[18..22].copy_from_slice(&20_000i32.to_le_bytes());
        bmp[22..26].copy_from_slice(&20_000i32.to_le_bytes());
        let error = decode_rgb(&bmp).unwrap_err();
        assert!(error.contains("at most 100000000 pixels, got 20000 x 20000"), "{error}");
    }
}
