//! A decoder's result on its way to upright sRGB.

use image::metadata::Orientation;
use image::{DynamicImage, Rgb, RgbImage};

use super::colour::{cmyk_to_rgb, to_srgb};
use super::numbers::{eight_bits, from_floats, from_whole, sixteen_bits};
use super::orientation::from_number;

/// Pixels as a decoder gives them.
pub enum Pixels {
    /// Grey or RGB, with or without alpha, of 8 or 16 bits.
    Light(DynamicImage),
    /// Inks, 4 bytes a pixel: 255 is all of an ink.
    Cmyk {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Cyan, magenta, yellow and black of each pixel.
        inks: Vec<u8>,
    },
}

/// A picture as its file holds it.
pub struct Raw {
    /// Its pixels, perhaps lying on their side.
    pub pixels: Pixels,
    /// Which way up it is.
    pub orientation: Orientation,
    /// Its ICC profile.
    pub profile: Option<Vec<u8>>,
}

/// Why a decoder gives no picture.
#[derive(Debug)]
pub enum Refusal {
    /// The file is broken: no other decoder is asked.
    Broken(String),
    /// The decoder does not read this kind of file. Another one may.
    Unsupported(String),
}

impl Refusal {
    /// Makes a refusal of a broken file from any error.
    pub fn broken(error: impl std::fmt::Display) -> Self {
        Refusal::Broken(error.to_string())
    }
}

impl From<image::ImageError> for Refusal {
    fn from(error: image::ImageError) -> Self {
        match error {
            image::ImageError::Unsupported(_) => Refusal::Unsupported(error.to_string()),
            _ => Refusal::Broken(error.to_string()),
        }
    }
}

/// A decoder's result.
pub type Decoded = std::result::Result<Raw, Refusal>;

/// A picture that another library decoded; see [`super::set_fallback`].
pub struct Foreign {
    /// The name of the pixels' layout as Pillow names it: `L`, `LA`, `RGB`, `RGBA`, `CMYK`, `I;16`,
    /// `I` or `F`, of which the last three are in
    /// little-endian order.
    pub mode: String,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The pixels, row by row.
    pub bytes: Vec<u8>,
    /// EXIF's orientation, 1 to 8.
    pub orientation: u32,
    /// The ICC profile.
    pub profile: Option<Vec<u8>>,
}

impl Raw {
    /// Takes a picture of another library.
    ///
    /// # Errors
    /// A layout without a name above, or bytes that do not fill it.
    pub fn from_foreign(picture: Foreign) -> std::result::Result<Raw, String> {
        let Foreign { mode, width: w, height: h, bytes, orientation, profile } = picture;
        let light = match mode.as_str() {
            "L" => eight_bits(bytes, w, h, 1),
            "LA" => eight_bits(bytes, w, h, 2),
            "RGB" => eight_bits(bytes, w, h, 3),
            "RGBA" => eight_bits(bytes, w, h, 4),
            "I;16" => {
                let values = bytes.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
                sixteen_bits(values, w, h, 1)
            }
            "I" => {
                let values = bytes.as_chunks().0.iter().map(|&four| f64::from(i32::from_le_bytes(four)));
                sixteen_bits(from_whole(&values.collect::<Vec<_>>())?, w, h, 1)
            }
            "F" => {
                let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
                sixteen_bits(from_floats(&values)?, w, h, 1)
            }
            "CMYK" => {
                if bytes.len() as u64 != 4 * u64::from(w) * u64::from(h) {
                    return Err(format!("expected 4 bytes a pixel of {w} x {h}, got {}", bytes.len()));
                }
                let pixels = Pixels::Cmyk { width: w, height: h, inks: bytes };
                return Ok(Raw { pixels, orientation: from_number(orientation), profile });
            }
            _ => return Err(format!("expected L, LA, RGB, RGBA, CMYK, I;16, I or F, got mode {mode}")),
        };
        let pixels = light.ok_or_else(|| format!("expected the bytes of {w} x {h} pixels"))?;
        Ok(Raw { pixels: Pixels::Light(pixels), orientation: from_number(orientation), profile })
    }

    /// Turns the picture upright, converts its colours to sRGB and lays it on white.
    pub fn into_rgb(self) -> RgbImage {
        let mut picture = match (self.pixels, self.profile) {
            (Pixels::Light(picture), Some(profile)) => to_srgb(picture, &profile),
            (Pixels::Light(picture), None) => picture,
            (Pixels::Cmyk { width, height, inks }, profile) => {
                let rgb = cmyk_to_rgb(&inks, profile.as_deref());
                DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, rgb).expect("three bytes a pixel"))
            }
        };
        picture.apply_orientation(self.orientation);
        if !picture.color().has_alpha() {
            return picture.into_rgb8();
        }
        let rgba = picture.into_rgba8();
        RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
            let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
            Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
        })
    }
}
