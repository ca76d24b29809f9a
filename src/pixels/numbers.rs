//! The meaning of numbers as light.

use image::{DynamicImage, ImageBuffer};

/// Makes a picture of 8 bits, or returns `None` where the values do not fill it. Channels: grey, grey and alpha, RGB,
/// RGB and alpha.
pub fn eight_bits(values: Vec<u8>, width: u32, height: u32, channels: usize) -> Option<DynamicImage> {
    match channels {
        1 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageLuma8),
        2 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageLumaA8),
        3 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageRgb8),
        _ => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageRgba8),
    }
}

/// Makes a picture of 16 bits as [`eight_bits`] does.
pub fn sixteen_bits(values: Vec<u16>, width: u32, height: u32, channels: usize) -> Option<DynamicImage> {
    match channels {
        1 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageLuma16),
        2 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageLumaA16),
        3 => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageRgb16),
        _ => ImageBuffer::from_raw(width, height, values).map(DynamicImage::ImageRgba16),
    }
}

/// Takes whole numbers of 32 bits for light: white is 65535, or 255 where no number exceeds it.
///
/// # Errors
/// A number outside 0 to 65535.
pub fn from_whole(values: &[f64]) -> Result<Vec<u16>, String> {
    let (low, high) = bounds(values.iter().copied());
    if low < 0.0 || high > 65_535.0 {
        return Err(format!("expected whole numbers from 0 to 255 or to 65535, got {low} to {high}"));
    }
    let scale = if high <= 255.0 { 257.0 } else { 1.0 };
    Ok(values.iter().map(|value| (value * scale) as u16).collect())
}

/// Takes floats for light: white is 1, or 255 where a number exceeds 2. What exceeds white becomes white.
///
/// # Errors
/// A number that is not finite, below 0 or above 255.
pub fn from_floats(values: &[f32]) -> Result<Vec<u16>, String> {
    let (low, high) = bounds(values.iter().map(|&value| f64::from(value)));
    if !values.iter().all(|value| value.is_finite()) || low < 0.0 || high > 255.0 {
        return Err(format!("expected finite floats from 0 to 1 or to 255, got {low} to {high}"));
    }
    let scale = if high <= 2.0 { 65_535.0 } else { 257.0 };
    Ok(values.iter().map(|value| (value * scale).round() as u16).collect())
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((0.0, 0.0), |(low, high), value| (value.min(low), value.max(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_says_what_white_is() {
        assert_eq!(from_whole(&[0.0, 255.0]).unwrap(), [0, 65_535]);
        assert_eq!(from_whole(&[255.0, 256.0]).unwrap(), [255, 256]);
        assert_eq!(from_floats(&[0.0, 0.5, 1.25]).unwrap(), [0, 32_768, 65_535]);
        assert_eq!(from_floats(&[0.5, 255.0]).unwrap(), [129, 65_535]);
        for values in [[-1.0, 9.0], [0.0, 65_536.0]] {
            assert!(from_whole(&values).is_err());
        }
        for value in [-0.1, 256.0, f32::NAN, f32::INFINITY] {
            assert!(from_floats(&[1.0, value]).is_err(), "{value}");
        }
    }
}
