//! Pictures to draw on. tiny-skia computes how much of each pixel a shape covers. Colours are mixed here, in whole
//! numbers: a pixel outside a shape keeps its exact bytes, one wholly inside takes the shape's.

use image::{GrayImage, RgbImage};
use tiny_skia::{FillRule, LineCap, LineJoin, Mask, Path, PathBuilder, Stroke, Transform};

use super::frame::Part;
use super::outlines::Point;

pub type Colour = [u8; 3];

/// Lightens a colour towards white (`by` > 1) or darkens it towards black (`by` < 1).
pub fn shade(colour: Colour, by: f32) -> Colour {
    colour.map(|value| {
        let value = f32::from(value);
        let shaded = if by <= 1.0 { value * by } else { 255.0 - (255.0 - value) * (2.0 - by) };
        shaded.clamp(0.0, 255.0).round() as u8
    })
}

/// Returns the colour a share of the way from `a` to `b`.
pub fn between(a: Colour, b: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|c| (f32::from(a[c]) + (f32::from(b[c]) - f32::from(a[c])) * share).round() as u8)
}

fn mix(below: u8, over: u8, coverage: u8) -> u8 {
    let (below, over, coverage) = (u32::from(below), u32::from(over), u32::from(coverage));
    ((over * coverage + below * (255 - coverage) + 127) / 255) as u8
}

/// A picture, and how much of each of its pixels shows a garment.
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    /// Each pixel's share of garment, of 255. It is 0 only where no garment has a part in the colour.
    garment: Vec<u8>,
    /// The part of the garment that takes most of the pixel's share.
    parts: Vec<Part>,
    /// The coverage of the current shape; zero between two shapes.
    coverage: Mask,
}

/// The columns and rows that a shape may touch.
struct Reach {
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
}

impl Canvas {
    /// Makes a canvas of one colour and a height and width.
    pub fn new([height, width]: [u32; 2], colour: Colour) -> Self {
        let (rows, columns) = (height as usize, width as usize);
        Canvas {
            width: columns,
            height: rows,
            pixels: colour.repeat(rows * columns),
            garment: vec![0; rows * columns],
            parts: vec![Part::Body; rows * columns],
            coverage: Mask::new(width, height).expect("the size was checked"),
        }
    }

    /// Returns height and width in pixels.
    pub fn size(&self) -> [f32; 2] {
        [self.height as f32, self.width as f32]
    }

    /// Paints everything in one colour.
    pub fn flood(&mut self, colour: Colour) {
        for pixel in self.pixels.chunks_exact_mut(3) {
            pixel.copy_from_slice(&colour);
        }
    }

