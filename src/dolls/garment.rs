//! Garments: their shape, cut and cloth, on a body or flat on a table.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::canvas::{Canvas, Colour, shade};
use super::cut::Cut;
use super::frame::{ARM, Frame, Part, Side};
use super::outlines::{Line, Point, band, bounds, dot, flipped, mapped};
use super::pattern::{Pattern, Print};
use super::shape::Shape;

/// A garment that fits anybody.
#[derive(Clone, Debug, PartialEq)]
pub struct Garment {
    pub shape: Shape,
    pub print: Print,
    cut: Cut,
    /// Ribs, hems, buttons and belts.
    pub trim: Colour,
    trimmed: bool,
}

impl Garment {
    /// Draws a garment.
    pub fn draw(rng: &mut impl RngExt) -> Garment {
        let shape = *Shape::ALL.choose(rng).expect("there are shapes");
        let cut = Cut::draw(rng, shape);
        let patterns: Vec<Pattern> = Pattern::ALL
            .into_iter()
            // A motif needs a whole chest of cloth.
            .filter(|pattern| *pattern != Pattern::Motif || !matches!(shape, Shape::Bikini | Shape::Coat))
            .collect();
        let print = Print::draw(rng, &patterns);
        let trimmed = rng.random_bool(0.45);
        let trim = match trimmed {
            true => *print.colours[1..].choose(rng).expect("there are two"),
            false => shade(print.colours[0], 0.8),
        };
        Garment { shape, print, cut, trim, trimmed }
    }

    /// Paints the garment alone: flat on white, centred, as large as fits.
    pub fn lie(&self, size: [u32; 2]) -> Canvas {
        let mut canvas = Canvas::new(size, [255; 3]);
        let mut cloth = Canvas::new(size, [255; 3]);
        let frame = self.lying(canvas.size());
        if let Some(back) = self.cut.back(self.shape) {
            let inside = shade(self.print.colours[0], 0.62);
            let map = |point| frame.body(point);
            canvas.fill(&mapped(&[back], map), inside);
        }
        self.dress_body(&mut canvas, &mut cloth, &frame);
        for side in Side::BOTH {
            self.dress_arm(&mut canvas, &mut cloth, &frame, side);
        }
        canvas
    }

    /// Returns the pose in which the garment lies in a picture of a size.
    pub fn lying(&self, [height, width]: [f32; 2]) -> Frame {
        /// The share of each side that the garment may take.
        const ROOM: f32 = 0.92;
        let pieces = self.pieces(&Frame::flat([0.0; 2], 1.0));
        let [low, high] = bounds(pieces.iter().flatten().flatten());
        let extent = [high[0] - low[0], high[1] - low[1]];
        let unit = ROOM * (width / extent[0]).min(height / extent[1]);
        let origin = [width / 2.0 - unit * (low[0] + high[0]) / 2.0, height / 2.0 - unit * (low[1] + high[1]) / 2.0];
        Frame::flat(origin, unit)
    }

    /// Maps all outlines to pixels.
    fn pieces(&self, frame: &Frame) -> Vec<Vec<Vec<Point>>> {
        let body = mapped(&self.cut.body(self.shape), |point| frame.body(point));
        std::iter::once(body).chain(self.sleeves(frame).map(|sleeve| vec![sleeve])).collect()
    }

    /// Maps the outlines of both sleeves to pixels.
    pub fn sleeves(&self, frame: &Frame) -> impl Iterator<Item = Vec<Point>> {
        let sleeve = |side| self.cut.sleeve().map(|sleeve| mapped(&[sleeve], |point| frame.arm(side, point)).remove(0));
        Side::BOTH.into_iter().filter_map(sleeve)
    }

    /// Lays all but the sleeves. `cloth` is any canvas of the same size.
    pub fn dress_body(&self, canvas: &mut Canvas, cloth: &mut Canvas, frame: &Frame) {
        let map = |point| frame.body(point);
        let outlines = self.cut.body(self.shape);
        let extent = bounds(outlines.iter().flatten());
        let chest = Some([0.0, 0.26 + 0.5 * self.cut.depth.max(0.1)]);
        self.print.paint(cloth, extent, chest, &map);
        let unit = frame.unit;
        let side = |cloth: &mut Canvas, by: f32| {
            // A soft shadow on the side away from the light.
            let edge = Line::from([by, extent[0][1]]).to([by + 0.03, extent[1][1]]).0;
            let far = [[1.2, extent[1][1]], [1.2, extent[0][1]]];
            cloth.tint(&mapped(&[[edge, far.to_vec()].concat()], map), [0; 3], 0.032);
        };
        [0.1, 0.14, 0.18, 0.22, 0.26].into_iter().for_each(|by| side(cloth, by));
        for fold in self.cut.folds(self.shape) {
            let folds = [vec![fold.clone()], flipped(&[fold])].concat();
            cloth.tint(&mapped(&folds, map), [0; 3], 0.10);
        }
        self.trimmings(cloth, &map, unit);
        let outlines = mapped(&outlines, map);
        cloth.edge(&outlines, 0.034 * unit, shade(self.print.colours[0], 0.55), 0.75);
        canvas.lay(&outlines, cloth, Part::Body);
    }

