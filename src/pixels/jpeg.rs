//! JPEG: walks the markers from the start to the end of the first picture, then decodes that.

use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};
use memchr::memchr;

use super::limits::{MAX_DECODER_BYTES, MAX_PIXELS, check_pixels};
use super::orientation::Notes;
use super::raw::{Decoded, Pixels, Raw, Refusal};

/// What the markers of the first picture say.
#[derive(Default)]
struct Markers {
    /// Where the first picture ends; what lies behind belongs to somebody else, as a phone's video.
    end: usize,
    frame: Option<Frame>,
    notes: Notes,
    /// Numbered parts of the ICC profile.
    profile: Vec<(u8, u8, Vec<u8>)>,
}

/// The header of a frame.
struct Frame {
    bits: u8,
    width: usize,
    height: usize,
    /// Horizontal and vertical sampling of each component.
    sampling: Vec<(u8, u8)>,
}

/// Decodes the first picture of a file that begins with its start-of-image marker.
pub fn decode_jpeg(bytes: &[u8]) -> Decoded {
    let markers = walk(bytes).map_err(Refusal::Broken)?;
    let frame = markers.frame.as_ref().ok_or_else(|| Refusal::broken("the JPEG has no picture"))?;
    check_pixels(frame.width, frame.height).map_err(Refusal::Broken)?;
    check(frame).map_err(Refusal::Unsupported)?;
    let kind = match frame.sampling.len() {
        1 => PixelFormat::Grayscale,
        3 => PixelFormat::Rgb,
        _ => PixelFormat::Cmyk,
    };
    let pixels = decode(&bytes[..markers.end], kind).map_err(|error| match error {
        JpegError::Unsupported(_) => Refusal::Unsupported(error.to_string()),
        JpegError::UnexpectedEof => Refusal::broken("a part of the picture is missing: the JPEG is truncated"),
        _ => Refusal::broken(error),
    })?;
    let (width, height) = (frame.width as u32, frame.height as u32);
    let light = match kind {
        PixelFormat::Grayscale => GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
        PixelFormat::Rgb => RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
        _ => {
            // Programs write inks upside down, as Adobe's did first.
            let inks: Vec<u8> = pixels.iter().map(|ink| 255 - ink).collect();
            let whole = inks.len() as u64 == 4 * u64::from(width) * u64::from(height);
            let pixels = whole.then_some(Pixels::Cmyk { width, height, inks });
            return finished(pixels, &markers);
        }
    };
    finished(light.map(Pixels::Light), &markers)
}

fn finished(pixels: Option<Pixels>, markers: &Markers) -> Decoded {
    let pixels = pixels.ok_or_else(|| Refusal::broken("the JPEG has fewer pixels than it says"))?;
    Ok(Raw { pixels, orientation: markers.notes.orientation(), profile: markers.icc() })
}

fn decode(bytes: &[u8], kind: PixelFormat) -> std::result::Result<Vec<u8>, JpegError> {
    let limits = DecodeLimits {
        max_width: usize::from(u16::MAX),
        max_height: usize::from(u16::MAX),
        max_pixels: MAX_PIXELS,
        max_memory: Some(MAX_DECODER_BYTES),
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits)?;
    decoder.set_output_format(kind);
    Ok(decoder.decode_image()?.data)
}

/// Checks a frame for what the decoder would get wrong.
fn check(frame: &Frame) -> std::result::Result<(), String> {
    let Frame { bits, sampling, .. } = frame;
    if *bits != 8 {
        return Err(format!("expected a JPEG of 8 bits a sample, got {bits}"));
    }
    if ![1, 3, 4].contains(&sampling.len()) {
        return Err(format!("expected a JPEG of 1, 3 or 4 components, got {}", sampling.len()));
    }
    // The decoder takes the first component for the finest and divides by the others.
    let (across, down) = sampling[0];
    let fits = |&(h, v): &(u8, u8)| (1..=4).contains(&h) && (1..=4).contains(&v) && across % h == 0 && down % v == 0;
    match sampling.iter().all(fits) {
        true => Ok(()),
        false => Err(format!("a JPEG with the sampling {sampling:?}, coarser in its first component than in another")),
    }
}

/// Reads markers up to the first end of an image.
fn walk(bytes: &[u8]) -> std::result::Result<Markers, String> {
    const TRUNCATED: &str = "the JPEG has no end: it is truncated";
    let mut markers = Markers::default();
    let mut scans = 0;
    let mut at = 2;
    loop {
        // Decoders pass over what is no marker, such as the fill bytes FF, a scan's data, and bytes too many.
        at += memchr(0xff, bytes.get(at..).unwrap_or_default()).ok_or(TRUNCATED)?;
        let marker = loop {
            at += 1;
            match bytes.get(at).ok_or(TRUNCATED)? {
                0xff => {}
                &marker => break marker,
            }
        };
        at += 1;
        match marker {
            // A data byte FF, a marker without content, a restart.
            0x00 | 0x01 | 0xd0..=0xd7 => continue,
            0xd8 => return Err("the JPEG begins twice".into()),
            0xd9 if scans == 0 => return Err("the JPEG has no picture".into()),
            0xd9 => {
                markers.end = at;
                return Ok(markers);
            }
            _ => {}
        }
        let length = bytes.get(at..at + 2).ok_or(TRUNCATED)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let segment = bytes.get(at + 2..at + length.max(2)).ok_or(TRUNCATED)?;
        match marker {
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                let frame = Frame::read(segment).ok_or("the JPEG's frame has no size")?;
                let more = markers.frame.replace(frame).is_some();
                if more {
                    return Err("the JPEG has two frames".into());
                }
            }
            0xda => scans += 1,
            0xe1 | 0xe2 => markers.note(segment),
            _ => {}
        }
        at += length.max(2);
    }
}

impl Frame {
    fn read(segment: &[u8]) -> Option<Frame> {
        let &[bits, h1, h0, w1, w0, count, ..] = segment else { return None };
        let components = segment[6..].chunks_exact(3).take(usize::from(count));
        let frame = Frame {
            bits,
            width: usize::from(u16::from_be_bytes([w1, w0])),
            height: usize::from(u16::from_be_bytes([h1, h0])),
            sampling: components.map(|part| (part[1] >> 4, part[1] & 15)).collect(),
        };
        (frame.sampling.len() == usize::from(count)).then_some(frame)
    }
}

impl Markers {
    /// Keeps EXIF, XMP and parts of the profile.
    fn note(&mut self, segment: &[u8]) {
        if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
            // A long one goes on in the next segment.
            self.notes.exif.get_or_insert_default().extend_from_slice(exif);
        } else if let Some(xmp) = segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            self.notes.xmp = Some(xmp.to_vec());
        } else if let Some([number, count, part @ ..]) = segment.strip_prefix(b"ICC_PROFILE\0") {
            self.profile.push((*number, *count, part.to_vec()));
        }
    }

    /// Puts the parts of the profile together, if none is missing.
    fn icc(&self) -> Option<Vec<u8>> {
        let mut parts: Vec<_> = self.profile.iter().collect();
        parts.sort();
        let whole = parts.first().is_some_and(|(_, count, _)| usize::from(*count) == parts.len());
        whole.then(|| parts.iter().flat_map(|(_, _, part)| part).copied().collect())
    }
}
