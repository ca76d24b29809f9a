//! Registration: the affine map from a photo to the picture of the article that is worn in it, found by search.

use tch::{Device, Kind, Tensor};

use super::mask::{reach, widened};
use crate::native::{parallel_for, sent};

/// The distance of two colours, as a share of the range from black to white, from which on they count as unlike.
const UNLIKE: f32 = 0.3;
/// Weight of the distance of colours over the whole article beside that inside the mask: the mask may be too large, and
/// then the article, seen from the mask alone, would be, too.
const SEEN: f32 = 0.7;
/// Weight of the share of the article that lies outside the mask: much of it may be hidden, little of it is free.
const OUTSIDE: f32 = 0.04;
/// What a map that is the given one costs less, and the distance from it (a root mean square over the mask, in halves of
/// the picture) at which a map costs e^(-1/2) of that less. Early in training, the given map is far from all others, and
/// decides nothing.
const KNOWN: f32 = 0.1;
const KNOWN_NEAR: f32 = 0.2;
/// Weight of the squared deviation from a similarity, whose unit is [`STRETCH`] and [`SHEAR`].
const SHAPE: f32 = 0.005;
const STRETCH: f32 = 0.3;
const SHEAR: f32 = 0.15;
/// The largest values of the parameters: logarithm of the scale, stretch, turn in radians, shear.
const MOST: [f32; 4] = [1.5, 0.5, 0.8, 0.3];
/// Starts of the search, as factors of the moments' scales.
const ACROSS: [f32; 3] = [0.75, 1.0, 1.3];
const DOWN: [f32; 4] = [0.5, 0.75, 1.0, 1.3];
/// Starts that are refined.
const KEPT: usize = 2;
/// Rounds and first rate of the refinements, at half size and at full size.
const ROUNDS: [(usize, f32); 2] = [(30, 0.04), (40, 0.012)];
/// The distance of colours, inside the mask and over the article, up to which a map is sure, and from which on it has
/// the least confidence. On dolls maps below the first are off by .6 pixels of 64, those above the second by 3.4.
const APART: [f32; 2] = [0.11, 0.17];
const UNSURE: f32 = 0.05;

/// Registered pairs.
#[derive(Debug)]
pub struct Registered {
    /// `[N, 2, 3]`: maps (x, y, 1), a place in the photo, to the place in the article's picture. Both are in the
    /// coordinates of [`super::blocks::places`].
    pub map: Tensor,
    /// `[N]` in [0, 1].
    pub confidence: Tensor,
}

/// Registers photos with the articles that are worn in them. It minimises the mean distance of colours inside the mask,
/// with places beside the article as unlike, and over the article, and weakly the share of the article outside the mask.
/// A map near the first of the given ones costs less: colours do not tell the shift of stripes, nor where a hidden half
/// lies. The confidence is by the distances. A pair is a function of its own pictures and maps alone.
///
/// # Shapes
/// `human`, `article`: `[N, 3, H, W]` in [-1, 1]; `region`: the article's, `[N, 1, H, W]` in [0, 1]; `mask`: where it is
/// worn, `[N, 1, H, W]` of 0 and 1; `starts`: `[N, K, 2, 3]`, maps to begin with beside those from the moments.
pub fn registered(human: &Tensor, article: &Tensor, region: &Tensor, mask: &Tensor, starts: &Tensor) -> Registered {
    let [n, _, height, width] = human.size()[..] else { unreachable!("[N, 3, H, W]") };
    let (device, near) = (human.device(), widened(mask, reach(2.0, height)));
    let flat = [human, article, region, mask, &near, starts]
        .map(|xs| xs.detach().to_kind(Kind::Float).contiguous().flatten(0, -1));
    let list = |xs: &Tensor| Vec::<f32>::try_from(xs).expect("float32");
    let [human, article, region, mask, near, starts] = match device {
        Device::Cpu => flat.each_ref().map(list),
        // One copy, since each waits for the device.
        _ => {
            let mut all = list(&Tensor::cat(&flat, 0)).into_iter();
            flat.each_ref().map(|part| all.by_ref().take(part.numel()).collect())
        }
    };
    let size = [height as usize, width as usize];
    let area = size[0] * size[1];
    let given = starts.len() / n as usize;
    let mut found = vec![[0f32; 7]; n as usize];
    let places = std::sync::Mutex::new(&mut found);
    parallel_for(n as usize, |i| {
        let part = |xs: &[f32], channels: usize| xs[i * channels * area..(i + 1) * channels * area].to_vec();
        let full =
            Level::new(size, part(&human, 3), part(&article, 3), part(&region, 1), part(&mask, 1), part(&near, 1));
        let result = search(&full, &starts[i * given..(i + 1) * given]);
        places.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[i] = result;
    });
    let found = sent(&Tensor::from_slice(found.as_flattened()), device).reshape([n, 7]);
    Registered { map: found.narrow(1, 0, 6).reshape([n, 2, 3]), confidence: found.select(1, 6) }
}

