//! Cuts of garments: outlines in the doll's own measures (see [`super::frame`]).

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::frame::ARM;
use super::outlines::{Line, Point, band};
use super::shape::Shape;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neck {
    Round,
    Pointed,
    Square,
}

/// The cut of one garment.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    pub neck: Neck,
    /// Depth of the neckline.
    pub depth: f32,
    /// Distance of the neckline's end on the shoulder from the middle.
    neck_width: f32,
    /// Breadth of the shoulder piece of a garment without sleeves.
    strap: f32,
    /// Length of the sleeves as a share of the arm; 0 without sleeves.
    pub sleeve_end: f32,
    sleeve_width: f32,
    /// Height of the hem.
    pub hem: f32,
    /// Distance that it stands out at the hem.
    flare: f32,
    /// Distance from the body.
    ease: f32,
    pub belt: bool,
    /// Whether it has two rows of buttons.
    pub double: bool,
    /// Whether a bikini's top is a band instead of cups.
    straight: bool,
    /// Height of swimwear's cut at the leg.
    leg: f32,
}

/// Returns the height of the shoulder's line at x.
fn shoulder(x: f32) -> f32 {
    -0.035 + (x - 0.1) * 0.4
}

impl Cut {
    /// Draws a cut of a shape.
    pub fn draw(rng: &mut impl RngExt, shape: Shape) -> Cut {
        let necks = [Neck::Round, Neck::Round, Neck::Pointed, Neck::Square];
        let mut within = |low: f32, high: f32| rng.random_range(low..high);
        let sleeveless = matches!(shape, Shape::Bikini | Shape::OnePiece | Shape::TankTop);
        let depth = match shape {
            Shape::Coat => within(0.28, 0.46),
            Shape::TShirt | Shape::LongSleeve => within(0.06, 0.2),
            _ => within(0.12, 0.27),
        };
        let hem = match shape {
            Shape::Dress => within(1.35, 1.95),
            Shape::Coat => within(1.2, 1.75),
            Shape::TankTop => within(0.82, 1.02),
            _ => within(0.88, 1.08),
        };
        let flare = match shape {
            Shape::Dress => within(0.1, 0.34),
            Shape::Coat => within(0.06, 0.16),
            _ => within(0.0, 0.06),
        };
        let ease = match shape {
            Shape::Bikini | Shape::OnePiece => 0.012,
            Shape::Coat => within(0.04, 0.07),
            Shape::TankTop | Shape::Dress => within(0.012, 0.03),
            _ => within(0.015, 0.05),
        };
        let neck_width = if sleeveless { within(0.13, 0.18) } else { within(0.12, 0.17) };
        let (strap, leg) = (within(0.05, 0.12), within(0.0, 0.06));
        let short = within(0.26, 0.42);
        let sleeve_width = match shape {
            Shape::Coat => within(0.125, 0.14),
            Shape::LongSleeve => within(0.1, 0.125),
            _ => within(0.115, 0.14),
        };
        let sleeve_end = match shape {
            Shape::LongSleeve => within(0.9, 1.0),
            Shape::Coat => within(0.95, 1.02),
            Shape::TShirt => short,
            Shape::Dress => *[0.0, 0.0, short, 0.96].choose(rng).expect("there are sleeves"),
            _ => 0.0,
        };
        Cut {
            neck: match shape {
                Shape::Coat => Neck::Pointed,
                _ => *necks.choose(rng).expect("there are necks"),
            },
            depth,
            neck_width,
            strap,
            sleeve_end,
            sleeve_width,
            hem,
            flare,
            ease,
            belt: matches!(shape, Shape::Dress | Shape::Coat) && rng.random_bool(0.4),
            double: rng.random_bool(0.35),
            straight: rng.random_bool(0.4),
            leg,
        }
    }

    /// Returns the end of the neckline on the right shoulder.
    pub fn neck_end(&self) -> Point {
        [self.neck_width, shoulder(self.neck_width) - 0.01]
    }

    /// Returns the right half of the neckline, from the middle outwards.
    pub fn neckline(&self) -> Line {
        let end = self.neck_end();
        let start = Line::from([0.0, self.depth]);
        match self.neck {
            Neck::Round => start.curve([self.neck_width * 0.95, self.depth], end),
            Neck::Pointed => start.to(end),
            Neck::Square => start.to([self.neck_width * 0.86, self.depth]).to(end),
        }
    }

    /// Returns the outlines of all but the sleeves. They may overlap.
    pub fn body(&self, shape: Shape) -> Vec<Vec<Point>> {
        let e = self.ease;
        let top = || {
            let line = self.neckline();
            if self.sleeve_end > 0.0 {
                line.to([0.335, shoulder(0.335) - e * 0.6])
                    .curve([0.37 + e * 0.5, 0.08], [0.36 + e, 0.18])
                    .to([0.32 + e, 0.36])
            } else {
                let end = self.neck_width + self.strap;
                line.to([end, shoulder(end) - 0.012]).curve([end - 0.01, 0.3], [0.32 + e, 0.37])
            }
        };
        let waist = |line: Line, at: f32| line.curve([0.30 + e, 0.5], [at + e, 0.64]);
        let half = match shape {
            Shape::Bikini => return self.bikini(),
            Shape::OnePiece => self.legs(waist(top(), 0.268).curve([0.326, 0.8], [0.342, 0.86])),
            Shape::TankTop | Shape::TShirt | Shape::LongSleeve => waist(top(), 0.275 + 0.5 * e)
                .curve([0.31 + e, 0.8], [0.34 + e + self.flare * self.hem, self.hem])
                .to([0.0, self.hem + 0.015]),
            Shape::Dress | Shape::Coat => {
                let narrow = if shape == Shape::Coat { 0.285 } else { 0.262 };
                waist(top(), narrow)
                    .curve([0.34 + e, 0.85], [0.36 + e + self.flare * 0.45, 1.1])
                    .to([0.37 + e + self.flare, self.hem])
                    .curve([0.2, self.hem + 0.045], [0.0, self.hem + 0.045])
            }
        };
        vec![half.mirrored()]
    }

