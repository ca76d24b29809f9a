//! Poses: the map from the doll's own measures to pixels. Garments are cut in the same measures: one map dresses a
//! person, another one lays the garment flat.
//!
//! The body's measures: the spine at x = 0, the base of the neck at y = 0, the crotch near y = 1. An arm's measures:
//! the distance to its outer side, and the distance along it.

use super::outlines::{Point, lerp, quadratic, unit};

/// The beginning of the right arm.
pub const SHOULDER: Point = [0.31, 0.15];
/// The length of an arm down to the wrist.
pub const ARM: f32 = 0.84;
/// An arm is round up to this share of its length from the elbow.
const ROUND: f32 = 0.2;
/// The heights of [`Frame::girths`]: shoulders, chest, waist, hips.
const HEIGHTS: [f32; 4] = [0.08, 0.32, 0.64, 0.95];

/// A pose in a picture.
#[derive(Clone)]
pub struct Frame {
    /// The base of the neck, in pixels.
    pub origin: Point,
    /// Pixels of one of the doll's own units.
    pub unit: f32,
    /// The body's breadths at [`HEIGHTS`], relative to the usual ones.
    pub girths: [f32; 4],
    /// Sideways distance of the neck from the hips.
    pub lean: f32,
    /// Bend of the spine.
    pub bend: f32,
    /// Sideways slant of the legs and their clothes.
    pub sway: f32,
    /// Slope of the shoulders: above 0 the right one is lower.
    pub tilt: f32,
    /// Elbow and wrist relative to the shoulder, of the left arm (mirrored) and of the right arm.
    pub arms: [[Point; 2]; 2],
    /// The arms' thickness relative to the usual one.
    pub arm_girth: f32,
}

/// An arm. Left is left in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A part of a garment. Each has a map of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Body,
    Arm(Side),
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Left, Side::Right];

    /// Returns -1 for left, 1 for right.
    pub fn sign(self) -> f32 {
        match self {
            Side::Left => -1.0,
            Side::Right => 1.0,
        }
    }
}

impl Frame {
    /// Makes the pose of a garment that lies flat: straight, the arms a little out.
    pub fn flat(origin: Point, unit: f32) -> Frame {
        Frame {
            origin,
            unit,
            girths: [1.0; 4],
            lean: 0.0,
            bend: 0.0,
            sway: 0.0,
            tilt: 0.0,
            arms: [[[0.16, 0.388], [0.32, 0.776]]; 2],
            arm_girth: 1.0,
        }
    }

    /// Maps a point of the body to pixels.
    pub fn body(&self, [x, y]: Point) -> Point {
        let drop = self.tilt * x * (1.0 - y).clamp(0.0, 1.0);
        [self.origin[0] + self.unit * (x * self.girth(y) + self.spine(y)), self.origin[1] + self.unit * (y + drop)]
    }

    /// Returns the point of the body at a place in pixels: the inverse of [`Frame::body`].
    pub fn body_at(&self, [x, y]: Point) -> Point {
        let [right, down] = [(x - self.origin[0]) / self.unit, (y - self.origin[1]) / self.unit];
        let along = |y: f32| (right - self.spine(y)) / self.girth(y);
        // The tilt is small: each turn comes at least five times nearer.
        let turn = |y: f32| down - self.tilt * along(y) * (1.0 - y).clamp(0.0, 1.0);
        let y = (0..12).fold(down, |y, _| turn(y));
        [along(y), y]
    }

    /// Returns how far the middle of the body is to the right of the hips.
    fn spine(&self, y: f32) -> f32 {
        let up = 1.0 - y;
        match up > 0.0 {
            true => self.lean * up + self.bend * up * (1.0 - up),
            false => self.sway * -up,
        }
    }

    fn girth(&self, y: f32) -> f32 {
        let next = HEIGHTS.iter().position(|height| y < *height);
        match next {
            Some(0) => self.girths[0],
            None => self.girths[3],
            Some(i) => {
                let share = (y - HEIGHTS[i - 1]) / (HEIGHTS[i] - HEIGHTS[i - 1]);
                let smooth = share * share * (3.0 - 2.0 * share);
                self.girths[i - 1] + (self.girths[i] - self.girths[i - 1]) * smooth
            }
        }
    }

