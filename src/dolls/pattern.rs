//! Prints on cloth. A pattern has the garment's own measures and goes through the garment's map: it bends with the
//! body.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::canvas::{Canvas, Colour, between, shade};
use super::outlines::{Line, Point, band, dot, ellipse, heart, mapped, star};

/// A kind of print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    Plain,
    /// Upright stripes.
    Stripes,
    /// Horizontal stripes.
    Bands,
    Checks,
    Dots,
    Flowers,
    Gradient,
    Motif,
}

impl Pattern {
    pub const ALL: [Pattern; 8] = [
        Pattern::Plain,
        Pattern::Stripes,
        Pattern::Bands,
        Pattern::Checks,
        Pattern::Dots,
        Pattern::Flowers,
        Pattern::Gradient,
        Pattern::Motif,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Motif {
    Heart,
    Star,
    Sun,
    Block,
    Mountain,
}

/// Cloth colours. A garment has slight variations of them.
const PALETTE: [Colour; 22] = [
    [244, 242, 236], // white
    [36, 38, 44],    // black
    [34, 52, 96],    // navy
    [52, 108, 190],  // blue
    [128, 182, 226], // sky
    [30, 128, 128],  // teal
    [128, 206, 186], // mint
    [38, 112, 66],   // green
    [126, 160, 70],  // moss
    [190, 218, 92],  // lime
    [246, 216, 84],  // yellow
    [226, 164, 46],  // mustard
    [240, 128, 52],  // orange
    [248, 168, 136], // peach
    [206, 48, 52],   // red
    [124, 30, 52],   // wine
    [232, 92, 138],  // pink
    [246, 190, 208], // rose
    [148, 92, 176],  // violet
    [200, 176, 228], // lilac
    [124, 84, 58],   // brown
    [220, 198, 162], // sand
];

/// Returns how different two colours are.
fn contrast(a: Colour, b: Colour) -> u32 {
    (0..3).map(|c| u32::from(a[c].abs_diff(b[c]))).sum()
}

fn cloth_colour(rng: &mut impl RngExt) -> Colour {
    let colour = PALETTE.choose(rng).expect("there are colours");
    colour.map(|value| (i32::from(value) + rng.random_range(-12..=12)).clamp(0, 250) as u8)
}

/// Draws a colour that differs from the others by at least `least`.
fn unlike(rng: &mut impl RngExt, others: &[Colour], least: u32) -> Colour {
    // The palette is varied enough to find one soon.
    loop {
        let colour = cloth_colour(rng);
        if others.iter().all(|other| contrast(colour, *other) >= least) {
            return colour;
        }
    }
}

/// A pattern in its colours and sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Print {
    pub pattern: Pattern,
    /// The ground, the pattern, and a third colour that some patterns have.
    pub colours: [Colour; 3],
    /// Distance from one element to the next.
    period: f32,
    /// The share of the period that an element takes.
    share: f32,
    /// Beginning of the pattern, in periods.
    start: f32,
    motif: Motif,
}

impl Print {
    /// Draws a print with one of the patterns.
    pub fn draw(rng: &mut impl RngExt, patterns: &[Pattern]) -> Print {
        let pattern = *patterns.choose(rng).expect("there are patterns");
        let ground = cloth_colour(rng);
        let figure = unlike(rng, &[ground], 170);
        let third = unlike(rng, &[ground, figure], 120);
        let motifs = [Motif::Heart, Motif::Star, Motif::Sun, Motif::Block, Motif::Mountain];
        Print {
            pattern,
            colours: [ground, figure, third],
            period: rng.random_range(0.11..0.21),
            share: rng.random_range(0.35..0.6),
            start: rng.random(),
            motif: *motifs.choose(rng).expect("there are motifs"),
        }
    }

    /// Paints the pattern between two corners in the cloth's measures. `chest`: the place of a motif, None on a piece
    /// without room for one.
    pub fn paint(
        &self,
        canvas: &mut Canvas,
        [low, high]: [Point; 2],
        chest: Option<Point>,
        map: &dyn Fn(Point) -> Point,
    ) {
        let [ground, figure, third] = self.colours;
        canvas.flood(ground);
        let mut fill = |outlines: Vec<Vec<Point>>, colour: Colour, alpha: f32| {
            canvas.tint(&mapped(&outlines, map), colour, alpha);
        };
        let upright = |width: f32| {
            // The spine is in the middle of a stripe or of a gap: both halves look the same.
            let middle = if self.start < 0.5 { 0.0 } else { self.period / 2.0 };
            steps(low[0], high[0], self.period, middle - width / 2.0)
                .map(|x| band([x, low[1]], [x + width, high[1]]))
                .collect()
        };
        let lying = |width: f32| {
            steps(low[1], high[1], self.period, self.start * self.period)
                .map(|y| band([low[0], y], [high[0], y + width]))
                .collect()
        };
        let width = self.period * self.share;
        match self.pattern {
            Pattern::Plain => {}
            Pattern::Stripes => fill(upright(width), figure, 1.0),
            Pattern::Bands => fill(lying(width), figure, 1.0),
            Pattern::Checks => {
                fill(upright(self.period / 2.0), figure, 0.55);
                fill(lying(self.period / 2.0), figure, 0.55);
            }
            Pattern::Dots => {
                let radius = self.period * (0.12 + 0.3 * self.share);
                let dots = self.lattice(low, high, 1.1);
                fill(dots.map(|at| dot(at, radius)).collect(), figure, 1.0);
            }
            Pattern::Flowers => {
                let size = self.period * 0.3;
                let places: Vec<Point> = self.lattice(low, high, 1.6).collect();
                // Five petals, one upwards.
                let petals = [[0.0, -1.0], [0.951, -0.309], [0.588, 0.809], [-0.588, 0.809], [-0.951, -0.309]];
                let petal = |at: &Point| petals.map(|[x, y]| dot([at[0] + x * size, at[1] + y * size], size * 0.72));
                fill(places.iter().flat_map(petal).collect(), figure, 1.0);
                let centre = |at: &Point| dot(*at, size * 0.62);
                fill(places.iter().map(centre).collect(), third, 1.0);
            }
            Pattern::Gradient => {
                // From the neck to the hem of a long garment. Each step covers the rest of the one before: no seams.
                let steps = 28;
                for i in 0..=steps {
                    let share = i as f32 / steps as f32;
                    let y = 0.12 + share * 0.95;
                    let top = if i == 0 { low[1] } else { y };
                    if top < high[1] {
                        let part = band([low[0], top], [high[0], high[1]]);
                        fill(vec![part], between(ground, figure, share), 1.0);
                    }
                }
            }
            Pattern::Motif => {
                if let Some([x, y]) = chest {
                    self.paint_motif([x, y], &mut fill, figure, third);
                }
            }
        }
    }

