//! TIFF of grey, RGB and inks with whole numbers or floats. Other kinds are left to another decoder.

use std::io::Cursor;

use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::limits::{MAX_DECODER_BYTES, check_pixels};
use super::numbers::{eight_bits, from_floats, from_whole, sixteen_bits};
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
const CAMERA: &str = "it is a camera's raw file: develop it to a JPEG or TIFF first";
/// None, LZW, both deflates, PackBits: lossless ones.
const COMPRESSIONS: [u16; 5] = [1, 5, 8, 32_946, 32_773];

/// Decodes the first picture of a file.
pub fn decode_tiff(bytes: &[u8]) -> Decoded {
    if bytes.get(8..10) == Some(b"CR") {
        return Err(Refusal::broken(CAMERA));
    }
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_DECODER_BYTES as usize;
    limits.intermediate_buffer_size = MAX_DECODER_BYTES as usize;
    // A profile of inks has some megabytes.
    limits.ifd_value_size = 32 << 20;
    let mut decoder = Decoder::new(Cursor::new(bytes))?.with_limits(limits);
    let (width, height) = decoder.dimensions()?;
    check_pixels(width as usize, height as usize).map_err(Refusal::Broken)?;
    if decoder.find_tag(DNG_VERSION).ok().flatten().is_some() {
        return Err(Refusal::broken(CAMERA));
    }
    let mut numbers = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).map(Option::unwrap_or_default);
    let mut number = |tag, otherwise| numbers(tag).map(|values| values.first().copied().unwrap_or(otherwise));
    let (compression, meaning) = (number(Tag::Compression, 1)?, number(Tag::PhotometricInterpretation, 0)?);
    let (planes, bit_order) = (number(Tag::PlanarConfiguration, 1)?, number(Tag::FillOrder, 1)?);
    let (formats, extra) = (numbers(Tag::SampleFormat)?, numbers(Tag::ExtraSamples)?);
    let colour = decoder.colortype()?;
    let (channels, inks, bits) = match colour {
        ColorType::Gray(bits) => (1, false, bits),
        ColorType::GrayA(bits) => (2, false, bits),
        ColorType::Multiband { bit_depth, num_samples: 2 } if meaning < 2 => (2, false, bit_depth),
        ColorType::RGB(bits) => (3, false, bits),
        ColorType::RGBA(bits) => (4, false, bits),
        ColorType::CMYK(bits) => (4, true, bits),
        _ => (0, false, 0),
    };
    let whole = formats.iter().all(|&format| format == 1) && [8, 16, 32].contains(&bits);
    let float = formats.iter().all(|&format| format == 3) && bits == 32;
    // An alpha of kind 1 is multiplied into the colours; one of kind 0 is none.
    let clear = if [2, 4].contains(&channels) && !inks { [2].as_slice() } else { &[] };
    // The library misses the later planes' tiles, and Pillow mistakes those of 16 bits.
    let scattered = planes == 2 && decoder.get_chunk_type() == ChunkType::Tile;
    if scattered && bits != 8 && compression == 1 {
        return Err(Refusal::broken(format!("expected a TIFF without planes in tiles, got one of {bits} bits")));
    }
    let plain = COMPRESSIONS.contains(&compression) && bit_order == 1 && !scattered;
    if !plain || !(whole || float) || (bits == 32 && (inks || !clear.is_empty())) || extra.as_slice() != clear {
        return Err(Refusal::Unsupported(format!(
            "it is a TIFF of the colours {colour:?}, compression {compression}, sample formats {formats:?} and \
             further samples {extra:?}: save it with 8 or 16 bits and without compression"
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
            match inks {
                true => inked(values, width, height),
                false => eight_bits(values, width, height, channels).map(Pixels::Light),
            }
        }
        DecodingResult::U16(values) => {
            let values = woven(values, planes.map(|stride| stride / 2), channels);
            match inks {
                true => inked(values.iter().map(|&v| ((u32::from(v) + 128) / 257) as u8).collect(), width, height),
                false => sixteen_bits(values, width, height, channels).map(Pixels::Light),
            }
        }
        DecodingResult::U32(values) => {
            let values = woven(values, planes.map(|stride| stride / 4), channels);
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            sixteen_bits(from_whole(&values).map_err(Refusal::Broken)?, width, height, channels).map(Pixels::Light)
        }
        DecodingResult::F32(values) => {
            let values = woven(values, planes.map(|stride| stride / 4), channels);
            sixteen_bits(from_floats(&values).map_err(Refusal::Broken)?, width, height, channels).map(Pixels::Light)
        }
        _ => return Err(Refusal::Unsupported("it is a TIFF with samples of a rare kind".into())),
    };
    let pixels = pixels.ok_or_else(|| Refusal::broken("the TIFF has fewer pixels than it says"))?;
    Ok(Raw { pixels, orientation, profile })
}

fn inked(inks: Vec<u8>, width: u32, height: u32) -> Option<Pixels> {
    let whole = inks.len() as u64 == 4 * u64::from(width) * u64::from(height);
    whole.then_some(Pixels::Cmyk { width, height, inks })
}

/// Turns planes, each of `stride` values, into pixels. Pixels stay as they are.
fn woven<T: Copy>(values: Vec<T>, stride: Option<usize>, channels: usize) -> Vec<T> {
    let Some(stride) = stride else { return values };
    let planes: Vec<&[T]> = values.chunks_exact(stride).take(channels).collect();
    (0..stride).flat_map(|at| planes.iter().map(move |plane| plane[at])).collect()
}
