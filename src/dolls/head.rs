//! Heads: hair and face.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::canvas::{Canvas, Colour, between, shade};
use super::frame::Frame;
use super::outlines::{Line, Point, arc, dot, ellipse, flipped, mapped, unit};

const HAIRS: [Colour; 10] = [
    [30, 24, 24],
    [52, 36, 30],
    [84, 54, 36],
    [120, 76, 44],
    [158, 106, 60],
    [198, 154, 92],
    [228, 196, 132],
    [154, 62, 38],
    [128, 128, 132],
    [206, 204, 202],
];

const EYES: [Colour; 4] = [[70, 44, 30], [54, 92, 120], [70, 104, 66], [40, 32, 30]];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hair {
    Cropped,
    Short,
    Bob,
    Long,
    Bun,
    Curly,
    Ponytail,
}

pub struct Head {
    skin: Colour,
    hair: Hair,
    hair_colour: Colour,
    length: f32,
    /// Place of the hair's parting: left below 0.
    parting: f32,
    eyes: Colour,
    lips: Colour,
    smile: f32,
    beard: bool,
    /// Breadth relative to the usual one.
    broad: f32,
    tilt: f32,
    size: f32,
}

impl Head {
    /// Draws a head.
    pub fn draw(rng: &mut impl RngExt, skin: Colour) -> Head {
        let hairs =
            [Hair::Cropped, Hair::Short, Hair::Bob, Hair::Long, Hair::Long, Hair::Bun, Hair::Curly, Hair::Ponytail];
        let red = [196, 82, 84];
        let hair = *hairs.choose(rng).expect("there are styles");
        Head {
            skin,
            hair,
            hair_colour: *HAIRS.choose(rng).expect("there are colours"),
            length: rng.random_range(0.45..0.85),
            parting: rng.random_range(-0.09..0.09),
            eyes: *EYES.choose(rng).expect("there are colours"),
            lips: between(shade(skin, 0.62), red, rng.random_range(0.2..0.8)),
            smile: rng.random_range(0.012..0.045),
            beard: matches!(hair, Hair::Cropped | Hair::Short) && rng.random_bool(0.4),
            broad: rng.random_range(0.93..1.07),
            tilt: rng.random_range(-0.16..0.16),
            size: rng.random_range(0.98..1.1),
        }
    }

    /// Returns the map from the head's own measures (middle at 0, height about half a unit) to pixels.
    fn map(&self, frame: &Frame) -> impl Fn(Point) -> Point + use<> {
        let neck = frame.body([0.0, -0.12]);
        let [c, s] = unit([1.0, self.tilt]);
        let scale = self.size * frame.unit;
        let broad = self.broad;
        move |[x, y]: Point| {
            let (x, y) = (x * broad, y - 0.21);
            [neck[0] + scale * (c * x - s * y), neck[1] + scale * (s * x + c * y)]
        }
    }

    /// Paints the hair behind head and shoulders.
    pub fn paint_behind(&self, canvas: &mut Canvas, frame: &Frame) {
        let map = self.map(frame);
        let back = match self.hair {
            Hair::Cropped | Hair::Short | Hair::Bun => return,
            Hair::Bob => vec![hanging(0.235, 0.225 + 0.1 * (self.length - 0.45))],
            Hair::Long => vec![hanging(0.25, self.length)],
            Hair::Curly => curls(),
            Hair::Ponytail => {
                let side = if self.parting < 0.0 { 1.0 } else { -1.0 };
                let tail = Line::from([side * 0.1, -0.2])
                    .curve([side * 0.38, -0.2], [side * 0.33, 0.3])
                    .curve([side * 0.25, 0.1], [side * 0.1, -0.1]);
                vec![tail.0]
            }
        };
        let back = mapped(&back, map);
        canvas.fill(&back, shade(self.hair_colour, 0.82));
    }

    /// Paints face and hair, in front of everything.
    pub fn paint(&self, canvas: &mut Canvas, frame: &Frame) {
        let map = self.map(frame);
        let unit = frame.unit * self.size;
        let dark = shade(self.skin, 0.74);
        let ears = [ellipse([-0.183, 0.01], [0.03, 0.048]), ellipse([0.183, 0.01], [0.03, 0.048])];
        let ears = mapped(&ears, &map);
        canvas.edge(&ears, 0.018 * unit, dark, 1.0);
        canvas.fill(&ears, self.skin);
        let face: Vec<Point> = arc(0, 23).iter().map(|[x, y]| jaw(*x, *y)).collect();
        let face = mapped(&[face], &map);
        canvas.edge(&face, 0.018 * unit, dark, 1.0);
        canvas.fill(&face, self.skin);
        self.paint_face(canvas, unit, &map);
        let colour = self.hair_colour;
        let hair = mapped(&self.front(), &map);
        canvas.edge(&hair, 0.014 * unit, shade(colour, 0.7), 0.8);
        canvas.fill(&hair, colour);
        // A highlight.
        let shine =
            Line::from([-0.13, -0.17]).curve([-0.08, -0.235], [0.0, -0.24]).curve([-0.07, -0.21], [-0.13, -0.17]);
        let light = shade(colour, 1.35);
        canvas.tint(&mapped(&[shine.0], &map), light, 0.6);
    }

