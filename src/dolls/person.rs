//! People: build, skin, pose, and clothes below the waist. Nothing here depends on the garment above.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::canvas::{Canvas, Colour, between, shade};
use super::frame::{ARM, Frame, Side};
use super::head::Head;
use super::outlines::{Line, Point, ellipse, flipped, mapped};
use super::shape::Shape;

/// The right half of the briefs that everybody wears. All swimwear covers them.
pub const BRIEFS: [Point; 9] = [
    [0.0, 0.915],
    [0.2, 0.905],
    [0.31, 0.874],
    [0.317, 0.886],
    [0.23, 0.918],
    [0.165, 0.95],
    [0.085, 1.03],
    [0.045, 1.085],
    [0.0, 1.09],
];

/// From light to dark.
const SKINS: [Colour; 8] = [
    [252, 226, 208],
    [244, 206, 178],
    [232, 184, 150],
    [212, 158, 120],
    [186, 130, 94],
    [150, 98, 68],
    [112, 72, 50],
    [78, 50, 38],
];

const CLOTHES: [Colour; 9] = [
    [58, 84, 128],
    [42, 48, 70],
    [44, 42, 44],
    [122, 150, 186],
    [196, 178, 148],
    [112, 112, 116],
    [98, 104, 74],
    [226, 222, 212],
    [120, 78, 66],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lower {
    Trousers,
    Shorts,
    Skirt,
    Bare,
}

#[derive(Clone, Copy)]
enum Arm {
    Hanging,
    Out,
    Hip,
    Belly,
    Raised,
}

/// A part of an arm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Whole,
    Forearm,
}

/// One person.
pub struct Person {
    pub head: Head,
    skin: Colour,
    lower: Lower,
    lower_colour: Colour,
    lower_length: f32,
    lower_flare: f32,
    girths: [f32; 4],
    arm_girth: f32,
    /// The share of the picture that one unit takes.
    scale: f32,
    /// The neck's place: shares of the picture's width and of the unit.
    place: Point,
    lean: f32,
    bend: f32,
    sway: f32,
    tilt: f32,
    stance: f32,
    arms: [[Point; 2]; 2],
}

impl Person {
    /// Draws a person. `own`: the garment in their own photo; nobody swims in trousers.
    pub fn draw(rng: &mut impl RngExt, own: Shape) -> Person {
        let tone = rng.random_range(0.0..(SKINS.len() - 1) as f32);
        let skin = between(SKINS[tone as usize], SKINS[tone as usize + 1], tone - tone.floor());
        use Lower::{Bare, Shorts, Skirt, Trousers};
        let lower = match own {
            Shape::Bikini | Shape::OnePiece => [Bare, Bare, Bare, Bare, Shorts],
            Shape::Dress => [Shorts, Shorts, Shorts, Shorts, Trousers],
            Shape::Coat => [Trousers, Trousers, Trousers, Skirt, Shorts],
            _ => [Trousers, Trousers, Shorts, Skirt, Skirt],
        };
        let lower = *lower.choose(rng).expect("there are clothes");
        let lower_colour = *CLOTHES.choose(rng).expect("there are colours");
        let lower_length = match lower {
            // A dress hides them.
            Shorts if own == Shape::Dress => rng.random_range(1.2..1.3),
            Shorts => rng.random_range(1.3..1.5),
            _ => rng.random_range(1.4..1.75),
        };
        let size = rng.random_range(0.93..1.07);
        let [shoulders, chest, waist, hips] =
            [0.09, 0.07, 0.1, 0.08].map(|range: f32| size + rng.random_range(-range..range));
        let arms = Side::BOTH.map(|_| arm(rng));
        let lean = rng.random_range(-0.14..0.14);
        Person {
            head: Head::draw(rng, skin),
            skin,
            lower,
            lower_colour,
            lower_length,
            lower_flare: rng.random_range(0.02..0.16),
            girths: [shoulders, chest, waist, hips],
            arm_girth: size * rng.random_range(0.92..1.1),
            scale: rng.random_range(0.355..0.44),
            place: [rng.random_range(0.45..0.55), rng.random_range(0.74..0.82)],
            lean,
            bend: rng.random_range(-0.12..0.12) - lean * 0.5,
            sway: rng.random_range(-0.04..0.04),
            tilt: rng.random_range(-0.09..0.09),
            stance: rng.random_range(0.0..0.09),
            arms,
        }
    }

