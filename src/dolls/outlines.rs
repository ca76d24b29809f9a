//! Outlines as lists of points. Sums, products, quotients and square roots only: unlike sines and cosines these are the
//! same on every machine.

/// (x, y): rightwards and downwards.
pub type Point = [f32; 2];

/// Returns the point a share of the way from `a` to `b`.
pub fn lerp(a: Point, b: Point, share: f32) -> Point {
    [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share]
}

/// Scales `a` to length 1.
pub fn unit(a: Point) -> Point {
    let length = (a[0] * a[0] + a[1] * a[1]).sqrt().max(1e-6);
    [a[0] / length, a[1] / length]
}

/// Returns a point of the quadratic Bézier curve from `a` to `b`.
pub fn quadratic(a: Point, control: Point, b: Point, t: f32) -> Point {
    lerp(lerp(a, control, t), lerp(control, b, t), t)
}

/// Points in a turn of [`arc`].
pub const TURN: i32 = 24;

/// Returns points on the unit circle, from `from` to `to` in 24ths of a turn, clockwise from the right.
pub fn arc(from: i32, to: i32) -> Vec<Point> {
    // cos and sin of 0, 15, ... 75 degrees.
    const QUARTER: [Point; 6] = [
        [1.0, 0.0],
        [0.965_925_8, 0.258_819_04],
        [0.866_025_4, 0.5],
        [0.707_106_77, 0.707_106_77],
        [0.5, 0.866_025_4],
        [0.258_819_04, 0.965_925_8],
    ];
    (from..=to)
        .map(|place| {
            let place = place.rem_euclid(TURN) as usize;
            let [x, y] = QUARTER[place % 6];
            match place / 6 {
                0 => [x, y],
                1 => [-y, x],
                2 => [-x, -y],
                _ => [y, -x],
            }
        })
        .collect()
}

/// Returns an ellipse.
pub fn ellipse(centre: Point, radii: Point) -> Vec<Point> {
    arc(0, TURN - 1).into_iter().map(|[x, y]| [centre[0] + radii[0] * x, centre[1] + radii[1] * y]).collect()
}

/// Returns a small circle, of half as many points.
pub fn dot(centre: Point, radius: f32) -> Vec<Point> {
    let mut points = ellipse(centre, [radius; 2]);
    let mut odd = false;
    points.retain(|_| {
        odd = !odd;
        odd
    });
    points
}

/// Returns a rectangle whose sides have points enough to be bent.
pub fn band(from: Point, to: Point) -> Vec<Point> {
    let corners = [from, [to[0], from[1]], to, [from[0], to[1]]];
    Line::from(corners[0]).to(corners[1]).to(corners[2]).to(corners[3]).to(corners[0]).0
}

/// Returns a star with five points, one upwards.
pub fn star(centre: Point, radius: f32) -> Vec<Point> {
    // cos and sin of 18, 54, 90, ... degrees, outer and inner corners in turn.
    const CORNERS: [Point; 10] = [
        [0.0, -1.0],
        [0.235, -0.324],
        [0.951, -0.309],
        [0.38, 0.124],
        [0.588, 0.809],
        [0.0, 0.4],
        [-0.588, 0.809],
        [-0.38, 0.124],
        [-0.951, -0.309],
        [-0.235, -0.324],
    ];
    CORNERS.map(|[x, y]| [centre[0] + radius * x, centre[1] + radius * y]).to_vec()
}

/// Returns a heart.
pub fn heart(centre: Point, radius: f32) -> Vec<Point> {
    let at = |x: f32, y: f32| [centre[0] + radius * x, centre[1] + radius * y];
    Line::from(at(0.0, -0.4))
        .curve(at(0.2, -1.0), at(0.6, -0.85))
        .curve(at(1.1, -0.7), at(0.9, -0.1))
        .curve(at(0.7, 0.4), at(0.0, 0.95))
        .curve(at(-0.7, 0.4), at(-0.9, -0.1))
        .curve(at(-1.1, -0.7), at(-0.6, -0.85))
        .curve(at(-0.2, -1.0), at(0.0, -0.4))
        .0
}