    fn paint_motif(
        &self,
        [x, y]: Point,
        fill: &mut impl FnMut(Vec<Vec<Point>>, Colour, f32),
        figure: Colour,
        third: Colour,
    ) {
        let at = [x, y];
        let size = 0.1 + 0.1 * self.share;
        match self.motif {
            Motif::Heart => {
                fill(vec![heart(at, size * 1.15)], figure, 1.0);
                fill(vec![dot([x - 0.4 * size, y - 0.4 * size], size * 0.2)], shade(figure, 1.5), 1.0);
            }
            Motif::Star => {
                fill(vec![ellipse(at, [size * 1.2; 2])], third, 1.0);
                fill(vec![star(at, size * 1.1)], figure, 1.0);
            }
            Motif::Sun => {
                fill(vec![star(at, size * 1.4), star_down(at, size * 1.4)], third, 1.0);
                fill(vec![ellipse(at, [size * 0.8; 2])], figure, 1.0);
            }
            Motif::Block => {
                fill(vec![band([x - 0.2, y - 0.09], [x + 0.2, y + 0.09])], figure, 1.0);
                fill(vec![band([x - 0.2, y - 0.03], [x + 0.2, y + 0.03])], third, 1.0);
            }
            Motif::Mountain => {
                fill(vec![ellipse(at, [size * 1.3; 2])], third, 1.0);
                let ridge = Line::from([x - 1.1 * size, y + 0.65 * size])
                    .to([x - 0.35 * size, y - 0.45 * size])
                    .to([x, y + 0.05 * size])
                    .to([x + 0.4 * size, y - 0.75 * size])
                    .to([x + 1.1 * size, y + 0.65 * size]);
                fill(vec![ridge.0], figure, 1.0);
            }
        }
    }

    /// Returns places in rows, every other row offset by half a step. `loose`: their distance in periods.
    fn lattice(&self, low: Point, high: Point, loose: f32) -> impl Iterator<Item = Point> + use<> {
        let period = self.period * loose;
        let start = self.start * period;
        let rows = steps(low[1], high[1], period * 0.8, start).enumerate();
        // Counted from a fixed height: a row's offset must not depend on the top of the piece.
        let first = ((low[1] - start) / (period * 0.8)).floor() as i32;
        rows.flat_map(move |(i, y)| {
            let set_off = if (first + i as i32).rem_euclid(2) == 0 { 0.0 } else { 0.5 };
            steps(low[0], high[0], period, set_off * period).map(move |x| [x, y])
        })
    }
}

fn star_down(centre: Point, radius: f32) -> Vec<Point> {
    star([0.0; 2], radius).iter().map(|[x, y]| [centre[0] + x, centre[1] - y]).collect()
}

/// Returns start + k * period for whole k, from just below `low` to just above `high`.
fn steps(low: f32, high: f32, period: f32, start: f32) -> impl Iterator<Item = f32> {
    let first = ((low - start) / period).floor() as i32;
    let last = ((high - start) / period).ceil() as i32;
    (first..=last).map(move |k| start + k as f32 * period)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::rng;

    #[test]
    fn the_colours_of_a_print_differ() {
        for number in 0..300 {
            let [ground, figure, third] = Print::draw(&mut rng(1, "test", number), &Pattern::ALL).colours;
            assert!(contrast(ground, figure) >= 170);
            assert!(contrast(ground, third).min(contrast(figure, third)) >= 120);
        }
    }

    #[test]
    fn every_pattern_but_plain_shows_on_the_cloth() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..100 {
            let print = Print::draw(&mut rng(1, "test", number), &Pattern::ALL);
            let mut cloth = Canvas::new([60, 60], [0; 3]);
            let map = |[x, y]: Point| [30.0 + 40.0 * x, 40.0 * y];
            print.paint(&mut cloth, [[-0.75, 0.0], [0.75, 1.5]], Some([0.0, 0.5]), &map);
            let picture = cloth.picture();
            let other = picture.pixels().filter(|pixel| pixel.0 != print.colours[0]);
            assert_eq!(other.count() > 100, print.pattern != Pattern::Plain, "{print:?}");
            seen.insert(print.pattern);
        }
        assert_eq!(seen.len(), Pattern::ALL.len());
    }
}