    /// Places this person in a picture of a size.
    pub fn frame(&self, [height, width]: [f32; 2]) -> Frame {
        // In a narrow picture the elbows limit the unit.
        let unit = self.scale * height.min(width * 1.4);
        // In a tall picture the feet are at the bottom.
        let neck = (self.place[1] * unit).max(height - 2.35 * unit);
        Frame {
            origin: [self.place[0] * width, neck],
            unit,
            girths: self.girths,
            lean: self.lean,
            bend: self.bend,
            sway: self.sway,
            tilt: self.tilt,
            arms: self.arms,
            arm_girth: self.arm_girth,
        }
    }

    /// Paints legs, torso, neck and whole arms.
    pub fn paint_body(&self, canvas: &mut Canvas, frame: &Frame) {
        let map = |point| frame.body(point);
        let edge = 0.02 * frame.unit;
        let dark = shade(self.skin, 0.74);
        let leg = self.leg(0.0, 2.3);
        for leg in [flipped(std::slice::from_ref(&leg)).remove(0), leg] {
            let leg = mapped(&[leg], map);
            canvas.edge(&leg, edge, dark, 1.0);
            canvas.fill(&leg, self.skin);
        }
        let flank = Line::from([0.0, -0.22])
            .to([0.092, -0.22])
            .curve([0.088, -0.05], [0.15, -0.008])
            .to([0.27, 0.046])
            .curve([0.35, 0.085], [0.335, 0.2])
            .curve([0.315, 0.3], [0.305, 0.38])
            .curve([0.3, 0.5], [0.258, 0.64])
            .curve([0.3, 0.8], [0.325, 0.95])
            .to([0.325, 1.04]);
        // No edge below, where the legs continue.
        let flanks = [flank.0.clone(), flank.0.iter().map(|[x, y]| [-x, *y]).collect()];
        for flank in mapped(&flanks, map) {
            canvas.line(&flank, edge, dark, 1.0);
        }
        for side in Side::BOTH {
            self.paint_arm(canvas, frame, side, Reach::Whole);
        }
        canvas.fill(&mapped(&[flank.to([0.0, 1.075]).mirrored()], map), self.skin);
        // The chin's shadow, and the navel.
        let neck = Line::from([0.0, -0.22]).to([0.09, -0.2]).curve([0.08, -0.06], [0.0, -0.04]);
        canvas.tint(&mapped(&[neck.mirrored()], map), shade(self.skin, 0.6), 0.4);
        canvas.tint(&mapped(&[ellipse([0.0, 0.72], [0.012, 0.02])], map), dark, 0.8);
        let briefs = Line(BRIEFS.to_vec()).mirrored();
        canvas.fill(&mapped(&[briefs], map), [214, 208, 200]);
    }

    /// Paints a whole arm, or the forearm alone, which may be in front of the garment.
    pub fn paint_arm(&self, canvas: &mut Canvas, frame: &Frame, side: Side, reach: Reach) {
        let map = |point| frame.arm(side, point);
        let dark = shade(self.skin, 0.74);
        // Both use the same steps: the forearm is then exactly on the whole arm.
        let first = match reach {
            Reach::Whole => 2,
            Reach::Forearm => 10,
        };
        let inner: Vec<Point> = (first..=24)
            .map(|step| {
                let along = ARM * step as f32 / 24.0;
                [-0.082 + (along - 0.1).max(0.0) * 0.046, along]
            })
            .collect();
        let mut outer: Vec<Point> = inner.iter().map(|[x, y]| [-x, *y]).collect();
        if reach == Reach::Whole {
            let round = Line::from([0.0, -0.075]).curve([0.07, -0.07], [0.08, 0.04]);
            outer = [round.0, outer].concat();
        }
        let hand = ellipse([0.0, ARM + 0.06], [0.055, 0.085]);
        let thumb = ellipse([-0.045, ARM + 0.035], [0.022, 0.05]);
        let hands = mapped(&[hand, thumb], map);
        let width = 0.02 * frame.unit;
        canvas.edge(&hands, width, dark, 1.0);
        // The round end of a line that began with the forearm would show in the crook of the arm.
        let skipped = usize::from(reach == Reach::Forearm);
        for line in mapped(&[inner.clone(), outer.clone()], map) {
            canvas.line(&line[skipped..], width, dark, 1.0);
        }
        let whole = inner.into_iter().rev().chain(outer).collect();
        canvas.fill(&mapped(&[whole], map), self.skin);
        canvas.fill(&hands, self.skin);
    }

