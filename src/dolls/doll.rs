//! Draws a person in a garment, and the true swap into another one.

use image::{GrayImage, RgbImage};

use super::canvas::Canvas;
use super::flow::Grey16;
use super::frame::{Frame, Side};
use super::garment::Garment;
use super::person::{Person, Reach};
use super::scene::Scene;
use crate::random::rng;

/// Draws the garment of pair `number`.
pub(super) fn garment(seed: u64, number: u64) -> Garment {
    Garment::draw(&mut rng(seed, "doll/garment", number))
}

/// Draws the person of pair `number`.
fn person(seed: u64, number: u64) -> Person {
    let own = garment(seed, number).shape;
    Person::draw(&mut rng(seed, "doll/person", number), own)
}

/// Returns the pose of the human of pair `number` in pictures of a height and width.
pub(super) fn pose(seed: u64, number: u64, size: [u32; 2]) -> Frame {
    person(seed, number).frame(size.map(|side| side as f32))
}

/// Draws the human of pair `number` in any garment.
pub(super) fn dressed(seed: u64, number: u64, garment: &Garment, size: [u32; 2]) -> Canvas {
    let person = person(seed, number);
    let scene = Scene::draw(&mut rng(seed, "doll/scene", number));
    let mut canvas = Canvas::new(size, [0; 3]);
    let mut cloth = Canvas::new(size, [0; 3]);
    let frame = person.frame(canvas.size());
    scene.paint(&mut canvas);
    person.head.paint_behind(&mut canvas, &frame);
    person.paint_body(&mut canvas, &frame);
    if garment.shape.swimwear() {
        garment.dress_body(&mut canvas, &mut cloth, &frame);
        person.paint_lower(&mut canvas, &frame);
    } else {
        person.paint_lower(&mut canvas, &frame);
        garment.dress_body(&mut canvas, &mut cloth, &frame);
    }
    for side in Side::BOTH {
        // A forearm may be in front of the garment, the shoulder never.
        person.paint_arm(&mut canvas, &frame, side, Reach::Forearm);
        garment.dress_arm(&mut canvas, &mut cloth, &frame, side);
    }
    person.head.paint(&mut canvas, &frame);
    canvas
}

/// Draws the human and the article of pair `number`.
///
/// # Shapes
/// `size`: height and width of both pictures, meant for sides of 16 to 1024.
///
/// ```
/// let (human, article) = cagan::dolls::pair(7, 0, [64, 48]);
/// assert_eq!((human.height(), article.width()), (64, 48));
/// assert_eq!(article.get_pixel(0, 0).0, [255; 3]);
/// assert_eq!(cagan::dolls::pair(7, 0, [64, 48]).0, human);
/// ```
pub fn pair(seed: u64, number: u64, size: [u32; 2]) -> (RgbImage, RgbImage) {
    let garment = garment(seed, number);
    let human = dressed(seed, number, &garment, size);
    (human.picture(), garment.lie(size).picture())
}

/// Draws the true swap: the human of pair `human` in the article of pair `article`, and the true mask of the change.
///
/// The mask is the share of a pixel that either article covers, the worn or the new one. It is above 0 exactly where
/// the picture may differ from the human's own: where a part of either article shows, even through an edge. Hands and
/// hair in front of both articles are outside.
///
/// # Shapes
/// `size`: height and width of both pictures.
///
/// ```
/// let (swap, mask) = cagan::dolls::swap(7, 0, 1, [64, 48]);
/// let (human, _) = cagan::dolls::pair(7, 0, [64, 48]);
/// for ((new, old), mask) in swap.pixels().zip(human.pixels()).zip(mask.pixels()) {
///     assert!(new == old || mask.0[0] > 0);
/// }
/// ```
pub fn swap(seed: u64, human: u64, article: u64, size: [u32; 2]) -> (RgbImage, GrayImage) {
    let worn = dressed(seed, human, &garment(seed, human), size);
    let new = dressed(seed, human, &garment(seed, article), size);
    (new.picture(), changes(&worn, &new))
}

