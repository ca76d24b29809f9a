//! Measures one picture for the judgements and the search for duplicates.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::LazyLock;

use image::RgbImage;
use image_hasher::{HashAlg, Hasher, HasherConfig};

use super::align::{Means, SIDE, means};
use super::colour::{Oklab, Palette, distance, oklab, palette};
use crate::data::Source;
use crate::error::Result;
use crate::pixels::resize;

/// The side of the coarse thumbnail that sorts out clearly different pictures.
pub(super) const COARSE: usize = 8;
/// Colours closer than this to the background's are background.
const BACKGROUND: f32 = 0.08;
/// The smallest share of a packshot that counts as an article. A smaller one has no colours.
const FOREGROUND: f64 = 0.02;
/// The share of a photo's width, on each side, whose colours are not the person's.
const MARGIN: f64 = 0.15;

/// The kind of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A photo of a person.
    Human,
    /// A product picture.
    Article,
}

/// The measurements of a picture, of 15 kB.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The picture's width in pixels.
    pub width: u32,
    /// The picture's height in pixels.
    pub height: u32,
    /// The hash of size and pixels: equal for one picture in two lossless formats.
    pub content: u64,
    /// The perceptual hash (DCT coefficients against their median).
    pub hash: u64,
    /// The perceptual hash of the mirror image.
    pub mirror_hash: u64,
    /// 64 x 64 RGB pixels; the picture is stretched to a square.
    pub(super) thumbnail: Box<[u8]>,
    /// The means of the thumbnail's cells.
    pub(super) cells: Box<Means<3>>,
    /// 8 x 8 RGB pixels.
    pub(super) coarse: [u8; 3 * COARSE * COARSE],
    /// The standard deviation of the brightness in grey levels.
    pub spread: f64,
    /// The share of the border that has the background's colour, the border's median.
    pub plain: f64,
    /// A person's colours: those of the photo's middle. An article's: all but the background's; None for too few.
    pub colours: Option<Palette>,
}

/// Reads and measures a picture.
///
/// # Errors
/// As [`Source::decode`].
pub fn measure(picture: &Source, kind: Kind) -> Result<Measured> {
    Ok(measured(&*picture.decode()?, kind))
}

static HASHER: LazyLock<Hasher<[u8; 8]>> = LazyLock::new(|| {
    HasherConfig::with_bytes_type::<[u8; 8]>().hash_size(8, 8).hash_alg(HashAlg::Median).preproc_dct().to_hasher()
});

/// Measures decoded pixels.
pub(super) fn measured(picture: &RgbImage, kind: Kind) -> Measured {
    let (width, height) = picture.dimensions();
    let mut content = DefaultHasher::new();
    (width, height, picture.as_raw()).hash(&mut content);
    let from = [height as usize, width as usize];
    let thumbnail = resize(picture.as_raw(), from, [SIDE; 2], 3);
    let hash = |pixels: Vec<u8>| {
        let side = SIDE as u32;
        let thumbnail = RgbImage::from_raw(side, side, pixels).expect("64 x 64 pixels");
        let hash = HASHER.hash_image(&thumbnail);
        u64::from_le_bytes(hash.as_bytes().try_into().expect("8 bytes"))
    };
    let coarse = resize(&thumbnail, [SIDE; 2], [COARSE; 2], 3);
    let colours: Vec<Oklab> = pixels(&thumbnail).map(oklab).collect();
    let background = oklab(border_median(&thumbnail));
    let near = |&i: &usize| distance(colours[i], background) < BACKGROUND;
    let border = border();
    Measured {
        width,
        height,
        content: content.finish(),
        hash: hash(thumbnail.clone()),
        mirror_hash: hash(mirrored(&thumbnail)),
        coarse: coarse.try_into().expect("8 x 8 pixels"),
        spread: spread(&thumbnail),
        plain: border.iter().filter(|i| near(i)).count() as f64 / border.len() as f64,
        colours: match kind {
            Kind::Human => Some(palette(&middle(&colours))),
            Kind::Article => {
                let all = 0..SIDE * SIDE;
                let own: Vec<Oklab> = all.filter(|i| !near(i)).map(|i| colours[i]).collect();
                (own.len() as f64 >= FOREGROUND * (SIDE * SIDE) as f64).then(|| palette(&own))
            }
        },
        cells: Box::new(means(&thumbnail)),
        thumbnail: thumbnail.into(),
    }
}

