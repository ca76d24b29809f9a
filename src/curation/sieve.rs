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
/// Pictures that are compared with another at most: the nearest. In a set of one silhouette each picture may be each
/// other, and time would grow with the square.
const MOST_NEAR: usize = 32;
/// Where light may differ, a difference without it counts this many times that with it.
const UNLIT: u32 = 4;
/// The standard deviation of a channel, and the least one, that levels take light out with.
const DEVIATION: f32 = 40.0;
const LEAST_DEVIATION: f32 = 8.0;

/// The hashes and the coarse thumbnails of pictures, one after the other in memory.
#[derive(Debug, Default)]
pub struct Sieve {
    hashes: Vec<u64>,
    mirror_hashes: Vec<u64>,
    coarse: Vec<[u8; VALUES]>,
    /// The coarse thumbnails with each channel's mean and deviation taken out.
    unlit: Vec<[u8; VALUES]>,
}

impl Sieve {
    /// Adds a picture.
    pub fn push(&mut self, picture: &Measured) {
        self.hashes.push(picture.hash);
        self.mirror_hashes.push(picture.mirror_hash);
        self.coarse.push(picture.coarse);
        self.unlit.push(unlit(&picture.coarse));
    }

    /// Returns which of the first `count` pictures may be one with a picture.
    pub fn near(&self, picture: &Measured, count: usize, bits: u32, light: bool, limit: f32) -> Vec<Near> {
        let own = [picture.coarse, mirrored(&picture.coarse)];
        let mut found = Vec::new();
        search(self, count, picture.hash, bits, &own, &mut found);
        if found.is_empty() {
            return found;
        }
        rank(&mut found, &own.map(|coarse| Range::of(&coarse)), &self.coarse, 1);
        if light {
            rank(&mut found, &own.map(|coarse| Range::of(&unlit(&coarse))), &self.unlit, UNLIT);
        }
        nearest(&mut found);
        let most = limit * if light { MOST_UNEXPLAINED_IN_LIGHT } else { MOST_UNEXPLAINED };
        let mut bases: [Option<Basis>; 2] = [None, None];
        found.retain(|near| {
            let flip = usize::from(near.flip);
            let basis = bases[flip].get_or_insert_with(|| Basis::of(&own[flip], light));
            unexplained(basis, &self.coarse[near.place]) <= most * most
        });
        found
    }
}

/// A picture that may be one with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    pub place: usize,
    /// Whether its mirror image may be.
    pub flip: bool,
    /// How far it is: 0 for the same.
    pub rank: u32,
}

/// Leaves the nearest of too many pictures, and of each the nearer of picture and mirror image. Takes and leaves them
/// in the order of their places.
pub fn nearest(found: &mut Vec<Near>) {
    if found.len() <= MOST_NEAR {
        return;
    }
    found.dedup_by(|later, earlier| {
        let same = later.place == earlier.place;
        if same && later.rank < earlier.rank {
            *earlier = *later;
        }
        same
    });
    if found.len() > MOST_NEAR {
        found.select_nth_unstable_by_key(MOST_NEAR, |near| (near.rank, near.place));
        found.truncate(MOST_NEAR);
        found.sort_unstable_by_key(|near| near.place);
    }
}

