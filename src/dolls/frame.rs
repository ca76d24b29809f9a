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
        let up = 1.0 - y;
        let side = match up > 0.0 {
            true => self.lean * up + self.bend * up * (1.0 - up),
            false => self.sway * -up,
        };
        let drop = self.tilt * x * up.clamp(0.0, 1.0);
        [self.origin[0] + self.unit * (x * self.girth(y) + side), self.origin[1] + self.unit * (y + drop)]
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
        /// The arm is round up to this share of its length from the elbow.
        const ROUND: f32 = 0.2;
        let shoulder = self.body([side.sign() * SHOULDER[0], SHOULDER[1]]);
        let joint = |[x, y]: Point| [shoulder[0] + side.sign() * x * self.unit, shoulder[1] + y * self.unit];
        let [elbow, wrist] = self.arms[side as usize].map(joint);
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
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

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