/// Returns the best map's six numbers and its confidence.
fn search(full: &Level, given: &[f32]) -> [f32; 7] {
    let half = full.halved();
    let Some(frame) = Frame::of(full, given) else {
        // No mask or no article: the middle of either, without confidence.
        return [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    };
    let mut starts: Vec<(f32, Parameters)> =
        frame.starts(full, given).into_iter().map(|p| (half.cost(&frame, &p).value, p)).collect();
    starts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let refined = starts.into_iter().take(KEPT).map(|(_, start)| half.refined(&frame, start, ROUNDS[0]));
    let (_, best) = refined.min_by(|a, b| a.0.total_cmp(&b.0)).expect("at least one start");
    let (_, best) = full.refined(&frame, best, ROUNDS[1]);
    let [a, b] = frame.matrix(&best);
    let apart = full.cost(&frame, &best).apart;
    let confidence = ((APART[1] - apart) / (APART[1] - APART[0])).clamp(UNSURE, 1.0);
    [a[0], a[1], a[2], b[0], b[1], b[2], confidence]
}

/// Logarithm of the scale, stretch, turn, shear; then where the mask's middle goes, x and y.
type Parameters = [f32; 6];

/// A map that is likely to be near.
struct Known {
    /// Its six numbers.
    map: [f32; 6],
    /// The means over the mask of the products of (x, y, 1).
    products: [[f32; 3]; 3],
}

impl Known {
    fn of(level: &Level, map: &[f32]) -> Known {
        let mut products = [[0f32; 3]; 3];
        let mut total = 1e-6;
        for (i, weight) in level.mask.iter().enumerate() {
            let [x, y] = place(level.size, i);
            total += weight;
            for (row, a) in products.iter_mut().zip([x, y, 1.0]) {
                for (sum, b) in row.iter_mut().zip([x, y, 1.0]) {
                    *sum += weight * a * b;
                }
            }
        }
        let products = products.map(|row| row.map(|sum| sum / total));
        Known { map: std::array::from_fn(|k| map[k]), products }
    }

    /// What a map's distance costs, and the slope by its six numbers.
    fn cost(&self, map: [[f32; 3]; 2]) -> (f32, [f32; 6]) {
        let off: [[f32; 3]; 2] = std::array::from_fn(|r| std::array::from_fn(|k| map[r][k] - self.map[3 * r + k]));
        let by: [[f32; 3]; 2] = off.map(|off| self.products.map(|row| (0..3).map(|k| row[k] * off[k]).sum()));
        let squared: f32 = (0..2).map(|r| (0..3).map(|k| off[r][k] * by[r][k]).sum::<f32>()).sum();
        let near = KNOWN * (-squared / (2.0 * KNOWN_NEAR * KNOWN_NEAR)).exp();
        (-near, std::array::from_fn(|k| near / (KNOWN_NEAR * KNOWN_NEAR) * by[k / 3][k % 3]))
    }
}

/// The coordinates of a search.
struct Frame {
    /// The middle of the mask.
    middle: [f32; 2],
    /// Width over height.
    aspect: f32,
    known: Option<Known>,
}

impl Frame {
    fn of(level: &Level, given: &[f32]) -> Option<Frame> {
        let (mask, _) = moments(level.size, &level.mask)?;
        moments(level.size, &level.region)?;
        let known = (!given.is_empty()).then(|| Known::of(level, given));
        Some(Frame { middle: mask, aspect: level.size[1] as f32 / level.size[0] as f32, known })
    }

    /// The two by two part in square units, and its derivatives by the first four parameters.
    fn linear(&self, p: &Parameters) -> ([f32; 4], [[f32; 4]; 4]) {
        let [size, stretch, turn, shear, ..] = *p;
        let (sin, cos) = turn.sin_cos();
        let (a, b, s) = ((size + stretch).exp(), (size - stretch).exp(), shear * size.exp());
        // Turn times [[a, s], [0, b]].
        let m = [cos * a, cos * s - sin * b, sin * a, sin * s + cos * b];
        let by_stretch = [cos * a, sin * b, sin * a, -cos * b];
        let by_turn = [-sin * a, -sin * s - cos * b, cos * a, cos * s - sin * b];
        let by_shear = [0.0, cos * size.exp(), 0.0, sin * size.exp()];
        (m, [m, by_stretch, by_turn, by_shear])
    }

    /// The rows of the map.
    fn matrix(&self, p: &Parameters) -> [[f32; 3]; 2] {
        let (m, _) = self.linear(p);
        let [x, y] = self.middle;
        let m = [m[0], m[1] / self.aspect, m[2] * self.aspect, m[3]];
        [[m[0], m[1], p[4] - m[0] * x - m[1] * y], [m[2], m[3], p[5] - m[2] * x - m[3] * y]]
    }

    /// The parameters of a map; `None` if it mirrors or is far from a similarity.
    fn parameters(&self, map: &[f32]) -> Option<Parameters> {
        let [x, y] = self.middle;
        let m = [map[0], map[1] * self.aspect, map[3] / self.aspect, map[4]];
        let (a, turn) = (m[0].hypot(m[2]), m[2].atan2(m[0]));
        let b = (m[0] * m[3] - m[1] * m[2]) / a;
        let s = (m[0] * m[1] + m[2] * m[3]) / a;
        let usable = a > 1e-3 && b > 1e-3 && map.iter().all(|v| v.is_finite());
        usable.then(|| {
            let size = (a * b).ln() / 2.0;
            let p = [size, (a / b).ln() / 2.0, turn, s / size.exp()];
            let p: [f32; 4] = std::array::from_fn(|k| p[k].clamp(-MOST[k], MOST[k]));
            [p[0], p[1], p[2], p[3], map[0] * x + map[1] * y + map[2], map[3] * x + map[4] * y + map[5]]
        })
    }

    /// The starts: the given maps, and those from the moments, with other scales, from the middle and from the top.
    fn starts(&self, level: &Level, given: &[f32]) -> Vec<Parameters> {
        let mut starts: Vec<_> = given.chunks(6).filter_map(|map| self.parameters(map)).collect();
        let ((_, of), (to, to_spread)) =
            (moments(level.size, &level.mask).expect("seen"), moments(level.size, &level.region).expect("seen"));
        let (top, to_top) = (top(level.size, &level.mask), top(level.size, &level.region));
        for across in ACROSS {
            for down in DOWN {
                let k = [to_spread[0] / of[0] * across, to_spread[1] / of[1] * down];
                for y in [to[1], to_top + k[1] * (self.middle[1] - top)] {
                    let size = (k[0] * k[1]).ln() / 2.0;
                    let stretch = ((k[0] / k[1]).ln() / 2.0).clamp(-MOST[1], MOST[1]);
                    starts.push([size.clamp(-MOST[0], MOST[0]), stretch, 0.0, 0.0, to[0], y]);
                }
            }
        }
        starts
    }
}

/// The cost of a map.
struct Cost {
    value: f32,
    /// By the parameters.
    slope: Parameters,
    /// Its part that the distances of colours make.
    apart: f32,
}

/// Pictures at one size.
struct Level {
    size: [usize; 2],
    human: Vec<f32>,
    article: Vec<f32>,
    region: Vec<f32>,
    mask: Vec<f32>,
    near: Vec<f32>,
    /// The article's colours and region side by side, with a border of one pixel: the colours continue, the region ends.
    samples: Vec<[f32; 4]>,
}

impl Level {
    fn new(
        size: [usize; 2],
        human: Vec<f32>,
        article: Vec<f32>,
        region: Vec<f32>,
        mask: Vec<f32>,
        near: Vec<f32>,
    ) -> Self {
        let [h, w] = size;
        let mut samples = Vec::with_capacity((h + 2) * (w + 2));
        for y in 0..h + 2 {
            for x in 0..w + 2 {
                let at = y.clamp(1, h) - 1;
                let at = at * w + x.clamp(1, w) - 1;
                let inside = (1..=h).contains(&y) && (1..=w).contains(&x);
                let colour = |c: usize| article[c * h * w + at];
                samples.push([colour(0), colour(1), colour(2), if inside { region[at] } else { 0.0 }]);
            }
        }
        Level { size, human, article, region, mask, near, samples }
    }

    /// The pictures at half the size: means of 2 x 2 pixels.
    fn halved(&self) -> Level {
        let [h, w] = self.size;
        let (half_h, half_w) = (h / 2, w / 2);
        let half = |xs: &[f32]| {
            let planes = xs.chunks(h * w).flat_map(|plane| {
                (0..half_h * half_w).map(move |i| {
                    let at = i / half_w * 2 * w + i % half_w * 2;
                    (plane[at] + plane[at + 1] + plane[at + w] + plane[at + w + 1]) * 0.25
                })
            });
            planes.collect::<Vec<_>>()
        };
        // A pixel that is half a garment would ask for a larger one.
        let clear = |mask: Vec<f32>| mask.into_iter().map(|share| (2.0 * share - 1.0).max(0.0)).collect();
        Level::new(
            [half_h, half_w],
            half(&self.human),
            half(&self.article),
            half(&self.region),
            clear(half(&self.mask)),
            half(&self.near),
        )
    }

    /// Samples colours and region at a place, with their slopes across and down, in units of places.
    #[inline(always)]
    fn sampled(&self, u: f32, v: f32) -> [[f32; 4]; 3] {
        let [h, w] = self.size.map(|side| side as f32);
        let (x, y) = ((u + 1.0) * 0.5 * w + 0.5, (v + 1.0) * 0.5 * h + 0.5);
        let (cx, cy) = (x.clamp(0.0, w + 0.999), y.clamp(0.0, h + 0.999));
        let (left, upper) = (cx as usize, cy as usize);
        let (fx, fy) = (cx - left as f32, cy - upper as f32);
        let at = upper * (self.size[1] + 2) + left;
        let row = self.size[1] + 2;
        let [p, q, r, s] = [self.samples[at], self.samples[at + 1], self.samples[at + row], self.samples[at + row + 1]];
        let (across, down) = (if cx == x { 0.5 * w } else { 0.0 }, if cy == y { 0.5 * h } else { 0.0 });
        let mut out = [[0.0; 4]; 3];
        for c in 0..4 {
            let (above, below) = (p[c] + (q[c] - p[c]) * fx, r[c] + (s[c] - r[c]) * fx);
            out[0][c] = above + (below - above) * fy;
            out[1][c] = ((q[c] - p[c]) * (1.0 - fy) + (s[c] - r[c]) * fy) * across;
            out[2][c] = (below - above) * down;
        }
        out
    }

    fn cost(&self, frame: &Frame, p: &Parameters) -> Cost {
        let [a, b] = frame.matrix(p);
        let area = self.size[0] * self.size[1];
        let (mut inside, mut total) = (0.0f32, 0.0f32);
        // Sums of r, of r outside and of r times the distance.
        let (mut all, mut out, mut seen) = (0.0f32, 0.0f32, 0.0f32);
        // By the map's six numbers: of the inside, of all, of the outside, of the seen.
        let mut slopes = [[0.0f32; 6]; 4];
        for i in 0..area {
            let [x, y] = place(self.size, i);
            let (u, v) = (a[0] * x + a[1] * y + a[2], b[0] * x + b[1] * y + b[2]);
            let weight = self.mask[i];
            if weight == 0.0 && (u.abs() > 1.1 || v.abs() > 1.1) {
                continue;
            }
            let [value, across, down] = self.sampled(u, v);
            let r = value[3];
            let mut add = |k: usize, by_u: f32, by_v: f32| {
                let slope = &mut slopes[k];
                slope[0] += by_u * x;
                slope[1] += by_u * y;
                slope[2] += by_u;
                slope[3] += by_v * x;
                slope[4] += by_v * y;
                slope[5] += by_v;
            };
            all += r;
            add(1, across[3], down[3]);
            let outside = 1.0 - self.near[i];
            if outside > 0.0 {
                out += r * outside;
                add(2, across[3] * outside, down[3] * outside);
            }
            total += weight;
            if weight == 0.0 && r == 0.0 {
                continue;
            }
            let apart: [f32; 3] = std::array::from_fn(|c| value[c] - self.human[c * area + i]);
            let distance = (apart[0].abs() + apart[1].abs() + apart[2].abs()) / 6.0;
            inside += weight * (UNLIKE + r * (distance.min(UNLIKE) - UNLIKE));
            seen += r * distance.min(UNLIKE);
            if distance >= UNLIKE {
                add(3, across[3] * UNLIKE, down[3] * UNLIKE);
                continue;
            }
            let (mut by_u, mut by_v) = (0.0, 0.0);
            for c in 0..3 {
                let sign = r * apart[c].signum() / 6.0;
                by_u += sign * across[c];
                by_v += sign * down[c];
            }
            let nearer = distance - UNLIKE;
            add(0, weight * (by_u + across[3] * nearer), weight * (by_v + down[3] * nearer));
            add(3, by_u + across[3] * distance, by_v + down[3] * distance);
        }
        let total = total + 1e-6;
        let all = all + 1e-6;
        let [stretch, shear] = [p[1] / STRETCH, p[3] / SHEAR];
        let apart = inside / total + SEEN * seen / all;
        let (near, by_near) = frame.known.as_ref().map_or((0.0, [0.0; 6]), |known| known.cost([a, b]));
        let value = apart + OUTSIDE * out / all + SHAPE * (stretch * stretch + shear * shear) + near;
        let by_map: [f32; 6] = std::array::from_fn(|k| {
            let share = |by: f32, sum: f32| (by - sum / all * slopes[1][k]) / all;
            slopes[0][k] / total + SEEN * share(slopes[3][k], seen) + OUTSIDE * share(slopes[2][k], out) + by_near[k]
        });
        Cost { value, slope: self.by_parameters(frame, p, &by_map, [stretch, shear]), apart }
    }

    /// Turns a slope by the map's six numbers into one by the parameters.
    fn by_parameters(
        &self,
        frame: &Frame,
        p: &Parameters,
        by_map: &[f32; 6],
        [stretch, shear]: [f32; 2],
    ) -> Parameters {
        let [x, y] = frame.middle;
        let (_, parts) = frame.linear(p);
        // The last column of the map is p[4] - m * middle.
        let by = [
            by_map[0] - by_map[2] * x,
            by_map[1] - by_map[2] * y,
            by_map[3] - by_map[5] * x,
            by_map[4] - by_map[5] * y,
        ];
        let by = [by[0], by[1] / frame.aspect, by[2] * frame.aspect, by[3]];
        let dot = |m: &[f32; 4]| (0..4).map(|k| m[k] * by[k]).sum::<f32>();
        let mut slope = [dot(&parts[0]), dot(&parts[1]), dot(&parts[2]), dot(&parts[3]), by_map[2], by_map[5]];
        slope[1] += 2.0 * SHAPE * stretch / STRETCH;
        slope[3] += 2.0 * SHAPE * shear / SHEAR;
        slope
    }

    /// Refines a start by Adam with a falling rate. Returns the best that it met, and its cost.
    fn refined(&self, frame: &Frame, start: Parameters, (rounds, rate): (usize, f32)) -> (f32, Parameters) {
        const DECAYS: [f32; 2] = [0.8, 0.95];
        let (mut p, mut first, mut second) = (start, [0f32; 6], [0f32; 6]);
        let mut best = (f32::INFINITY, start);
        for round in 0..rounds {
            let Cost { value, slope, .. } = self.cost(frame, &p);
            if value < best.0 {
                best = (value, p);
            }
            let left = 1.0 - 0.95 * round as f32 / rounds as f32;
            for k in 0..6 {
                first[k] = DECAYS[0] * first[k] + (1.0 - DECAYS[0]) * slope[k];
                second[k] = DECAYS[1] * second[k] + (1.0 - DECAYS[1]) * slope[k] * slope[k];
                let after = round as i32 + 1;
                let mean = first[k] / (1.0 - DECAYS[0].powi(after));
                let deviation = (second[k] / (1.0 - DECAYS[1].powi(after))).sqrt() + 1e-8;
                p[k] -= rate * left * mean / deviation;
            }
            for k in 0..4 {
                p[k] = p[k].clamp(-MOST[k], MOST[k]);
            }
        }
        best
    }
}

/// The place of pixel `i`.
fn place([h, w]: [usize; 2], i: usize) -> [f32; 2] {
    [((i % w) as f32 + 0.5) * 2.0 / w as f32 - 1.0, ((i / w) as f32 + 0.5) * 2.0 / h as f32 - 1.0]
}

/// Middle and deviations of a mask, x and y; `None` if it is empty.
fn moments(size: [usize; 2], mask: &[f32]) -> Option<([f32; 2], [f32; 2])> {
    const LEAST: f32 = 0.03;
    let total: f32 = mask.iter().sum();
    if total < 2.0 {
        return None;
    }
    let mean = |of: &dyn Fn([f32; 2]) -> [f32; 2]| {
        let mut sum = [0f32; 2];
        for (i, weight) in mask.iter().enumerate() {
            let value = of(place(size, i));
            sum = [sum[0] + weight * value[0], sum[1] + weight * value[1]];
        }
        sum.map(|sum| sum / total)
    };
    let middle = mean(&|place| place);
    let square = mean(&|[x, y]| [(x - middle[0]).powi(2), (y - middle[1]).powi(2)]);
    Some((middle, square.map(|square| square.sqrt().max(LEAST))))
}

/// The uppermost place of a mask.
fn top([h, w]: [usize; 2], mask: &[f32]) -> f32 {
    let row = mask.chunks(w).position(|row| row.iter().any(|&v| v > 0.5)).unwrap_or(0);
    (row as f32 + 0.5) * 2.0 / h as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::kisekae::blocks::places;
    use crate::networks::kisekae::warp::{flow_of, moved, warped};
    use tch::Device;

    /// A garment of stripes and a spot on white, `[1, 3, 64, 48]`, and its region.
    fn garment() -> [Tensor; 2] {
        let at = places(&Tensor::zeros([1, 3, 64, 48], (Kind::Float, Device::Cpu)));
        let (x, y) = (at.narrow(1, 0, 1), at.narrow(1, 1, 1));
        let body = x.abs().lt(0.45) * y.abs().lt(0.7);
        let sleeves = x.abs().lt(0.8) * (&y + 0.5).abs().lt(0.15);
        let region = (body.logical_or(&sleeves)).to_kind(Kind::Float);
        let stripes: Tensor = (&y * 9.0).sin() * 0.5;
        let spot = ((&x - 0.2).square() + (&y + 0.2).square()).lt(0.03).to_kind(Kind::Float);
        let colours = Tensor::cat(&[&stripes, &(&stripes * -1.0), &(spot * 1.2 - 0.6)], 1);
        [&colours * &region + (1.0 - &region), region]
    }

    /// The mean distance of a found map to a flow inside a mask.
    fn off(found: &Registered, flow: &Tensor, mask: &Tensor) -> f64 {
        let apart = (flow_of(&found.map, mask) - flow).abs() * mask;
        apart.sum(Kind::Float).double_value(&[]) / mask.sum(Kind::Float).double_value(&[])
    }

    #[test]
    fn a_known_map_is_found_again_also_with_a_hidden_half() {
        let [article, region] = garment();
        let map = Tensor::from_slice(&[1.7f32, 0.2, 0.1, -0.15, 1.9, 0.3]).reshape([1, 2, 3]);
        let flow = flow_of(&map, &article);
        let worn = moved(&region, &flow).gt(0.5).to_kind(Kind::Float);
        let human = warped(&article, &flow) * &worn + (1.0 - &worn) * -0.4;
        let none = Tensor::zeros([1, 0, 2, 3], (Kind::Float, Device::Cpu));
        // In halves of the picture: 0.03 is a pixel of 64.
        for (hidden, most) in [(0, 0.02), (24, 0.06)] {
            let mask = worn.copy();
            let _ = mask.narrow(2, 32, hidden).fill_(0.0);
            let found = registered(&human, &article, &region, &mask, &none);
            let mean = off(&found, &flow, &mask);
            assert!(mean < most, "{hidden} {mean}");
            assert!(found.confidence.double_value(&[0]) > 0.9);
        }
    }

    #[test]
    fn a_mask_that_is_too_large_makes_no_larger_garment() {
        let [article, region] = garment();
        let plain = &region * -1.6 + 1.0;
        let map = Tensor::from_slice(&[1.6f32, 0.0, 0.1, 0.0, 1.8, 0.1]).reshape([1, 2, 3]);
        let none = Tensor::zeros([1, 0, 2, 3], (Kind::Float, Device::Cpu));
        for article in [article, plain.expand([1, 3, 64, 48], false)] {
            let flow = flow_of(&map, &article);
            let worn = moved(&region, &flow).gt(0.5).to_kind(Kind::Float);
            let human = warped(&article, &flow) * &worn + (1.0 - &worn) * 0.3;
            let found = registered(&human, &article, &region, &widened(&worn, 4), &none);
            let mean = off(&found, &flow, &worn);
            assert!(mean < 0.04, "{mean}");
        }
    }

    #[test]
    fn colours_over_mask_and_article_decide_the_confidence() {
        let [article, region] = garment();
        let plain = (&region * -1.6 + 1.0).expand([1, 3, 64, 48], false).contiguous();
        let none = Tensor::zeros([1, 0, 2, 3], (Kind::Float, Device::Cpu));
        let confidence = |human: &Tensor| {
            let mask = region.gt(0.5).to_kind(Kind::Float);
            registered(human, &plain, &region, &mask, &none).confidence.double_value(&[0])
        };
        // A plain garment is as sure as another.
        assert!(confidence(&(&plain * &region + (1.0 - &region) * 0.3)) > 0.9);
        // Half of the garment has another colour.
        let half = plain.copy();
        let _ = half.narrow(2, 0, 32).fill_(0.9);
        assert!(confidence(&half) < 0.3);
        assert!((confidence(&article) - f64::from(UNSURE)).abs() < 1e-6);
    }

    #[test]
    fn a_start_near_the_truth_is_taken() {
        let [article, region] = garment();
        // A turn of half a radian is outside what the moments begin with.
        let (sin, cos) = 0.5f32.sin_cos();
        let map = Tensor::from_slice(&[1.5 * cos, -2.0 * sin, 0.0, 1.125 * sin, 1.5 * cos, 0.0]).reshape([1, 2, 3]);
        let flow = flow_of(&map, &article);
        let mask = moved(&region, &flow).gt(0.5).to_kind(Kind::Float);
        let human = warped(&article, &flow) * &mask + (1.0 - &mask) * -0.4;
        let found = registered(&human, &article, &region, &mask, &map.unsqueeze(1));
        let mean = off(&found, &flow, &mask);
        assert!(mean < 0.03, "{mean}");
    }

    #[test]
    fn a_map_near_the_one_given_is_preferred_and_a_given_one_far_away_changes_nothing() {
        // Stripes all over: shifts by their period look alike.
        let at = places(&Tensor::zeros([1, 3, 64, 48], (Kind::Float, Device::Cpu)));
        let (x, y) = (at.narrow(1, 0, 1), at.narrow(1, 1, 1));
        let region = (x.abs().lt(0.5) * y.abs().lt(0.8)).to_kind(Kind::Float);
        let article = (y * 28.0).sin().expand([1, 3, 64, 48], false) * &region + (1.0 - &region);
        let at_shift = |shift: f32| Tensor::from_slice(&[1.5f32, 0.0, 0.0, 0.0, 1.5, shift]).reshape([1, 2, 3]);
        let flow = flow_of(&at_shift(0.2), &article);
        let worn = moved(&region, &flow).gt(0.5).to_kind(Kind::Float);
        let human = warped(&article, &flow) * &worn - (1.0 - &worn) * 0.4;
        // Another garment hides the lower half, and an arm the upper border.
        let mask = worn.copy();
        let _ = mask.narrow(2, 32, 32).fill_(0.0);
        let human = &human * &mask - (1.0 - &mask) * 0.4;
        let none = Tensor::zeros([1, 0, 2, 3], (Kind::Float, Device::Cpu));
        let error = |given: &Tensor| off(&registered(&human, &article, &region, &mask, given), &flow, &mask);
        let (alone, near, far) =
            (error(&none), error(&at_shift(0.25).unsqueeze(1)), error(&at_shift(-1.5).unsqueeze(1)));
        assert!(near < 0.06 && near < alone / 2.0, "{alone} {near}");
        assert!((far - alone).abs() < 0.01, "{alone} {far}");
    }

    #[test]
    fn the_slope_is_that_of_the_cost() {
        let [article, region] = garment();
        let list = |xs: &Tensor| Vec::<f32>::try_from(xs.contiguous().flatten(0, -1)).unwrap();
        let human = article.roll([2, 1], [2, 3]);
        let mask = region.roll([2, 1], [2, 3]).gt(0.5).to_kind(Kind::Float);
        let near = widened(&mask, 2);
        let level =
            Level::new([64, 48], list(&human), list(&article), list(&region), list(&mask), list(&near)).halved();
        let frame = Frame::of(&level, &[1.1, 0.05, 0.02, -0.03, 0.95, 0.04]).unwrap();
        let p = [0.05, -0.1, 0.1, 0.04, frame.middle[0] + 0.05, frame.middle[1] - 0.06];
        let slope = level.cost(&frame, &p).slope;
        for k in 0..6 {
            let step = |by: f32| {
                let mut q = p;
                q[k] += by;
                f64::from(level.cost(&frame, &q).value)
            };
            let numeric = (step(2e-3) - step(-2e-3)) / 4e-3;
            assert!(
                (numeric - f64::from(slope[k])).abs() < 0.15 * numeric.abs() + 0.004,
                "{k}: {numeric} {}",
                slope[k]
            );
        }
    }

    #[test]
    fn a_pair_without_a_mask_has_no_confidence() {
        let [article, region] = garment();
        let none = Tensor::zeros([1, 0, 2, 3], (Kind::Float, Device::Cpu));
        let found = registered(&article, &article, &region, &region.zeros_like(), &none);
        assert_eq!(found.confidence.double_value(&[0]), 0.0);
    }
}