/// Finds the pictures of near hashes and near coarse thumbnails.
#[multiversion(targets("x86_64+avx2+popcnt"))]
fn search(sieve: &Sieve, count: usize, hash: u64, bits: u32, own: &[[u8; VALUES]; 2], found: &mut Vec<Near>) {
    let hashes = sieve.hashes[..count].iter().zip(&sieve.mirror_hashes).zip(&sieve.coarse);
    for (place, ((plain, mirror), coarse)) in hashes.enumerate() {
        for (flip, other) in [(false, plain), (true, mirror)] {
            if (other ^ hash).count_ones() > bits {
                continue;
            }
            let sum: u32 = own[usize::from(flip)].iter().zip(coarse).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            if sum / VALUES as u32 <= MOST_COARSE {
                found.push(Near { place, flip, rank: 0 });
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

/// Takes the light out of a coarse thumbnail.
fn unlit(coarse: &[u8; VALUES]) -> [u8; VALUES] {
    let count = (COARSE * COARSE) as f32;
    let light: [(f32, f32); 3] = std::array::from_fn(|channel| {
        let values = || coarse.iter().skip(channel).step_by(3).map(|&value| f32::from(value));
        let mean = values().sum::<f32>() / count;
        let square = values().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
        (mean, square.sqrt().max(LEAST_DEVIATION))
    });
    std::array::from_fn(|i| {
        let (mean, deviation) = light[i % 3];
        // `as` stays within 0 and 255.
        (128.0 + DEVIATION * (f32::from(coarse[i]) - mean) / deviation) as u8
    })
}

/// The lowest and the highest values that a small warp may give a coarse thumbnail: up to half-way to the neighbours.
struct Range {
    low: [u8; VALUES],
    high: [u8; VALUES],
}

impl Range {
    fn of(coarse: &[u8; VALUES]) -> Range {
        let (mut low, mut high) = (*coarse, *coarse);
        for i in 0..VALUES {
            let (row, column, own) = (i / 3 / COARSE, i / 3 % COARSE, i16::from(coarse[i]));
            let (mut down, mut up) = (0, 0);
            for (place, step) in [(column, 3), (row, 3 * COARSE)] {
                let before = (place > 0).then(|| i16::from(coarse[i - step]) - own);
                let after = (place + 1 < COARSE).then(|| i16::from(coarse[i + step]) - own);
                let both = || before.into_iter().chain(after).map(|change| change / 2);
                down += both().fold(0, i16::min);
                up += both().fold(0, i16::max);
            }
            low[i] = (own + down).clamp(0, 255) as u8;
            high[i] = (own + up).clamp(0, 255) as u8;
        }
        Range { low, high }
    }
}

/// Adds to the ranks how far the pictures' values are outside a range, `times` over.
#[multiversion(targets("x86_64+avx2"))]
fn rank(found: &mut [Near], ranges: &[Range; 2], others: &[[u8; VALUES]], times: u32) {
    for near in found {
        let Range { low, high } = &ranges[usize::from(near.flip)];
        let values = others[near.place].iter().zip(low).zip(high);
        let outside = values.map(|((v, low), high)| u32::from(low.saturating_sub(*v) + v.saturating_sub(*high)));
        near.rank += times * outside.sum::<u32>();
    }
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
        let places: Vec<usize> = near.iter().filter(|near| !near.flip).map(|near| near.place).collect();
        assert_eq!(places, [0, 2]);
        assert!(sieve.near(&all[3], 0, 16, false, 6.0).is_empty());
    }
    #[test]
    fn the_same_one_is_among_the_nearest_of_many_of_one_silhouette() {
        let colour = |k: usize| [k % 9, k / 9 % 9, k / 81].map(|step| 20 + 26 * step as u8);
        let mut sieve = Sieve::default();
        for k in 0..729 {
            sieve.push(&measured(&blob(colour(k)), Kind::Article));
        }
        let forms: [fn(&RgbImage) -> RgbImage; 5] = [
            RgbImage::clone,
            imageops::flip_horizontal,
            |picture| imageops::resize(picture, 48, 64, imageops::FilterType::Lanczos3),
            |picture| imageops::crop_imm(picture, 3, 4, 90, 120).to_image(),
            |picture| imageops::crop_imm(picture, 0, 0, 93, 124).to_image(),
        ];
        for light in [false, true] {
            let mut crowded = 0;
            for k in (0..729).step_by(31) {
                let mut alone = Sieve::default();
                alone.push(&measured(&blob(colour(k)), Kind::Article));
                for (form, change) in forms.iter().enumerate() {
                    let picture = measured(&change(&blob(colour(k))), Kind::Article);
                    let near = sieve.near(&picture, 729, 16, light, 6.0);
                    assert!(near.len() <= MOST_NEAR, "{k}: {}", near.len());
                    if !alone.near(&picture, 1, 16, light, 6.0).is_empty() {
                        let found = near.iter().any(|near| near.place == k);
                        assert!(found, "{k}, form {form}, light {light}");
                        let mut all = Vec::new();
                        let own = [picture.coarse, mirrored(&picture.coarse)];
                        search(&sieve, 729, picture.hash, 16, &own, &mut all);
                        crowded += usize::from(all.len() > MOST_NEAR);
                    }
                }
            }
            assert!(crowded > 50, "{crowded}");
        }
    }
}