    /// Paints trousers, shorts or a skirt.
    pub fn paint_lower(&self, canvas: &mut Canvas, frame: &Frame) {
        let map = |point| frame.body(point);
        let dark = shade(self.lower_colour, 0.6);
        let edge = 0.03 * frame.unit;
        let seat =
            |end: f32| Line::from([0.0, 0.82]).to([0.305, 0.8]).curve([0.362, 0.85], [0.362, 0.98]).to([0.362, end]);
        let outlines = match self.lower {
            Lower::Bare => return,
            Lower::Skirt => {
                let hem = self.lower_length;
                let skirt = seat(1.0).to([0.37 + self.lower_flare, hem]).curve([0.2, hem + 0.03], [0.0, hem + 0.03]);
                vec![skirt.mirrored()]
            }
            Lower::Trousers | Lower::Shorts => {
                let (ease, end) = match self.lower {
                    Lower::Shorts => (0.045, self.lower_length),
                    _ => (0.02 + 0.2 * self.lower_flare, 2.4),
                };
                let leg = self.leg(ease, end);
                let seat = seat(1.07).to([0.0, 1.12]);
                vec![seat.mirrored(), flipped(std::slice::from_ref(&leg)).remove(0), leg]
            }
        };
        let outlines = mapped(&outlines, map);
        canvas.edge(&outlines, edge, dark, 1.0);
        canvas.fill(&outlines, self.lower_colour);
        let belt = vec![[-0.3, 0.8], [0.3, 0.8], [0.31, 0.85], [-0.31, 0.85]];
        canvas.tint(&mapped(&[belt], map), dark, 0.6);
        let line = |canvas: &mut Canvas, points: Vec<Point>, alpha: f32| {
            let points = mapped(&[Line(points).0], map).remove(0);
            canvas.line(&points, 0.014 * frame.unit, dark, alpha);
        };
        match self.lower {
            Lower::Skirt => {
                for x in [-0.2, 0.0, 0.2] {
                    line(canvas, vec![[x * 0.8, 0.95], [x * 1.3, self.lower_length]], 0.6);
                }
            }
            _ => {
                line(canvas, vec![[0.0, 0.85], [0.0, 1.1]], 0.8);
                for side in [-1.0, 1.0] {
                    line(canvas, vec![[side * 0.19, 0.86], [side * 0.3, 0.98]], 0.8);
                }
            }
        }
    }

    /// Returns the right leg, `ease` broader than it is, down to `end`.
    fn leg(&self, ease: f32, end: f32) -> Vec<Point> {
        let spread = |y: f32| self.stance * (y - 1.0);
        // Height, inner and outer side.
        const LEG: [[f32; 3]; 5] =
            [[1.0, 0.0, 0.325], [1.3, 0.04, 0.31], [1.68, 0.075, 0.245], [1.9, 0.06, 0.25], [2.4, 0.09, 0.17]];
        let at = |y: f32, column: usize| {
            let next = LEG.iter().position(|row| y < row[0]).unwrap_or(LEG.len() - 1).max(1);
            let (a, b) = (LEG[next - 1], LEG[next]);
            a[column] + (b[column] - a[column]) * (y - a[0]) / (b[0] - a[0])
        };
        let side = |column: usize, ease: f32, seat: f32| -> Vec<Point> {
            (0..=12)
                .map(|i| {
                    let y = 1.0 + (end - 1.0) * i as f32 / 12.0;
                    // Trousers are as broad as their seat at the top.
                    let loose = ease * ((y - 1.0) * 4.0).min(1.0) + seat * ((1.2 - y) * 5.0).max(0.0);
                    [at(y, column) + spread(y) + loose, y]
                })
                .collect()
        };
        let inner = side(1, -ease, 0.0).into_iter().map(|[x, y]| [x.max(0.0), y]);
        let outer = side(2, ease, 0.037 * f32::from(ease > 0.0));
        outer.into_iter().chain(inner.rev()).collect()
    }
}

/// Draws elbow and wrist, relative to the shoulder.
fn arm(rng: &mut impl RngExt) -> [Point; 2] {
    use Arm::{Belly, Hanging, Hip, Out, Raised};
    let pose = [Hanging, Hanging, Hanging, Out, Out, Hip, Hip, Belly, Raised];
    let [elbow, wrist] = match pose.choose(rng).expect("there are poses") {
        Hanging => [[0.13, 0.41], [0.15, 0.82]],
        Out => [[0.21, 0.36], [0.38, 0.74]],
        Hip => [[0.29, 0.33], [0.04, 0.65]],
        Belly => [[0.13, 0.4], [-0.17, 0.56]],
        Raised => [[0.26, 0.33], [0.53, 0.05]],
    };
    let mut near = |[x, y]: Point| [x + rng.random_range(-0.025..0.035), y + rng.random_range(-0.03..0.03)];
    [near(elbow), near(wrist)]
}
