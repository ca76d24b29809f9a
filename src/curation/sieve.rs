//! Sorts out the pictures that cannot be one with another, at some nanoseconds each: of a large set most are.

use multiversion::multiversion;

use super::measure::{COARSE, Measured};

/// Values of a coarse thumbnail.
const VALUES: usize = 3 * COARSE * COARSE;
/// Pictures whose coarse thumbnails differ by more in the mean are two. A crop of 3 % on every side differs by up to 15.
const MOST_COARSE: u32 = 20;
/// Pictures whose coarse thumbnails differ by more than this many times the likeness's limit, as the root of the mean
/// square that no small warp explains, are two. A crop of 3 % on every side leaves up to 3.3 times the limit of articles
/// (drawn ones, with sharp edges, of which `benchmarks/README.md` has the figures) and 0.8 times that of photos.
const MOST_UNEXPLAINED: f32 = 3.5;
const MOST_UNEXPLAINED_IN_LIGHT: f32 = 1.5;

/// The hashes and the coarse thumbnails of pictures, one after the other in memory.
#[derive(Debug, Default)]
pub struct Sieve {
    hashes: Vec<u64>,
    mirror_hashes: Vec<u64>,
    coarse: Vec<[u8; VALUES]>,
}

impl Sieve {
    /// Adds a picture.
    pub fn push(&mut self, picture: &Measured) {
        self.hashes.push(picture.hash);
        self.mirror_hashes.push(picture.mirror_hash);
        self.coarse.push(picture.coarse);
    }

    /// Returns which of the first `count` pictures may be one with a picture, or (true) its mirror image.
    pub fn near(&self, picture: &Measured, count: usize, bits: u32, light: bool, limit: f32) -> Vec<(usize, bool)> {
        let own = [picture.coarse, mirrored(&picture.coarse)];
        let mut found = Vec::new();
        search(self, count, picture.hash, bits, &own, &mut found);
        if found.is_empty() {
            return found;
        }
        let most = limit * if light { MOST_UNEXPLAINED_IN_LIGHT } else { MOST_UNEXPLAINED };
        let mut bases: [Option<Basis>; 2] = [None, None];
        found.retain(|&(other, flip)| {
            let basis = bases[usize::from(flip)].get_or_insert_with(|| Basis::of(&own[usize::from(flip)], light));
            unexplained(basis, &self.coarse[other]) <= most * most
        });
        found
    }
}

/// Finds the pictures of near hashes and near coarse thumbnails.
#[multiversion(targets("x86_64+avx2+popcnt"))]
fn search(sieve: &Sieve, count: usize, hash: u64, bits: u32, own: &[[u8; VALUES]; 2], found: &mut Vec<(usize, bool)>) {
    let hashes = sieve.hashes[..count].iter().zip(&sieve.mirror_hashes).zip(&sieve.coarse);
    for (place, ((plain, mirror), coarse)) in hashes.enumerate() {
        for (flip, other) in [(false, plain), (true, mirror)] {
            if (other ^ hash).count_ones() > bits {
                continue;
            }
            let sum: u32 = own[usize::from(flip)].iter().zip(coarse).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            if sum / VALUES as u32 <= MOST_COARSE {
                found.push((place, flip));
            }
        }
    }
}

fn mirrored(coarse: &[u8; VALUES]) -> [u8; VALUES] {
    std::array::from_fn(|i| {
        let (row, column, channel) = (i / 3 / COARSE, i / 3 % COARSE, i % 3);
        coarse[3 * (row * COARSE + COARSE - 1 - column) + channel]
    })
}

/// A coarse thumbnail, and an orthonormal basis of the changes that a small warp makes to it, to first order: a stretch
/// and a shift along each axis, and in other light a gain and an offset of each channel.
struct Basis {
    own: [f32; VALUES],
    changes: Vec<[f32; VALUES]>,
}