    /// Paints ribs, belts, lapels and buttons.
    fn trimmings(&self, cloth: &mut Canvas, map: &dyn Fn(Point) -> Point, unit: f32) {
        let dark = shade(self.print.colours[0], 0.55);
        let cut = &self.cut;
        let line = |cloth: &mut Canvas, points: Vec<Point>, width: f32, colour, alpha| {
            let points = mapped(&[points], map).remove(0);
            cloth.line(&points, width * unit, colour, alpha);
        };
        match self.shape {
            Shape::Bikini => {
                if self.trimmed {
                    for outline in cut.body(self.shape) {
                        let outline = mapped(&[outline], map);
                        cloth.edge(&outline, 0.07 * unit, self.trim, 1.0);
                    }
                }
            }
            Shape::Coat => {
                let end = cut.neck_end();
                let front = [0.0, cut.depth - 0.02];
                let lapel = vec![
                    [0.0, cut.depth + 0.02],
                    [end[0], end[1] - 0.03],
                    [end[0] + 0.1, end[1] + 0.04],
                    [end[0] + 0.06, end[1] + 0.12],
                    [end[0] + 0.1, end[1] + 0.17],
                    [0.0, cut.depth + 0.1],
                ];
                line(cloth, Line::from(front).to([0.0, cut.hem]).0, 0.016, dark, 0.9);
                let lapels = mapped(&[flipped(std::slice::from_ref(&lapel)), vec![lapel]].concat(), map);
                let colour = if self.trimmed { self.trim } else { shade(self.print.colours[0], 0.86) };
                for one in &lapels {
                    cloth.fill(std::slice::from_ref(one), colour);
                    cloth.edge(std::slice::from_ref(one), 0.014 * unit, dark, 0.8);
                }
                let columns: &[f32] = if cut.double { &[-0.09, 0.09] } else { &[0.045] };
                let mut buttons = Vec::new();
                for x in columns {
                    let mut y = cut.depth + 0.16;
                    while y < 1.05 {
                        buttons.push(dot([*x, y], 0.024));
                        y += 0.17;
                    }
                }
                cloth.fill(&mapped(&buttons, map), if self.trimmed { self.trim } else { dark });
                for side in [-1.0, 1.0] {
                    line(cloth, vec![[side * 0.15, 0.9], [side * 0.27, 0.86]], 0.026, dark, 0.8);
                }
            }
            _ => {
                let neckline = cut.neckline().0;
                let mirror = flipped(std::slice::from_ref(&neckline)).remove(0);
                let rib = if self.trimmed { 0.075 } else { 0.05 };
                for half in [neckline, mirror] {
                    line(cloth, half, rib, self.trim, 1.0);
                }
                if self.shape != Shape::OnePiece {
                    let hem = band([-0.8, cut.hem - 0.035], [0.8, cut.hem + 0.1]);
                    let colour = if self.trimmed { self.trim } else { dark };
                    let alpha = if self.trimmed { 1.0 } else { 0.18 };
                    cloth.tint(&mapped(&[hem], map), colour, alpha);
                }
            }
        }
        if cut.belt {
            let belt = band([-0.6, 0.6], [0.6, 0.665]);
            cloth.fill(&mapped(&[belt], map), if self.trimmed { self.trim } else { dark });
        }
    }

    /// Lays one sleeve of a garment with sleeves.
    pub fn dress_arm(&self, canvas: &mut Canvas, cloth: &mut Canvas, frame: &Frame, side: Side) {
        let Some(outline) = self.cut.sleeve() else {
            return;
        };
        let outlines = [outline];
        let map = |point| frame.arm(side, point);
        // The pattern on the arm begins at the height of that on the chest.
        let [low, high] = bounds(outlines.iter().flatten());
        let down = 0.1;
        let shifted = |[x, y]: Point| map([x, y - down]);
        let extent = [[low[0], low[1] + down], [high[0], high[1] + down]];
        self.print.paint(cloth, extent, None, &shifted);
        let unit = frame.unit;
        // The light comes from the left.
        let shadow = |from: f32| {
            let (near, far) = match side {
                Side::Left => (-from, -0.3),
                Side::Right => (from, 0.3),
            };
            band([near, low[1] - 0.1], [far, high[1] + 0.1])
        };
        for from in [0.0, 0.04] {
            cloth.tint(&mapped(&[shadow(from)], map), [0; 3], 0.06);
        }
        let end = self.cut.sleeve_end * ARM;
        let width = if self.trimmed { 0.05 } else { 0.03 };
        let cuff = band([-0.3, end - width], [0.3, end + 0.1]);
        let dark = shade(self.print.colours[0], 0.55);
        match self.trimmed {
            true => cloth.fill(&mapped(&[cuff], map), self.trim),
            false => cloth.tint(&mapped(&[cuff], map), dark, 0.18),
        }
        let outlines = mapped(&outlines, map);
        cloth.edge(&outlines, 0.034 * unit, dark, 0.75);
        canvas.lay(&outlines, cloth, Part::Arm(side));
    }
}