    /// Maps a point of an arm to pixels. `out`: distance to its outer side; `along`: 0 at the shoulder, [`ARM`] at the
    /// wrist.
    pub fn arm(&self, side: Side, [out, along]: Point) -> Point {
        let [shoulder, elbow, wrist] = self.joints(side);
        let upper = |t: f32| lerp(shoulder, elbow, 2.0 * t);
        let lower = |t: f32| lerp(elbow, wrist, 2.0 * t - 1.0);
        let t = along / ARM;
        let (at, ahead) = if t <= 0.5 - ROUND {
            (upper(t), minus(elbow, shoulder))
        } else if t >= 0.5 + ROUND {
            (lower(t), minus(wrist, elbow))
        } else {
            let (a, b) = (upper(0.5 - ROUND), lower(0.5 + ROUND));
            let share = (t - 0.5 + ROUND) / (2.0 * ROUND);
            let ahead = minus(lerp(elbow, b, share), lerp(a, elbow, share));
            (quadratic(a, elbow, b, share), ahead)
        };
        let ahead = unit(ahead);
        let across = side.sign() * out * self.arm_girth * self.unit;
        [at[0] + ahead[1] * across, at[1] - ahead[0] * across]
    }

    /// Returns the point of an arm at a place in pixels: the inverse of [`Frame::arm`]. In the crook of a bent arm,
    /// where several points meet, it is the one nearest to the arm's middle.
    pub fn arm_at(&self, side: Side, at: Point) -> Point {
        let [shoulder, elbow, wrist] = self.joints(side);
        // The share of the way from `a` to `b` at which the place is beside the way.
        let beside = |a: Point, b: Point| {
            let way = minus(b, a);
            dot(minus(at, a), way) / dot(way, way).max(1e-12)
        };
        let (a, b) = (lerp(shoulder, elbow, 1.0 - 2.0 * ROUND), lerp(elbow, wrist, 2.0 * ROUND));
        let upper = 0.5 * beside(shoulder, elbow);
        let lower = 0.5 + 0.5 * beside(elbow, wrist);
        // The middle of the arm, its direction, and the share of its length, wherever the place is straight beside it.
        let mut found = Vec::with_capacity(4);
        if upper <= 0.5 - ROUND {
            found.push((lerp(shoulder, elbow, 2.0 * upper), minus(elbow, shoulder), upper));
        }
        if lower >= 0.5 + ROUND {
            found.push((lerp(elbow, wrist, 2.0 * lower - 1.0), minus(wrist, elbow), lower));
        }
        let bend = |share: f32| {
            let (middle, ahead) = (quadratic(a, elbow, b, share), minus(lerp(elbow, b, share), lerp(a, elbow, share)));
            (middle, ahead, 0.5 - ROUND + 2.0 * ROUND * share)
        };
        // Above 0 where the place is still ahead.
        let before = |share: f32| {
            let (middle, ahead, _) = bend(share);
            dot(minus(at, middle), ahead)
        };
        /// Parts of the bend, in each of which it is as good as straight.
        const PARTS: u8 = 12;
        for part in 0..PARTS {
            let [mut low, mut high] = [part, part + 1].map(|k| f32::from(k) / f32::from(PARTS));
            if before(low) < 0.0 || before(high) > 0.0 {
                continue;
            }
            for _ in 0..20 {
                let middle = (low + high) / 2.0;
                match before(middle) > 0.0 {
                    true => low = middle,
                    false => high = middle,
                }
            }
            found.push(bend((low + high) / 2.0));
        }
        let far = |middle: Point| dot(minus(at, middle), minus(at, middle));
        let nearest = found.into_iter().min_by(|(a, ..), (b, ..)| far(*a).total_cmp(&far(*b)));
        // Rounding may leave a place between two of the three pieces.
        let (middle, ahead, share) = nearest.unwrap_or_else(|| if upper < lower { bend(0.0) } else { bend(1.0) });
        let [x, y] = unit(ahead);
        let across = dot(minus(at, middle), [y, -x]);
        [side.sign() * across / (self.arm_girth * self.unit), share * ARM]
    }

    /// Maps a point of a part of a garment to pixels.
    pub fn map(&self, part: Part, point: Point) -> Point {
        match part {
            Part::Body => self.body(point),
            Part::Arm(side) => self.arm(side, point),
        }
    }

