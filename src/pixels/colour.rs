//! Converts colours to sRGB by their ICC profiles.

use std::cell::RefCell;
use std::rc::Rc;

use image::DynamicImage;
use lcms2::{ColorSpaceSignature, Intent, PixelFormat, Profile, Transform};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Turns pixels of a profile into those of sRGB, 3 bytes each. Both have the same number of pixels.
type ToSrgb = Rc<dyn Fn(&[u8], &mut [u8])>;

/// The colour models of profiles that pictures have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Model {
    Grey,
    Rgb,
    Cmyk,
}

thread_local! {
    /// The last profile and its transform: most photos of a set have the same profile.
    static LAST: RefCell<(Vec<u8>, Model, Option<ToSrgb>)> = const { RefCell::new((Vec::new(), Model::Rgb, None)) };
}

/// Returns the transform of a profile, and keeps it for the next picture.
fn kept(profile: &[u8], model: Model) -> Option<ToSrgb> {
    LAST.with_borrow_mut(|last| {
        if (last.0.as_slice(), last.1) != (profile, model) {
            *last = (profile.to_vec(), model, transform(profile, model));
        }
        last.2.clone()
    })
}

/// Converts a picture from its profile's colours to sRGB. The profile must be one of RGB or, for a grey picture, of
/// grey. Another one, and one that cannot be read, changes nothing.
pub fn to_srgb(picture: DynamicImage, profile: &[u8]) -> DynamicImage {
    let grey = !picture.color().has_color();
    let Some(transform) = kept(profile, if grey { Model::Grey } else { Model::Rgb }) else {
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
    transform(&from, &mut to);
    let mut converted = rgba;
    for (pixel, srgb) in converted.pixels_mut().zip(to.chunks_exact(3)) {
        pixel.0[..3].copy_from_slice(srgb);
    }
    DynamicImage::ImageRgba8(converted)
}

/// Converts inks to sRGB by their profile. Without one that can be read, every ink takes its share of the light that black
/// leaves, as in Pillow.
pub fn cmyk_to_rgb(inks: &[u8], profile: Option<&[u8]>) -> Vec<u8> {
    let mut rgb = vec![0; inks.len() / 4 * 3];
    let transform = profile.and_then(|profile| kept(profile, Model::Cmyk));
    if let Some(transform) = transform {
        transform(inks, &mut rgb);
        return rgb;
    }
    for (to, from) in rgb.chunks_exact_mut(3).zip(inks.chunks_exact(4)) {
        let light = 255 - u32::from(from[3]);
        for (to, &ink) in to.iter_mut().zip(from) {
            *to = (light - (u32::from(ink) * light + 127) / 255) as u8;
        }
    }
    rgb
}

/// Returns a profile's transform to sRGB, or `None` for sRGB itself, other colour models and broken profiles.
fn transform(profile: &[u8], model: Model) -> Option<ToSrgb> {
    let matrix = if model == Model::Rgb { by_matrix(profile) } else { None };
    let transform = matrix.or_else(|| by_little_cms(profile, model))?;
    // Most profiles are sRGB under some name. A few colours show this, and no pixel needs a conversion.
    let steps: Vec<u8> = (0..=255).step_by(15).collect();
    let (probe, expected): (Vec<u8>, Vec<u8>) = match model {
        Model::Cmyk => return Some(transform),
        Model::Grey => (steps.clone(), steps.iter().flat_map(|&a| [a; 3]).collect()),
        Model::Rgb => {
            let colours = |&a: &u8| [[a, a, a], [a, 255 - a, 128], [128, a, 255 - a]].concat();
            let probe: Vec<u8> = steps.iter().flat_map(colours).collect();
            (probe.clone(), probe)
        }
    };
    let mut got = vec![0; expected.len()];
    transform(&probe, &mut got);
    let same = (got.iter().zip(&expected)).all(|(a, b)| a.abs_diff(*b) <= 1);
    (!same).then_some(transform)
}

/// Transforms by three curves and a matrix, as in the profiles of most cameras and screens. Several times as fast as
/// Little CMS and as exact; with tables it is not.
fn by_matrix(profile: &[u8]) -> Option<ToSrgb> {
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    let tables = [
        profile.lut_a_to_b_perceptual.is_some(),
        profile.lut_a_to_b_colorimetric.is_some(),
        profile.lut_a_to_b_saturation.is_some(),
    ];
    if profile.color_space != DataColorSpace::Rgb || tables.contains(&true) {
        return None;
    }
    let srgb = ColorProfile::new_srgb();
    let options = TransformOptions::default();
    let transform = (profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options)).ok()?;
    Some(Rc::new(move |from, to| transform.transform(from, to).expect("as many pixels on both sides")))
}

/// Transforms by any profile, as Pillow does.
fn by_little_cms(profile: &[u8], model: Model) -> Option<ToSrgb> {
    let profile = Profile::new_icc(profile).ok()?;
    let (space, format) = match model {
        Model::Grey => (ColorSpaceSignature::GrayData, PixelFormat::GRAY_8),
        Model::Rgb => (ColorSpaceSignature::RgbData, PixelFormat::RGB_8),
        Model::Cmyk => (ColorSpaceSignature::CmykData, PixelFormat::CMYK_8),
    };
    if profile.color_space() != space {
        return None;
    }
    let srgb = Profile::new_srgb();
    let transform = Transform::new(&profile, format, &srgb, PixelFormat::RGB_8, Intent::Perceptual).ok()?;
    Some(Rc::new(move |from, to| transform.transform_pixels(from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inks_without_a_profile_take_their_share_of_the_light() {
        // No ink is white, black ink is black. Cyan of 255 takes all red. Half of black leaves 127, of which magenta's
        // 128 takes 127 * 128 / 255 = 63.7, so 63 stay.
        let inks = [0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 128, 0, 128];
        assert_eq!(cmyk_to_rgb(&inks, None), [255, 255, 255, 0, 0, 0, 0, 255, 255, 127, 63, 127]);
        assert_eq!(cmyk_to_rgb(&inks[..4], Some(b"no profile")), [255; 3]);
    }
}