    /// Continues a line from the hip around the leg.
    fn legs(&self, line: Line) -> Line {
        let side = 0.95 - self.leg;
        line.to([0.345, side]).curve([0.15, 0.97 - 0.3 * self.leg], [0.062, 1.1]).to([0.0, 1.11])
    }

    fn bikini(&self) -> Vec<Vec<Point>> {
        let briefs = self.legs(Line::from([0.0, 0.9]).curve([0.2, 0.9], [0.328, 0.84])).mirrored();
        let mut pieces = vec![briefs];
        if self.straight {
            let top = Line::from([0.0, 0.25])
                .curve([0.1, 0.15], [0.325, 0.2])
                .to([0.322, 0.37])
                .curve([0.15, 0.42], [0.0, 0.38]);
            pieces.push(top.mirrored());
        } else {
            let cup = Line::from([0.17, 0.04])
                .curve([0.27, 0.18], [0.305, 0.36])
                .curve([0.16, 0.45], [0.025, 0.36])
                .curve([0.1, 0.2], [0.145, 0.04])
                .0;
            pieces.push(cup.iter().map(|[x, y]| [-x, *y]).collect());
            pieces.push(cup);
            pieces.push(band([-0.325, 0.355], [0.325, 0.392]));
        }
        let end = if self.straight { 0.2 } else { 0.06 };
        for side in [-1.0, 1.0] {
            let strap = [[0.135, -0.03], [0.17, -0.02], [0.176, end], [0.146, end]];
            pieces.push(strap.map(|[x, y]| [side * x, y]).to_vec());
        }
        pieces
    }

    /// Returns a sleeve in an arm's measures.
    pub fn sleeve(&self) -> Option<Vec<Point>> {
        if self.sleeve_end == 0.0 {
            return None;
        }
        let end = self.sleeve_end * ARM;
        let wide = self.sleeve_width;
        // It narrows with the arm towards the wrist.
        let narrow = wide - (wide - 0.085) * (self.sleeve_end - 0.3).max(0.0) / 0.7;
        let right = Line::from([0.0, -0.088])
            .curve([wide * 0.8, -0.088], [wide, 0.06])
            .to([narrow, end])
            .to([-narrow, end])
            .to([-wide, 0.12])
            .curve([-wide * 0.9, -0.06], [0.0, -0.088]);
        Some(right.0)
    }

    /// Returns the inside of the back, which shows in the neckline of a garment that lies flat.
    pub fn back(&self, shape: Shape) -> Option<Vec<Point>> {
        if self.sleeve_end == 0.0 || shape.swimwear() {
            return None;
        }
        let [x, y] = self.neck_end();
        let back = Line::from([0.0, y + 0.035]).curve([x * 0.7, y + 0.03], [x, y + 0.005]);
        // It continues a little under the front.
        let front = self.neckline().0.into_iter().rev();
        let front = front.map(|[x, y]| [x, y + 0.03]);
        Some(Line([back.0, front.collect()].concat()).mirrored())
    }

    /// Returns the folds on the right side.
    pub fn folds(&self, shape: Shape) -> Vec<Vec<Point>> {
        let fold = |from: Point, to: Point, width: f32| {
            let middle = [(from[0] + to[0]) / 2.0 - width, (from[1] + to[1]) / 2.0 + width];
            Line::from(from).curve(middle, to).curve([middle[0] + width, middle[1] + width], from).0
        };
        match shape {
            Shape::Bikini | Shape::OnePiece => vec![],
            Shape::TankTop | Shape::TShirt | Shape::LongSleeve => {
                vec![fold([0.31, 0.4], [0.12, 0.5], 0.03), fold([0.3, 0.66], [0.1, 0.72], 0.03)]
            }
            Shape::Dress | Shape::Coat => {
                let hem = self.hem + 0.02;
                let foot = 0.26 + self.flare * 0.6;
                let pleat = |x: f32, foot: f32, width: f32| vec![[x, 0.7], [foot - width, hem], [foot + width, hem]];
                vec![fold([0.31, 0.4], [0.12, 0.5], 0.03), pleat(0.08, 0.3 * foot, 0.03), pleat(0.18, foot, 0.035)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dolls::outlines::inside;
    use crate::dolls::person::BRIEFS;
    use crate::random::rng;

    #[test]
    fn swimwear_covers_the_briefs() {
        for number in 0..200 {
            for shape in [Shape::Bikini, Shape::OnePiece] {
                let cut = Cut::draw(&mut rng(0, "test", number), shape);
                let outlines = cut.body(shape);
                for point in BRIEFS {
                    let point = [point[0] + 1e-3, point[1]];
                    assert!(outlines.iter().any(|outline| inside(outline, point)), "{cut:?} {point:?}");
                }
            }
        }
    }
}