/// Draws how much of each pixel of the human of pair `number` the worn article takes.
///
/// # Shapes
/// `size`: height and width of the picture.
///
/// ```
/// let worn = cagan::dolls::worn(7, 0, [64, 48]);
/// let (_, mask) = cagan::dolls::swap(7, 0, 1, [64, 48]);
/// assert!(worn.pixels().zip(mask.pixels()).all(|(worn, either)| worn.0 <= either.0));
/// ```
pub fn worn(seed: u64, number: u64, size: [u32; 2]) -> GrayImage {
    dressed(seed, number, &garment(seed, number), size).garment()
}

/// Computes the true flow of a true swap: the place in the article's picture that is seen in each pixel of the human of
/// pair `human` in the article of pair `article`.
///
/// A pixel has a flow if the article takes at least half of it and the article's picture shows that place (a sleeve may
/// lie on it there). The upper half of the result holds x, the lower half y: 1 to 65535 from the left or upper edge of
/// the article's picture to the right or lower one, 0 without a flow.
///
/// # Shapes
/// `size`: height and width of the pictures. The result is twice as high.
///
/// ```
/// let flow = cagan::dolls::flow(7, 0, 1, [64, 48]);
/// assert_eq!((flow.height(), flow.width()), (128, 48));
/// let (_, article) = cagan::dolls::pair(7, 1, [64, 48]);
/// for (x, y) in (0..64).flat_map(|y| (0..48).map(move |x| (x, y))) {
///     let [across, down] = [y, 64 + y].map(|row| f64::from(flow.get_pixel(x, row).0[0]));
///     if across > 0.0 {
///         // The place is on the article or at its edge, not in the white around it.
///         let [x, y] = [(across - 1.0) / 65534.0 * 48.0, (down - 1.0) / 65534.0 * 64.0].map(|side| side as u32);
///         let around = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (x, y)));
///         assert!(around.into_iter().any(|(x, y)| article.get_pixel(x, y).0 != [255; 3]));
///     }
/// }
/// ```
pub fn flow(seed: u64, human: u64, article: u64, size: [u32; 2]) -> Grey16 {
    let garment = garment(seed, article);
    super::flow::flow(&garment, &dressed(seed, human, &garment, size), &pose(seed, human, size))
}

