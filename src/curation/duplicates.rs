//! Finds the pictures that are one picture: by equal pixels, then by similar hashes (of the picture or its mirror
//! image) and similar thumbnails.

use std::collections::HashMap;

use rayon::prelude::*;

use super::align::{Difference, Moving, difference};
use super::measure::{Kind, Measured, mirrored};
use super::options::Options;
use super::sieve::{Near, Sieve, nearest};

/// Pictures that are held against all earlier ones between two reports of progress.
const PART: usize = 64;
/// A picture that differs from an earlier one by this share of the limit is nearly a copy of it.
const COPY: f32 = 0.4;
/// Copies of a picture that later ones are compared with. Further ones are found by those: of a thousand copies not each
/// must meet each.
const MOST_COPIES: u32 = 16;
/// Links of a picture to earlier ones that are kept: the nearest.
const MOST_LINKS: usize = 64;
/// The worst block may differ by this many times the limit of the whole.
const WORST: f32 = 3.0;
/// The largest [`Difference::share`]: two white shirts on white differ by little, but in all that they show.
const MOST_SHARE: f32 = 0.25;

/// How similar two pictures of one kind must be.
#[derive(Clone, Copy, Debug)]
pub struct Likeness {
    /// The hashes may differ in this many bits.
    pub hash_distance: u32,
    /// The largest mean difference in grey levels.
    pub mean: f32,
    /// Whether exposure and white balance may differ.
    pub light: bool,
}

impl Likeness {
    /// A photo in another exposure is the same photo; a garment in another shade is another garment.
    pub fn of(kind: Kind, options: &Options) -> Self {
        let (mean, light) = match kind {
            Kind::Human => (options.human_difference, true),
            Kind::Article => (options.article_difference, false),
        };
        Likeness { hash_distance: options.hash_distance, mean: mean as f32, light }
    }

    fn accepts(&self, d: &Difference) -> bool {
        d.mean <= self.mean && d.worst <= WORST * self.mean && d.share <= MOST_SHARE
    }

    /// Whether the difference is so small that further alignment is needless.
    fn clearly(&self, d: &Difference) -> bool {
        d.mean <= self.mean / 2.0 && d.worst <= WORST * self.mean / 2.0 && d.share <= MOST_SHARE / 2.0
    }
}

/// Two pictures that are one. `earlier < later`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// The place of the first picture.
    pub earlier: usize,
    /// The place of the second picture.
    pub later: usize,
    /// Whether the pixels are equal.
    pub equal: bool,
    /// Whether the one is the mirror image of the other.
    pub mirrored: bool,
    /// Mean difference in grey levels after alignment.
    pub difference: f32,
}

/// Finds the pictures that are one. Pictures with equal pixels are linked to the first of them, which alone is compared
/// further.
///
/// Calls `observe` with the number of compared pictures and their total.
///
/// # Errors
/// An error of `observe`.
pub fn links<E>(
    pictures: &[&Measured],
    likeness: Likeness,
    mut observe: impl FnMut(usize, usize) -> Result<(), E>,
) -> Result<Vec<Link>, E> {
    let mut found = Vec::new();
    let mut first = HashMap::new();
    let mut distinct = Vec::new();
    for (later, picture) in pictures.iter().enumerate() {
        let key = (picture.content, picture.width, picture.height);
        match first.get(&key) {
            Some(&earlier) => found.push(Link { earlier, later, equal: true, mirrored: false, difference: 0.0 }),
            None => {
                first.insert(key, later);
                distinct.push(later);
            }
        }
    }
    // The pictures that later ones are compared with, and the number of copies of each.
    let (mut compared, mut sieve) = (Vec::new(), Sieve::default());
    let mut copies: HashMap<usize, u32> = HashMap::new();
    for (part, places) in distinct.chunks(PART).enumerate() {
        observe(part * PART, distinct.len())?;
        let mut own = Sieve::default();
        places.iter().for_each(|&place| own.push(pictures[place]));
        let new: Vec<Vec<Link>> = (places.par_iter().enumerate())
            .map(|(k, &later)| {
                let (picture, bits, limit) = (pictures[later], likeness.hash_distance, likeness.mean);
                let before = sieve.near(picture, compared.len(), bits, likeness.light, limit);
                let beside = own.near(picture, k, bits, likeness.light, limit);
                let before = before.into_iter().map(|near| Near { place: compared[near.place], ..near });
                let beside = beside.into_iter().map(|near| Near { place: places[near.place], ..near });
                let mut all: Vec<Near> = before.chain(beside).collect();
                nearest(&mut all);
                linked(pictures, later, &all, likeness)
            })
            .collect();
        for (&later, links) in places.iter().zip(new) {
            let copied = links.iter().find(|link| link.difference <= COPY * likeness.mean);
            let many = copied.is_some_and(|link| {
                let count = copies.entry(link.earlier).or_default();
                *count += 1;
                *count > MOST_COPIES
            });
            if !many {
                compared.push(later);
                sieve.push(pictures[later]);
            }
            found.extend(links);
        }
    }
    observe(distinct.len(), distinct.len())?;
    Ok(found)
}

