//! TIFF of grey, RGB and inks with 8 or 16 bits a sample. Other kinds are left to another decoder.

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::limits::{MAX_DECODER_BYTES, check_pixels};
use super::orientation::{Notes, from_number};
use super::raw::{Decoded, Pixels, Raw, Refusal};

impl From<TiffError> for Refusal {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::UnsupportedError(_) => Refusal::Unsupported(error.to_string()),
            _ => Refusal::Broken(error.to_string()),
        }
    }
}

const XMP: Tag = Tag::Unknown(700);
const DNG_VERSION: Tag = Tag::Unknown(50_706);
/// None, LZW, both deflates, PackBits: lossless ones.
const COMPRESSIONS: [u16; 5] = [1, 5, 8, 32_946, 32_773];

/// Decodes the first picture of a file.
pub fn decode_tiff(bytes: &[u8]) -> Decoded {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_DECODER_BYTES as usize;
    limits.intermediate_buffer_size = MAX_DECODER_BYTES as usize;
    let mut decoder = Decoder::new(Cursor::new(bytes))?.with_limits(limits);
    let (width, height) = decoder.dimensions()?;
    check_pixels(width as usize, height as usize).map_err(Refusal::Broken)?;
    if decoder.find_tag(DNG_VERSION).ok().flatten().is_some() || bytes.get(8..10) == Some(b"CR") {
        return Err(Refusal::broken("it is a camera's raw file: develop it to a JPEG or TIFF first"));
    }
    let mut numbers = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).map(Option::unwrap_or_default);
    let compression = numbers(Tag::Compression)?.first().copied().unwrap_or(1);
    let (formats, extra) = (numbers(Tag::SampleFormat)?, numbers(Tag::ExtraSamples)?);
    let colour = decoder.colortype()?;
    let (channels, inks, bits) = match colour {
        ColorType::Gray(bits) => (1, false, bits),
        ColorType::GrayA(bits) => (2, false, bits),
        ColorType::RGB(bits) => (3, false, bits),
        ColorType::RGBA(bits) => (4, false, bits),
        ColorType::CMYK(bits) => (4, true, bits),
        _ => (0, false, 0),
    };
    // An alpha of kind 1 is multiplied into the colours; one of kind 0 is none.
    let alpha = [2, 4].contains(&channels) && !inks;
    let plain = COMPRESSIONS.contains(&compression) && formats.iter().all(|&format| format == 1);
    if !plain || ![8, 16].contains(&bits) || extra.as_slice() != if alpha { [2].as_slice() } else { &[] } {
        return Err(Refusal::Unsupported(format!(
            "a TIFF of the colours {colour:?}, compression {compression}, sample formats {formats:?} and further \
             samples {extra:?}"
        )));
    }
    let notes = Notes { exif: None, xmp: decoder.find_tag(XMP)?.and_then(|value| value.into_u8_vec().ok()) };
    let turned = decoder.find_tag_unsigned::<u32>(Tag::Orientation).ok().flatten().map(from_number);
    let orientation = turned.unwrap_or_else(|| notes.orientation());
    let profile = decoder.find_tag(Tag::IccProfile)?.and_then(|value| value.into_u8_vec().ok());
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut result)?;
    let planes = layout.plane_stride.map(std::num::NonZero::get).filter(|_| layout.planes > 1);
    let pixels = match result {
        DecodingResult::U8(values) => {
            let values = woven(values, planes, channels);
            match channels {
                _ if inks => whole(values, width, height).map(|inks| Pixels::Cmyk { width, height, inks }),
                1 => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageLuma8(i))),
                2 => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageLumaA8(i))),
                3 => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageRgb8(i))),
                _ => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageRgba8(i))),
            }
        }
        DecodingResult::U16(values) => {
            let values = woven(values, planes.map(|stride| stride / 2), channels);
            match channels {
                _ if inks => {
                    let narrow = values.iter().map(|&v| ((u32::from(v) + 128) / 257) as u8).collect();
                    whole(narrow, width, height).map(|inks| Pixels::Cmyk { width, height, inks })
                }
                1 => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageLuma16(i))),
                2 => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageLumaA16(i))),
                3 => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageRgb16(i))),
                _ => ImageBuffer::from_raw(width, height, values).map(|i| Pixels::Light(DynamicImage::ImageRgba16(i))),
            }
        }
        _ => return Err(Refusal::Unsupported("a TIFF whose samples are no whole numbers".into())),
    };
    let pixels = pixels.ok_or_else(|| Refusal::broken("the TIFF has fewer pixels than it says"))?;
    Ok(Raw { pixels, orientation, profile })
}

fn whole(inks: Vec<u8>, width: u32, height: u32) -> Option<Vec<u8>> {
    (inks.len() as u64 == 4 * u64::from(width) * u64::from(height)).then_some(inks)
}

/// Turns planes, each of `stride` values, into pixels. Pixels stay as they are.
fn woven<T: Copy>(values: Vec<T>, stride: Option<usize>, channels: usize) -> Vec<T> {
    let Some(stride) = stride else { return values };
    let planes: Vec<&[T]> = values.chunks_exact(stride).take(channels).collect();
    (0..stride).flat_map(|at| planes.iter().map(move |plane| plane[at])).collect()
}
