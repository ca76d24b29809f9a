//! Limits, so that a file costs no more memory than its pixels.

/// [`super::read_rgb`] rejects a larger file before reading it.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// [`super::decode_rgb`] rejects a larger picture before decoding it: a few kilobytes can claim to be gigabytes.
pub const MAX_PIXELS: u64 = 100_000_000;
/// The decoders' limit of memory: pixels of at most 8 bytes each, and working space.
pub const MAX_DECODER_BYTES: u64 = 8 * MAX_PIXELS + (64 << 20);

/// Checks that a picture has pixels, and not too many.
pub fn check_pixels(width: usize, height: usize) -> std::result::Result<(), String> {
    match width as u64 * height as u64 {
        1..=MAX_PIXELS => Ok(()),
        0 => Err(format!("expected pixels, got {width} x {height}")),
        _ => Err(format!("expected at most {MAX_PIXELS} pixels, got {width} x {height}")),
    }
}