/// Merges the garments of two pictures of one person into a mask.
pub(super) fn changes(worn: &Canvas, new: &Canvas) -> GrayImage {
    let mut mask = worn.garment();
    for (mask, new) in mask.iter_mut().zip(new.garment().iter()) {
        *mask = (*mask).max(*new);
    }
    mask
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dolls::canvas::Colour;
    use crate::dolls::pattern::Pattern;
    use crate::dolls::shape::Shape;

    /// FNV-1a.
    fn hash<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
    }

    #[test]
    fn pictures_are_the_recorded_ones() {
        let all = |seed, size| {
            let pictures = (0..12).map(|number| {
                let (human, article) = pair(seed, number, size);
                let (swap, mask) = swap(seed, number, number + 1, size);
                [human.into_raw(), article.into_raw(), swap.into_raw(), mask.into_raw()].concat()
            });
            hash(&pictures.collect::<Vec<_>>().concat())
        };
        // A change to the dolls' looks changes these hashes and needs a CHANGELOG line: users name sets by their seeds.
        assert_eq!(
            [all(0, [64, 48]), all(1, [32, 32]), all(2, [16, 48])].map(|hash| format!("{hash:016x}")),
            ["e3a7d5696d2c8ae9", "fa1173d1d7c53030", "b85f6207c8d905fc"]
        );
    }

    #[test]
    fn the_own_article_changes_nothing() {
        for number in 0..30 {
            let (swap, mask) = swap(4, number, number, [64, 48]);
            assert_eq!(swap, pair(4, number, [64, 48]).0);
            let shown = mask.iter().filter(|mask| **mask == 255).count();
            assert!(shown > 20, "{number} shows {shown} pixels of its article");
        }
    }

    /// A garment of the same cut in one colour.
    fn dyed(garment: &Garment, colour: Colour) -> Garment {
        let mut garment = garment.clone();
        garment.print.pattern = Pattern::Plain;
        garment.print.colours = [colour; 3];
        garment.trim = colour;
        garment
    }

    #[test]
    fn the_mask_is_where_the_articles_show() {
        let size = [96, 72];
        for human in 0..24 {
            let article = human + 1 + human % 3;
            let (new, mask) = swap(5, human, article, size);
            let old = pair(5, human, size).0;
            // A garment shows where its colour makes a difference.
            let shows = |number: u64| -> Vec<bool> {
                let garment = garment(5, number);
                let [dark, light] =
                    [[0; 3], [255; 3]].map(|colour| dressed(5, human, &dyed(&garment, colour), size).picture());
                dark.pixels().zip(light.pixels()).map(|(a, b)| a != b).collect()
            };
            let (worn_shows, new_shows) = (shows(human), shows(article));
            for (i, mask) in mask.iter().enumerate() {
                let (x, y) = (i as u32 % size[1], i as u32 / size[1]);
                let differs = old.get_pixel(x, y) != new.get_pixel(x, y);
                assert!(*mask > 0 || !differs, "{human} in {article} at {x}, {y}");
                let shows = worn_shows[i] || new_shows[i];
                assert!(*mask > 0 || !shows, "{human} in {article} at {x}, {y}");
                // A smaller share of a pixel can be lost in rounding.
                assert!(*mask < 4 || shows, "{human} in {article} at {x}, {y}");
            }
        }
    }

    #[test]
    fn a_flow_is_where_the_article_shows() {
        let size = [96, 72];
        let (mut with, mut without) = (0, 0);
        for human in 0..24 {
            let article = human + 1 + human % 3;
            let flow = flow(5, human, article, size);
            let shows = dressed(5, human, &garment(5, article), size).garment();
            for (x, y, share) in shows.enumerate_pixels() {
                let [across, down] = [y, size[0] + y].map(|row| flow.get_pixel(x, row).0[0]);
                assert_eq!(across == 0, down == 0);
                assert!(across == 0 || share.0[0] > 127, "{human} in {article} at {x}, {y}");
                with += usize::from(across > 0);
                without += usize::from(across == 0 && share.0[0] > 127);
            }
        }
        // Sleeves hide little of what lies under them.
        assert!((1..with / 20).contains(&without), "{without} of {with}");
    }

    #[test]
    fn everything_occurs_and_no_two_articles_are_equal() {
        let garments: Vec<Garment> = (0..400).map(|number| garment(0, number)).collect();
        let both = garments.iter().map(|garment| (garment.shape, garment.print.pattern));
        let both: BTreeSet<(Shape, Pattern)> = both.collect();
        // Neither bikinis nor coats have motifs.
        assert_eq!(both.len(), Shape::ALL.len() * Pattern::ALL.len() - 2);
        let scenes = (0..60).map(|number| Scene::draw(&mut rng(0, "doll/scene", number)).kind);
        assert_eq!(scenes.collect::<BTreeSet<_>>().len(), 6);
        let pictures = (0..200).map(|number| pair(0, number, [32, 24]));
        let pictures = pictures.flat_map(|(human, article)| [hash(human.iter()), hash(article.iter())]);
        assert_eq!(pictures.collect::<BTreeSet<_>>().len(), 400);
    }

    #[test]
    fn articles_lie_whole_on_white_in_any_size() {
        for (number, size) in (0..40).zip([[16, 16], [16, 200], [200, 16], [128, 96], [31, 57]].into_iter().cycle()) {
            let (human, article) = pair(9, number, size);
            assert_eq!([human.height(), human.width()], size);
            let [height, width] = size;
            for (x, y, pixel) in article.enumerate_pixels() {
                let edge = x == 0 || y == 0 || x == width - 1 || y == height - 1;
                // Of 16 pixels, 8 % leave less than one pixel of room at each edge.
                assert!(!edge || size.contains(&16) || pixel.0 == [255; 3], "{number} at {x}, {y}");
            }
            assert!(article.iter().any(|value| *value < 200));
        }
    }
}
