//! From tensors to bytes, and from bytes to a file's.

use image::codecs::png::PngEncoder;
use image::{ColorType, ImageEncoder};
use tch::{Device, Tensor};

/// Encodes interleaved 8-bit pixels with 1 or 3 channels as PNG.
pub fn png(pixels: &[u8], [height, width]: [usize; 2], channels: usize) -> Vec<u8> {
    let kind = match channels {
        1 => ColorType::L8,
        3 => ColorType::Rgb8,
        _ => unreachable!("pictures have 1 or 3 channels"),
    };
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels, width as u32, height as u32, kind.into())
        .expect("writing to memory does not fail");
    bytes
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