    /// Paints each row in the colour of its height, from 0 at the top to 1 at the bottom.
    pub fn rows(&mut self, colour: impl Fn(f32) -> Colour) {
        let last = (self.height - 1) as f32;
        for (y, row) in self.pixels.chunks_exact_mut(3 * self.width).enumerate() {
            let colour = colour(y as f32 / last);
            row.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour));
        }
    }

    /// Fills closed outlines. They may overlap.
    pub fn fill(&mut self, outlines: &[Vec<Point>], colour: Colour) {
        self.tint(outlines, colour, 1.0);
    }

    /// Fills closed outlines with a colour of opacity `alpha`.
    pub fn tint(&mut self, outlines: &[Vec<Point>], colour: Colour, alpha: f32) {
        self.paint(path(outlines), colour, alpha);
    }

    /// Draws a line of a width in pixels.
    pub fn line(&mut self, points: &[Point], width: f32, colour: Colour, alpha: f32) {
        self.paint(stroke(&[points], false, width), colour, alpha);
    }

    /// Draws along closed outlines.
    pub fn edge(&mut self, outlines: &[Vec<Point>], width: f32, colour: Colour, alpha: f32) {
        self.paint(stroke(outlines, true, width), colour, alpha);
    }

    fn paint(&mut self, path: Option<Path>, colour: Colour, alpha: f32) {
        let alpha = (alpha * 255.0).round() as u32;
        self.cover(path, |pixel, garment, coverage, _| {
            let coverage = ((u32::from(coverage) * alpha + 127) / 255) as u8;
            (0..3).for_each(|c| pixel[c] = mix(pixel[c], colour[c], coverage));
            // Paint over a garment hides it, but wholly only at full coverage.
            if *garment > 0 {
                *garment = match coverage {
                    255 => 0,
                    _ => mix(*garment, 0, coverage).max(1),
                };
            }
        });
    }

    /// Lays a part of a garment: copies what `cloth` shows inside the outlines and counts it as garment.
    pub fn lay(&mut self, outlines: &[Vec<Point>], cloth: &Canvas, part: Part) {
        let mut parts = std::mem::take(&mut self.parts);
        self.cover(path(outlines), |pixel, garment, coverage, at| {
            let cloth = &cloth.pixels[3 * at..3 * at + 3];
            (0..3).for_each(|c| pixel[c] = mix(pixel[c], cloth[c], coverage));
            if coverage >= mix(*garment, 0, coverage) {
                parts[at] = part;
            }
            *garment = mix(*garment, 255, coverage).max(u8::from(coverage > 0));
        });
        self.parts = parts;
    }

    /// Calls `each(pixel, garment, coverage, index)` for every pixel that the path covers.
    fn cover(&mut self, path: Option<Path>, mut each: impl FnMut(&mut [u8], &mut u8, u8, usize)) {
        let Some(path) = path else { return };
        let Some(reach) = self.reach(&path) else {
            return;
        };
        self.coverage.fill_path(&path, FillRule::Winding, true, Transform::identity());
        for row in reach.rows {
            let places = row * self.width + reach.columns.start..row * self.width + reach.columns.end;
            let coverage = &mut self.coverage.data_mut()[places.clone()];
            let pixels = self.pixels[3 * places.start..3 * places.end].chunks_exact_mut(3);
            let garments = &mut self.garment[places.clone()];
            for (((pixel, garment), coverage), at) in pixels.zip(garments).zip(coverage).zip(places) {
                if *coverage > 0 {
                    each(pixel, garment, *coverage, at);
                    *coverage = 0;
                }
            }
        }
    }

    fn reach(&self, path: &Path) -> Option<Reach> {
        let bounds = path.bounds();
        // One pixel of margin on each side. Numbers below zero saturate.
        let range = |low: f32, high: f32, len: usize| {
            let range = (low - 1.0) as usize..((high + 2.0) as usize).min(len);
            (range.start < range.end).then_some(range)
        };
        Some(Reach {
            columns: range(bounds.left(), bounds.right(), self.width)?,
            rows: range(bounds.top(), bounds.bottom(), self.height)?,
        })
    }

    /// Returns the picture.
    pub fn picture(&self) -> RgbImage {
        let pixels = self.pixels.clone();
        RgbImage::from_raw(self.width as u32, self.height as u32, pixels).expect("three bytes a pixel")
    }

    /// Returns each pixel's share of garment, never 0 where a garment has a part in the colour.
    pub fn garment(&self) -> GrayImage {
        let garment = self.garment.clone();
        GrayImage::from_raw(self.width as u32, self.height as u32, garment).expect("one byte a pixel")
    }

    /// Returns the pixels of which a garment takes at least half: row, column, and the part that takes most.
    pub fn shown(&self) -> impl Iterator<Item = (usize, usize, Part)> {
        let pixels = self.garment.iter().zip(&self.parts).enumerate();
        pixels.filter(|(_, (share, _))| **share > 127).map(|(at, (_, part))| (at / self.width, at % self.width, *part))
    }
}

fn path(outlines: &[Vec<Point>]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for outline in outlines {
        // All outlines turn the same way: opposite ones would cut holes where they overlap.
        let corners = outline.iter().zip(outline.iter().cycle().skip(1));
        let area: f32 = corners.map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum();
        match area < 0.0 {
            true => push(&mut builder, outline.iter().rev()),
            false => push(&mut builder, outline.iter()),
        }
        builder.close();
    }
    builder.finish()
}

