//! Paper dolls: synthetic pairs of a person and the garment that it wears, for demos and tests. Every picture is a pure function of
//! the seed and its number.

use std::path::Path;

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand::seq::IndexedRandom;
use rayon::prelude::*;

use crate::error::{AtPath, Error, Result};
use crate::pixels::png;
use crate::random::rng;
use crate::storage::write_atomically;

type Colour = [f32; 3];

const WHITE: Colour = [255.0; 3];

/// A point of the doll's own plane: the shoulders at v = 0, the waist near v = 1, the spine at u = 0.
#[derive(Clone, Copy)]
struct Point {
    u: f32,
    v: f32,
}

#[derive(Clone, Copy)]
enum Pattern {
    Plain,
    Stripes,
    Bands,
    Checks,
    Dots,
}

/// What is worn, as it lies flat.
#[derive(Clone)]
struct Garment {
    colours: [Colour; 2],
    pattern: Pattern,
    period: f32,
    /// How far the sleeves reach down the arms, 0 = none.
    sleeve: f32,
    hem: f32,
}

impl Garment {
    fn draw(rng: &mut impl RngExt) -> Garment {
        let mut colour = || [0; 3].map(|_| rng.random_range(20.0..235.0));
        let first: Colour = colour();
        let mut second: Colour = colour();
        // Two colours too alike would hide the pattern.
        if (0..3).map(|c| (first[c] - second[c]).abs()).sum::<f32>() < 150.0 {
            second = first.map(|v| if v < 128.0 { v + 110.0 } else { v - 110.0 });
        }
        let patterns = [
            Pattern::Plain,
            Pattern::Stripes,
            Pattern::Bands,
            Pattern::Checks,
            Pattern::Dots,
        ];
        Garment {
            colours: [first, second],
            pattern: *patterns.choose(rng).expect("there are patterns"),
            period: rng.random_range(0.16..0.34),
            sleeve: *[0.0, 0.35, 0.95].choose(rng).expect("there are sleeves"),
            hem: rng.random_range(0.95..1.45),
        }
    }

    /// The garment's colour at a point, where there is garment.
    fn at(&self, p: Point) -> Option<Colour> {
        let neck = p.v < 0.1 && p.u.abs() < 0.18 - p.v * 1.2;
        let body = (0.0..self.hem).contains(&p.v) && p.u.abs() < torso(p.v) + 0.03 && !neck;
        let sleeve = self.sleeve > 0.0
            && arm(p).is_some_and(|(along, across)| along < self.sleeve && across < 0.16);
        if !body && !sleeve {
            return None;
        }
        let odd = |x: f32| (x / self.period).rem_euclid(2.0) >= 1.0;
        let second = match self.pattern {
            Pattern::Plain => false,
            Pattern::Stripes => odd(p.u + 10.0),
            Pattern::Bands => odd(p.v),
            Pattern::Checks => odd(p.u + 10.0) != odd(p.v),
            Pattern::Dots => {
                let cell = |x: f32| (x / self.period).rem_euclid(1.0) - 0.5;
                cell(p.u).hypot(cell(p.v)) < 0.3
            }
        };
        Some(self.colours[usize::from(second)])
    }
}

/// Half the torso's width at a height.
fn torso(v: f32) -> f32 {
    0.44 - 0.12 * (v * std::f32::consts::PI * 0.9).sin().max(0.0)
}

/// Where a point lies on the arms: (along from the shoulder, distance from the bone). The arms hang a little outwards.
fn arm(p: Point) -> Option<(f32, f32)> {
    let (x, y) = (p.u.abs() - 0.42, p.v - 0.1);
    let (dx, dy) = (0.26, 0.97);
    let along = x * dx + y * dy;
    (-0.1..1.15)
        .contains(&along)
        .then(|| (along, (x * dy - y * dx).abs()))
}

/// A person without clothes, and where it stands.
struct Doll {
    skin: Colour,
    hair: Colour,
    trousers: Colour,
    background: [Colour; 2],
    blobs: Vec<(f32, f32, f32, Colour)>,
    centre: [f32; 2],
    scale: f32,
    lean: f32,
}

impl Doll {
    fn draw(rng: &mut impl RngExt) -> Doll {
        let skins = [
            [241.0, 200.0, 170.0],
            [205.0, 150.0, 115.0],
            [140.0, 90.0, 62.0],
            [92.0, 60.0, 44.0],
        ];
        let hairs = [
            [40.0, 28.0, 22.0],
            [110.0, 70.0, 35.0],
            [215.0, 180.0, 110.0],
            [120.0, 120.0, 125.0],
        ];
        let mut shade = |low: f32, high: f32| [0; 3].map(|_| rng.random_range(low..high));
        let (trousers, background) = (
            shade(20.0, 130.0),
            [shade(120.0, 235.0), shade(100.0, 220.0)],
        );
        let blobs = (0..rng.random_range(0..5))
            .map(|_| {
                let colour = [0; 3].map(|_| rng.random_range(80.0..230.0));
                let mut unit = || rng.random::<f32>();
                (unit(), unit(), 0.05 + 0.15 * unit(), colour)
            })
            .collect();
        Doll {
            skin: *skins.choose(rng).expect("there are skins"),
            hair: *hairs.choose(rng).expect("there are hairs"),
            trousers,
            background,
            blobs,
            centre: [rng.random_range(0.44..0.56), rng.random_range(0.24..0.30)],
            scale: rng.random_range(0.29..0.35),
            lean: rng.random_range(-0.12..0.12),
        }
    }