    /// Returns the point of a part of a garment at a place in pixels: the inverse of [`Frame::map`].
    pub fn point_at(&self, part: Part, place: Point) -> Point {
        match part {
            Part::Body => self.body_at(place),
            Part::Arm(side) => self.arm_at(side, place),
        }
    }

    /// Returns shoulder, elbow and wrist in pixels.
    fn joints(&self, side: Side) -> [Point; 3] {
        let shoulder = self.body([side.sign() * SHOULDER[0], SHOULDER[1]]);
        let joint = |[x, y]: Point| [shoulder[0] + side.sign() * x * self.unit, shoulder[1] + y * self.unit];
        let [elbow, wrist] = self.arms[side as usize].map(joint);
        [shoulder, elbow, wrist]
    }
}

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dolls::person::Person;
    use crate::dolls::shape::Shape;
    use crate::random::rng;

    #[test]
    fn lying_flat_keeps_the_measures() {
        let flat = Frame::flat([100.0, 50.0], 10.0);
        assert_eq!(flat.body([2.0, 3.0]), [120.0, 80.0]);
        // Along (0.16, 0.388), whose length is 0.42: half an arm. The left arm mirrors the right one.
        let [x, y] = flat.arm(Side::Right, [0.0, 0.21]);
        assert!((x - (100.0 + 3.1 + 0.8)).abs() < 1e-3 && (y - (50.0 + 1.5 + 1.94)).abs() < 1e-3);
        let [right, left] = [Side::Right, Side::Left].map(|side| flat.arm(side, [0.1, 0.6]));
        assert!((right[0] - 100.0 + left[0] - 100.0).abs() < 1e-3 && right[1] == left[1]);
        assert!(right[0] > flat.arm(Side::Right, [0.0, 0.6])[0]);
    }

    /// The poses of 40 people in pictures of 128 x 96, and one that lies flat.
    fn poses() -> impl Iterator<Item = Frame> {
        let person = |number| Person::draw(&mut rng(3, "test", number), Shape::Coat).frame([128.0, 96.0]);
        (0..40).map(person).chain([Frame::flat([48.0, 20.0], 50.0)])
    }

    fn apart(a: Point, b: Point) -> f32 {
        let [x, y] = minus(a, b);
        x.hypot(y)
    }

    #[test]
    fn places_on_the_body_lead_back_to_their_points() {
        for pose in poses() {
            for (x, y) in (-8..=8).flat_map(|x| (-3..=22).map(move |y| (x as f32 / 10.0, y as f32 / 10.0))) {
                let back = pose.body_at(pose.body([x, y]));
                assert!(apart(back, [x, y]) < 1e-4, "{x} {y} came back as {back:?}");
            }
        }
    }

    #[test]
    fn places_on_an_arm_lead_back_to_their_points() {
        let (mut all, mut crook) = (0, 0);
        for pose in poses() {
            for side in Side::BOTH {
                for (out, along) in
                    (-7..=7).flat_map(|out| (-4..=43).map(move |y| (out as f32 / 50.0, y as f32 / 50.0)))
                {
                    let place = pose.arm(side, [out, along]);
                    let back = pose.arm_at(side, place);
                    let again = pose.arm(side, back);
                    assert!(apart(again, place) < 0.01, "{out} {along} at {place:?} came back as {back:?}");
                    // In the crook another point of the arm meets there, no farther from the middle.
                    let other = apart(back, [out, along]) > 1e-3;
                    assert!(!other || back[0].abs() < out.abs() + 1e-4, "{out} {along} came back as {back:?}");
                    all += 1;
                    crook += usize::from(other);
                }
            }
        }
        assert!((1..all / 20).contains(&crook), "{crook} of {all} points are in a crook");
    }

    #[test]
    fn an_arm_has_no_jumps() {
        let mut frame = Frame::flat([0.0; 2], 1.0);
        frame.arms[1] = [[0.3, 0.3], [0.0, 0.6]];
        for out in [-0.1, 0.0, 0.1] {
            for i in 0..200 {
                let at = |i| frame.arm(Side::Right, [out, ARM * i as f32 / 200.0]);
                let [dx, dy] = minus(at(i + 1), at(i));
                assert!(dx.hypot(dy) < 0.02, "{out} {i}");
            }
        }
    }
}