/// Compares a picture with earlier ones.
fn linked(pictures: &[&Measured], later: usize, near: &[Near], likeness: Likeness) -> Vec<Link> {
    let thumbnail = &pictures[later].thumbnail;
    let mut moving: [Option<Moving>; 2] = [None, None];
    let mut found: Vec<Link> = Vec::new();
    for &Near { place: earlier, flip, .. } in near {
        let own = moving[usize::from(flip)].get_or_insert_with(|| match flip {
            false => Moving::new(thumbnail.to_vec()),
            true => Moving::new(mirrored(thumbnail)),
        });
        let enough = |d: &Difference| likeness.clearly(d);
        let difference = difference(own, &pictures[earlier].cells, likeness.light, likeness.mean, enough);
        if !likeness.accepts(&difference) {
            continue;
        }
        let link = Link { earlier, later, equal: false, mirrored: flip, difference: difference.mean };
        match found.last_mut().filter(|last| last.earlier == earlier) {
            Some(last) if last.difference <= link.difference => {}
            Some(last) => *last = link,
            None => found.push(link),
        }
    }
    if found.len() > MOST_LINKS {
        found.sort_by(|a, b| a.difference.total_cmp(&b.difference).then(a.earlier.cmp(&b.earlier)));
        found.truncate(MOST_LINKS);
        found.sort_by_key(|link| link.earlier);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::measure::measured;
    use super::*;
    use image::{Rgb, RgbImage, imageops};

    /// Waves of colour; another picture for each seed.
    fn scene(seed: u32) -> RgbImage {
        RgbImage::from_fn(120, 160, |x, y| {
            let (x, y, s) = (x as f32 / 20.0, y as f32 / 20.0, seed as f32);
            let wave = |a: f32| (128.0 + 100.0 * (x * (1.0 + s * a)).sin() * (y * (1.3 - a) + s).cos()) as u8;
            Rgb([wave(0.31), wave(0.17), wave(0.53)])
        })
    }

    fn of(pictures: &[RgbImage], kind: Kind) -> Vec<(usize, usize, bool)> {
        let all: Vec<Measured> = pictures.iter().map(|p| measured(p, kind)).collect();
        let likeness = Likeness::of(kind, &Options::default());
        let observe = |_, _| Ok::<(), ()>(());
        let links = links(&all.iter().collect::<Vec<_>>(), likeness, observe).unwrap();
        links.iter().map(|l| (l.earlier, l.later, l.mirrored)).collect()
    }

    #[test]
    fn copies_crops_and_mirror_images_are_found_and_others_are_not() {
        let one = scene(1);
        let crop = imageops::crop_imm(&one, 4, 5, 112, 150).to_image();
        let small = imageops::resize(&one, 70, 93, imageops::FilterType::Lanczos3);
        let mirror = imageops::flip_horizontal(&one);
        let pictures = [one.clone(), scene(2), one, scene(3), crop, small, mirror];
        for kind in [Kind::Human, Kind::Article] {
            let found = of(&pictures, kind);
            for expected in [(0, 2, false), (0, 4, false), (0, 5, false), (0, 6, true)] {
                assert!(found.contains(&expected), "{kind:?}: {expected:?} in {found:?}");
            }
            let others = found.iter().filter(|l| [1, 3].contains(&l.0) || [1, 3].contains(&l.1));
            assert_eq!(others.count(), 0, "{kind:?}: {found:?}");
        }
    }

    #[test]
    fn another_exposure_is_the_same_photo_but_another_article() {
        let one = scene(1);
        let mut bright = one.clone();
        bright.iter_mut().for_each(|v| *v = v.saturating_add(18));
        let pictures = [one, bright];
        assert_eq!(of(&pictures, Kind::Human), [(0, 1, false)]);
        assert_eq!(of(&pictures, Kind::Article), []);
    }

    #[test]
    fn an_observer_can_stop_it() {
        let found = measured(&scene(1), Kind::Human);
        let likeness = Likeness::of(Kind::Human, &Options::default());
        assert_eq!(links(&[&found], likeness, |_, _| Err("stop")), Err("stop"));
    }
}