    fn paint_face(&self, canvas: &mut Canvas, unit: f32, map: &impl Fn(Point) -> Point) {
        let skin = self.skin;
        let both = |shape: Vec<Point>| {
            let shape = [shape];
            mapped(&[flipped(&shape), shape.to_vec()].concat(), map)
        };
        canvas.tint(&both(ellipse([0.105, 0.075], [0.04, 0.028])), [226, 98, 88], 0.22);
        canvas.fill(&both(ellipse([0.078, 0.0], [0.034, 0.022])), [250, 248, 244]);
        canvas.fill(&both(dot([0.078, 0.0], 0.0185)), self.eyes);
        canvas.fill(&both(dot([0.078, 0.0], 0.009)), [20, 16, 16]);
        let lid = |y: f32, high: f32| Line::from([0.038, y]).curve([0.078, y - high], [0.116, y]).0;
        let lids = both(lid(-0.006, 0.034));
        for lid in &lids {
            canvas.line(lid, 0.013 * unit, shade(skin, 0.3), 0.9);
        }
        let brow = between(self.hair_colour, shade(skin, 0.4), 0.4);
        for line in &both(lid(-0.06, 0.03)) {
            canvas.line(line, 0.018 * unit, brow, 0.9);
        }
        let nose = Line::from([0.004, 0.035]).curve([0.03, 0.085], [-0.004, 0.088]).0;
        canvas.line(&mapped(&[nose], map)[0], 0.014 * unit, shade(skin, 0.66), 0.9);
        if self.beard {
            let chin: Vec<Point> = arc(0, 12).iter().map(|[x, y]| jaw(*x, *y * 1.02)).collect();
            let cheek = Line::from([-0.188, 0.0])
                .curve([-0.15, 0.12], [-0.08, 0.108])
                .curve([0.0, 0.085], [0.08, 0.108])
                .curve([0.15, 0.12], [0.188, 0.0]);
            canvas.fill(&mapped(&[[chin, cheek.0].concat()], map), shade(self.hair_colour, 0.94));
        }
        let mouth = Line::from([-0.062, 0.138])
            .curve([0.0, 0.138 + self.smile], [0.062, 0.138])
            .curve([0.0, 0.16 + 2.2 * self.smile], [-0.062, 0.138]);
        canvas.fill(&mapped(&[mouth.0], map), self.lips);
    }

    /// Returns the hair in front.
    fn front(&self) -> Vec<Vec<Point>> {
        let part = self.parting;
        // The hairline from the left temple over the parting to the right temple.
        let (temple, top) = match self.hair {
            Hair::Cropped => (-0.05, -0.17),
            _ => (0.0, -0.16),
        };
        let hairline =
            Line::from([-0.185, temple]).curve([-0.17, -0.1], [part, top]).curve([0.17, -0.1], [0.185, temple]);
        let bulge: f32 = if self.hair == Hair::Cropped { 1.03 } else { 1.1 };
        // The way back over the top of the head.
        let over = arc(12, 24).into_iter().rev();
        let over = over.map(|[x, y]| [x * 0.192 * bulge.min(1.08), y * 0.262 * bulge]);
        let cap = hairline.0.into_iter().chain(over).collect();
        let strand = |end: f32, wide: f32| {
            let right = Line::from([0.1, -0.22])
                .curve([0.22, -0.17], [0.218, 0.02])
                .curve([0.215, end * 0.6], [0.24, end])
                .to([0.24 - wide, end - 0.01])
                .curve([0.165, end * 0.5], [0.172, 0.02])
                .curve([0.17, -0.1], [0.1, -0.22]);
            vec![right.0.iter().map(|[x, y]| [-x, *y]).collect(), right.0]
        };
        match self.hair {
            Hair::Cropped | Hair::Short | Hair::Ponytail => vec![cap],
            Hair::Bob => [vec![cap], strand(0.22 + 0.1 * (self.length - 0.45), 0.08)].concat(),
            Hair::Long => [vec![cap], strand(self.length - 0.06, 0.085)].concat(),
            Hair::Bun => vec![cap, ellipse([-part, -0.33], [0.1, 0.09])],
            Hair::Curly => {
                let curls = arc(-11, -1).into_iter();
                let curls = curls.map(|[x, y]| dot([x * 0.185, y * 0.2 - 0.045], 0.07));
                std::iter::once(cap).chain(curls).collect()
            }
        }
    }
}

/// Maps a point of the unit circle to a head's outline, an egg.
fn jaw(x: f32, y: f32) -> Point {
    let narrow = 1.0 - 0.22 * y.max(0.0) * y.max(0.0);
    [0.188 * x * narrow, 0.255 * y]
}

/// Returns hair that hangs down to `end`.
fn hanging(wide: f32, end: f32) -> Vec<Point> {
    Line::from([0.0, -0.285])
        .curve([0.21, -0.285], [0.225, -0.02])
        .curve([wide - 0.02, end * 0.6], [wide + 0.02, end - 0.03])
        .curve([0.15, end + 0.03], [0.0, end + 0.01])
        .mirrored()
}

fn curls() -> Vec<Vec<Point>> {
    let around = arc(-14, 2).into_iter();
    let curls = around.map(|[x, y]| dot([x * 0.235, y * 0.25 - 0.02], 0.085));
    let middle = ellipse([0.0, -0.03], [0.25, 0.26]);
    std::iter::once(middle).chain(curls).collect()
}