    /// The picture's colour at (x, y) in heights of the picture, the width being `aspect`.
    fn at(&self, x: f32, y: f32, aspect: f32, garment: &Garment) -> Colour {
        let v = (y - self.centre[1]) / self.scale;
        let u = (x - self.centre[0] * aspect) / self.scale - self.lean * v;
        let p = Point { u, v };
        if let Some(colour) = garment.at(p) {
            return colour;
        }
        let head = (u / 0.24).hypot((v + 0.48) / 0.32);
        let hair = (u / 0.29).hypot((v + 0.55) / 0.36);
        let face = head < 1.0 && v > -0.62;
        let neck = (-0.3..0.12).contains(&v) && u.abs() < 0.11;
        let limb = arm(p).is_some_and(|(_, across)| across < 0.11);
        let chest = (0.0..1.0).contains(&v) && u.abs() < torso(v);
        if face || neck || limb || chest {
            return self.skin;
        }
        if hair < 1.0 && v < -0.3 {
            return self.hair;
        }
        if (0.9..2.6).contains(&v) && u.abs() < 0.43 && (v < 1.3 || u.abs() > 0.05) {
            return self.trousers;
        }
        for (bx, by, radius, colour) in &self.blobs {
            if (x - bx * aspect).hypot(y - by) < *radius {
                return *colour;
            }
        }
        [0, 1, 2].map(|c| self.background[0][c] * (1.0 - y) + self.background[1][c] * y)
    }
}

/// Renders with 3 x 3 samples a pixel; `colour` takes x and y in heights of the picture.
fn render([height, width]: [u32; 2], colour: impl Fn(f32, f32) -> Colour) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let mut sum = [0.0; 3];
        for i in 0..9 {
            let at = |pixel: u32, k: u32| (pixel as f32 + (k as f32 + 0.5) / 3.0) / height as f32;
            let sample = colour(at(x, i % 3), at(y, i / 3));
            (0..3).for_each(|c| sum[c] += sample[c]);
        }
        Rgb(sum.map(|v| (v / 9.0).round() as u8))
    })
}

/// The human and the article of pair `number`.
///
/// ```
/// let (human, article) = cagan::dolls::pair(7, 0, [64, 48]);
/// assert_eq!((human.height(), article.width()), (64, 48));
/// assert_eq!(article.get_pixel(0, 0).0, [255; 3]);
/// assert_eq!(cagan::dolls::pair(7, 0, [64, 48]).0, human);
/// ```
pub fn pair(seed: u64, number: u64, size: [u32; 2]) -> (RgbImage, RgbImage) {
    let mut random = rng(seed, "doll", number);
    let (doll, garment) = (Doll::draw(&mut random), Garment::draw(&mut random));
    let aspect = size[1] as f32 / size[0] as f32;
    let human = render(size, |x, y| doll.at(x, y, aspect, &garment));
    // Flat on white, in the middle, as large as fits.
    let scale = 0.58f32.min(0.42 * aspect / 0.66);
    let article = render(size, |x, y| {
        let point = Point {
            u: (x - aspect / 2.0) / scale,
            v: (y - 0.5) / scale + 0.62,
        };
        garment.at(point).unwrap_or(WHITE)
    });
    (human, article)
}

/// Draws `count` pairs into `folder` as `human/<id>.png` and `article/<id>.png`.
///
/// # Errors
/// [`Error::Setting`] for no pairs or a size outside 16 to 1024; [`Error::Io`].
pub fn write(folder: &Path, count: u64, seed: u64, size: [u32; 2]) -> Result<()> {
    if !(1..=1_000_000).contains(&count) {
        return Err(Error::setting("count", "1 to 1000000", count));
    }
    if let Some(side) = size.into_iter().find(|side| !(16..=1024).contains(side)) {
        return Err(Error::setting("size", "sides of 16 to 1024", side));
    }
    for name in ["human", "article"] {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).at(&folder)?;
    }
    (0..count).into_par_iter().try_for_each(|number| {
        let (human, article) = pair(seed, number, size);
        for (name, picture) in [("human", human), ("article", article)] {
            let path = folder.join(name).join(format!("{number:05}.png"));
            let sides = size.map(|side| side as usize);
            write_atomically(&path, &png(picture.as_raw(), sides, 3))?;
        }
        Ok(())
    })
}