impl Basis {
    fn of(coarse: &[u8; VALUES], light: bool) -> Basis {
        let own = coarse.map(f32::from);
        let at = |row: usize, column: usize, channel: usize| own[3 * (row * COARSE + column) + channel];
        let last = COARSE - 1;
        let slope = |i: usize, across: bool| {
            let (row, column, channel) = (i / 3 / COARSE, i / 3 % COARSE, i % 3);
            let place = if across { column } else { row };
            let (low, high) = (place.saturating_sub(1), (place + 1).min(last));
            let value = |place| if across { at(row, place, channel) } else { at(place, column, channel) };
            let from_middle = place as f32 - last as f32 / 2.0;
            let slope = (value(high) - value(low)) / (high - low) as f32;
            (slope, slope * from_middle)
        };
        let mut changes: Vec<[f32; VALUES]> = Vec::new();
        for across in [false, true] {
            changes.push(std::array::from_fn(|i| slope(i, across).0));
            changes.push(std::array::from_fn(|i| slope(i, across).1));
        }
        if light {
            for channel in 0..3 {
                changes.push(std::array::from_fn(|i| if i % 3 == channel { own[i] } else { 0.0 }));
                changes.push(std::array::from_fn(|i| if i % 3 == channel { 1.0 } else { 0.0 }));
            }
        }
        // Gram-Schmidt, twice for precision. A change that the earlier ones explain goes.
        let mut basis: Vec<[f32; VALUES]> = Vec::new();
        for mut change in changes {
            let length = dot(&change, &change).sqrt();
            for _ in 0..2 {
                for other in &basis {
                    let along = dot(&change, other);
                    change.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
                }
            }
            let rest = dot(&change, &change).sqrt();
            if rest > 1e-3 * length && rest > 1e-3 {
                basis.push(change.map(|value| value / rest));
            }
        }
        Basis { own, changes: basis }
    }
}

fn dot(one: &[f32; VALUES], other: &[f32; VALUES]) -> f32 {
    // Eight sums, so that the compiler may add side by side.
    let mut sums = [0f32; 8];
    for (a, b) in one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// Returns the mean square of the difference that no change of the basis explains.
#[multiversion(targets("x86_64+avx2+fma"))]
fn unexplained(basis: &Basis, other: &[u8; VALUES]) -> f32 {
    let mut difference = [0f32; VALUES];
    for ((value, own), other) in difference.iter_mut().zip(&basis.own).zip(other) {
        *value = f32::from(*other) - own;
    }
    let mut rest = dot(&difference, &difference);
    for change in &basis.changes {
        let along = dot(&difference, change);
        rest -= along * along;
    }
    rest.max(0.0) / VALUES as f32
}

#[cfg(test)]
mod tests {
    use super::super::measure::{Kind, measured};
    use super::*;
    use image::{Rgb, RgbImage, imageops};

    fn blob(colour: [u8; 3]) -> RgbImage {
        RgbImage::from_fn(96, 128, |x, y| {
            let inside = (20..76).contains(&x) && (16..100).contains(&y);
            Rgb(if inside { colour } else { [240, 240, 235] })
        })
    }

    fn unexplained_of(one: &RgbImage, other: &RgbImage, light: bool) -> f32 {
        let [one, other] = [one, other].map(|picture| measured(picture, Kind::Article).coarse);
        unexplained(&Basis::of(&one, light), &other).sqrt()
    }

    #[test]
    fn a_crop_is_explained_and_another_colour_is_not() {
        let one = blob([200, 40, 60]);
        let cropped = imageops::crop_imm(&one, 3, 4, 90, 120).to_image();
        assert_eq!(unexplained_of(&one, &one, false), 0.0);
        assert!(unexplained_of(&one, &cropped, false) < 15.0);
        assert!(unexplained_of(&one, &blob([60, 40, 200]), false) > 50.0);
        // Any two tones are one picture in two lights.
        assert!(unexplained_of(&one, &blob([180, 60, 80]), true) < 3.0);
    }

    #[test]
    fn the_near_ones_are_found_among_many() {
        let pictures = [blob([200, 40, 60]), blob([60, 40, 200]), blob([202, 40, 60]), blob([200, 38, 62])];
        let all = pictures.map(|picture| measured(&picture, Kind::Article));
        let mut sieve = Sieve::default();
        all.iter().for_each(|picture| sieve.push(picture));
        let near = sieve.near(&all[3], 3, 16, false, 6.0);
        let places: Vec<usize> = near.iter().filter(|(_, flip)| !flip).map(|(place, _)| *place).collect();
        assert_eq!(places, [0, 2]);
        assert!(sieve.near(&all[3], 0, 16, false, 6.0).is_empty());
    }
}