fn pixels(thumbnail: &[u8]) -> impl Iterator<Item = [u8; 3]> {
    thumbnail.as_chunks::<3>().0.iter().copied()
}

/// Mirrors a thumbnail.
pub(super) fn mirrored(thumbnail: &[u8]) -> Vec<u8> {
    let rows = thumbnail.chunks_exact(3 * SIDE);
    rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied()).collect()
}

/// Returns the places of the thumbnail's outermost pixels.
fn border() -> Vec<usize> {
    let last = SIDE - 1;
    let outer = |i: &usize| [i / SIDE, i % SIDE].iter().any(|&p| p == 0 || p == last);
    (0..SIDE * SIDE).filter(outer).collect()
}

fn border_median(thumbnail: &[u8]) -> [u8; 3] {
    let border = border();
    std::array::from_fn(|c| {
        let mut values: Vec<u8> = border.iter().map(|i| thumbnail[3 * i + c]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    })
}

fn middle(colours: &[Oklab]) -> Vec<Oklab> {
    let margin = (SIDE as f64 * MARGIN).round() as usize;
    let rows = colours.chunks_exact(SIDE);
    rows.flat_map(|row| &row[margin..SIDE - margin]).copied().collect()
}

fn spread(thumbnail: &[u8]) -> f64 {
    let grey = pixels(thumbnail).map(|[r, g, b]| 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b));
    let (sum, squares) = grey.fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    let count = (SIDE * SIDE) as f64;
    (squares / count - (sum / count).powi(2)).max(0.0).sqrt()
}

/// A picture's measurements, or the reason why it has none.
pub(super) type Picture = std::result::Result<Measured, Fault>;

/// Why a picture has no measurements.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub text: String,
    /// Whether it was looked at: else nothing is known about it.
    pub seen: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// A red square in the middle quarter of a white picture.
    fn packshot(side: u32) -> RgbImage {
        RgbImage::from_fn(side, side, |x, y| {
            let inside = |v: u32| (side / 4..side * 3 / 4).contains(&v);
            Rgb(if inside(x) && inside(y) { [200, 20, 30] } else { [255; 3] })
        })
    }

    #[test]
    fn a_packshot_is_plain_and_holds_its_own_colours() {
        let found = measured(&packshot(128), Kind::Article);
        assert_eq!((found.width, found.height, found.plain), (128, 128, 1.0));
        let red = palette(&[oklab([200, 20, 30])]);
        assert!(super::super::colour::shared(&red, &found.colours.unwrap()) > 0.99);
        // A quarter of the pixels at brightness 75, the rest at 255: sqrt(1/4 * 3/4) * 180 = 78.
        assert!((found.spread - 78.0).abs() < 3.0, "{}", found.spread);
    }

    #[test]
    fn a_picture_of_one_colour_has_no_spread_and_no_colours() {
        let found = measured(&RgbImage::from_pixel(50, 9, Rgb([7, 8, 9])), Kind::Article);
        assert!(found.spread < 1e-3 && found.colours.is_none());
        assert_eq!(found.plain, 1.0);
    }

    #[test]
    fn a_mirror_image_has_the_mirror_hash() {
        let slope = |flip: bool| {
            RgbImage::from_fn(96, 64, |x, y| {
                let x = if flip { 95 - x } else { x };
                Rgb([(x * x / 40) as u8, (x * y / 50) as u8, (y * 3) as u8])
            })
        };
        let [one, other] = [false, true].map(|flip| measured(&slope(flip), Kind::Human));
        assert_ne!(one.hash, one.mirror_hash);
        assert!((one.mirror_hash ^ other.hash).count_ones() <= 2);
        assert!((one.hash ^ other.mirror_hash).count_ones() <= 2);
        assert_ne!(one.content, other.content);
        assert_eq!(one.content, measured(&slope(false), Kind::Article).content);
        assert_eq!(mirrored(&mirrored(&one.thumbnail)), *one.thumbnail);
    }
}