fn stroke(lines: &[impl AsRef<[Point]>], closed: bool, width: f32) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for line in lines {
        push(&mut builder, line.as_ref().iter());
        if closed {
            builder.close();
        }
    }
    let stroke = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
    builder.finish()?.stroke(&stroke, 1.0)
}

fn push<'a>(builder: &mut PathBuilder, points: impl Iterator<Item = &'a Point>) {
    for (i, [x, y]) in points.enumerate() {
        match i {
            0 => builder.move_to(*x, *y),
            _ => builder.line_to(*x, *y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dolls::frame::Side;

    fn square(side: f32) -> Vec<Vec<Point>> {
        vec![vec![[0.0, 0.0], [side, 0.0], [side, side], [0.0, side]]]
    }

    #[test]
    fn what_covers_a_garment_wholly_leaves_none_of_it() {
        let mut canvas = Canvas::new([4, 4], [10; 3]);
        canvas.lay(&square(3.0), &Canvas::new([4, 4], [200; 3]), Part::Body);
        assert_eq!(canvas.picture().get_pixel(2, 2).0, [200; 3]);
        assert_eq!(canvas.picture().get_pixel(3, 3).0, [10; 3]);
        let count = |canvas: &Canvas| canvas.garment().iter().filter(|g| **g > 0).count();
        assert_eq!(count(&canvas), 9);
        canvas.tint(&square(2.0), [0; 3], 0.99);
        assert_eq!(count(&canvas), 9);
        canvas.fill(&square(2.0), [0; 3]);
        assert_eq!(count(&canvas), 9 - 4);
        // Half a column of a pixel: half covered, half garment.
        canvas.fill(&[vec![[2.0, 0.0], [2.5, 0.0], [2.5, 3.0], [2.0, 3.0]]], [0; 3]);
        assert_eq!(count(&canvas), 9 - 4);
        assert!((120..=135).contains(&canvas.garment().get_pixel(2, 1).0[0]));
    }

    #[test]
    fn a_pixel_belongs_to_the_part_that_shows_most() {
        let (mut canvas, cloth) = (Canvas::new([1, 4], [10; 3]), Canvas::new([1, 4], [200; 3]));
        let strip = |from: f32, to: f32| [vec![[from, 0.0], [to, 0.0], [to, 1.0], [from, 1.0]]];
        canvas.lay(&strip(0.0, 2.7), &cloth, Part::Body);
        canvas.lay(&strip(1.7, 4.0), &cloth, Part::Arm(Side::Left));
        // Of column 1 the arm takes .3, of column 2 all; the body has .7 of column 1.
        let shown: Vec<_> = canvas.shown().map(|(_, x, part)| (x, part)).collect();
        let arm = Part::Arm(Side::Left);
        assert_eq!(shown, [(0, Part::Body), (1, Part::Body), (2, arm), (3, arm)]);
        canvas.fill(&strip(0.0, 1.25), [0; 3]);
        assert_eq!(canvas.shown().map(|(_, x, _)| x).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn shapes_outside_are_no_trouble() {
        let mut canvas = Canvas::new([16, 16], [9; 3]);
        for [x, y] in [[-90.0, 2.0], [90.0, 2.0], [2.0, -90.0], [2.0, 90.0]] {
            canvas.fill(&[vec![[x, y], [x + 5.0, y], [x, y + 5.0]]], [0; 3]);
        }
        canvas.fill(&[vec![], vec![[1.0, 1.0]], vec![[1.0, 1.0], [8.0, 8.0]]], [0; 3]);
        assert!(canvas.picture().iter().all(|value| *value == 9));
        canvas.fill(&square(900.0), [7; 3]);
        assert!(canvas.picture().iter().all(|value| *value == 7));
    }

    #[test]
    fn shades_and_mixtures() {
        assert_eq!(shade([100, 0, 255], 0.5), [50, 0, 128]);
        assert_eq!(shade([100, 0, 255], 1.2), [131, 51, 255]);
        assert_eq!(between([0, 100, 200], [100, 100, 100], 0.25), [25, 100, 175]);
    }
}