/// A line that grows, point by point.
#[derive(Clone)]
pub struct Line(pub Vec<Point>);

impl Line {
    /// Starts a line.
    pub fn from(start: Point) -> Self {
        Line(vec![start])
    }

    fn last(&self) -> Point {
        *self.0.last().expect("a line has a start")
    }

    /// Adds a straight piece, in steps short enough to be bent.
    pub fn to(mut self, end: Point) -> Self {
        let start = self.last();
        let length = (end[0] - start[0]).abs().max((end[1] - start[1]).abs());
        let steps = (length / 0.1).ceil().clamp(1.0, 24.0) as i32;
        self.0.extend((1..=steps).map(|i| lerp(start, end, i as f32 / steps as f32)));
        self
    }

    /// Adds a quadratic Bézier curve.
    pub fn curve(mut self, control: Point, end: Point) -> Self {
        let start = self.last();
        self.0.extend((1..=8).map(|i| quadratic(start, control, end, i as f32 / 8.0)));
        self
    }

    /// Closes this right half with its mirror image in x = 0.
    pub fn mirrored(self) -> Vec<Point> {
        let left = self.0.iter().rev().map(|[x, y]| [-x, *y]);
        let left: Vec<Point> = left.collect();
        [self.0, left].concat()
    }
}

/// Whether a point is inside a closed outline: an odd number of its sides is to the right.
pub fn inside(outline: &[Point], [x, y]: Point) -> bool {
    let sides = outline.iter().zip(outline.iter().cycle().skip(1));
    let right =
        sides.filter(|(a, b)| (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]));
    right.count() % 2 == 1
}

/// Maps every point of the outlines.
pub fn mapped(outlines: &[Vec<Point>], map: impl Fn(Point) -> Point) -> Vec<Vec<Point>> {
    let outline = |outline: &Vec<Point>| outline.iter().map(|point| map(*point)).collect();
    outlines.iter().map(outline).collect()
}

/// Mirrors the outlines in x = 0.
pub fn flipped(outlines: &[Vec<Point>]) -> Vec<Vec<Point>> {
    mapped(outlines, |[x, y]| [-x, y])
}

/// Returns the lower and the upper corner of all points.
pub fn bounds<'a>(points: impl IntoIterator<Item = &'a Point>) -> [Point; 2] {
    let start = [[f32::INFINITY; 2], [f32::NEG_INFINITY; 2]];
    points.into_iter().fold(start, |[low, high], point| {
        [[low[0].min(point[0]), low[1].min(point[1])], [high[0].max(point[0]), high[1].max(point[1])]]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_round() {
        let circle = ellipse([1.0, 2.0], [3.0; 2]);
        assert_eq!(circle.len(), 24);
        for [x, y] in &circle {
            assert!(((x - 1.0).hypot(y - 2.0) - 3.0).abs() < 1e-5);
        }
        // A quarter turn from the right goes down.
        assert_eq!(arc(6, 6), [[0.0, 1.0]].map(|[x, y]: Point| [-0.0 - x, y]));
        assert_eq!(arc(-6, -6)[0][1], -1.0);
        assert_eq!(dot([0.0; 2], 1.0).len(), 12);
    }

    #[test]
    fn inside_a_square_with_a_notch() {
        let outline = [[0.0, 0.0], [2.0, 1.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]];
        for (point, is) in [([2.0, 3.0], true), ([2.0, 0.9], false), ([1.0, 0.6], true), ([5.0, 2.0], false)] {
            assert_eq!(inside(&outline, point), is, "{point:?}");
        }
    }

    #[test]
    fn a_half_is_mirrored() {
        let whole = Line::from([0.0, 0.0]).to([0.1, 0.0]).to([0.0, 0.1]).mirrored();
        assert_eq!(whole, [[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [0.0, 0.1], [-0.1, 0.0], [0.0, 0.0]]);
        assert_eq!(bounds(&whole), [[-0.1, 0.0], [0.1, 0.1]]);
    }
}
