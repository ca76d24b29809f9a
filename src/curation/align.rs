//! Compares two thumbnails after stretching and shifting the one onto the other, which undoes a crop.

/// The side of the thumbnail that is compared.
pub(super) const SIDE: usize = 64;
/// Pixels along a cell. Alignment compares cell means: single pixels depend on how a picture was scaled.
const CELL: usize = 4;
const CELLS: usize = SIDE / CELL;
/// Cells along a block. A print that only one of two garments has shows in the worst block.
const BLOCK: usize = 4;
/// Gauss-Newton steps at most.
const STEPS: usize = 8;
/// Stretches to start from: fine patterns mislead a search that starts far off. The later ones are tried only after a
/// promising first one.
const STARTS: [f32; 3] = [0.0, 0.05, -0.05];
/// A search that differs by this many times the limit after some steps is given up.
const FAR: f32 = 1.8;
/// The largest stretch: crops of up to about 5 % on each side.
const MOST_STRETCH: f32 = 0.12;
/// The largest shift, as a share of the side.
const MOST_SHIFT: f32 = 0.06;

/// The difference of two pictures in grey levels, over the part that both show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The mean over all cells.
    pub mean: f32,
    /// The mean over the worst of 16 blocks.
    pub worst: f32,
    /// The mean as a share of the picture's own deviation from its mean colour: near 1 for unrelated pictures.
    pub share: f32,
}

/// `x -> x * (1 + stretch) + shift` along each axis, from the middle, in pixels.
#[derive(Clone, Copy, Default)]
struct Warp {
    stretch: [f32; 2],
    shift: [f32; 2],
}

/// The means of a picture's cells, in C channels.
pub(super) type Means<const C: usize> = [[f32; C]; CELLS * CELLS];

/// The cell means of a warped picture, and which cells are inside it.
#[derive(Clone)]
struct Cells<const C: usize> {
    means: Means<C>,
    inside: [bool; CELLS * CELLS],
}

/// A picture that is to be warped onto others.
pub(super) struct Moving {
    colour: Vec<u8>,
    grey: Vec<u8>,
    /// The cells of the unwarped picture.
    still: (Cells<3>, Cells<1>),
}

impl Moving {
    /// Takes a thumbnail.
    pub fn new(colour: Vec<u8>) -> Moving {
        let grey = grey(&colour);
        let still = (warped(&colour, Warp::default()), warped(&grey, Warp::default()));
        Moving { colour, grey, still }
    }
}

/// Returns the cell means of a thumbnail.
pub(super) fn means(thumbnail: &[u8]) -> Means<3> {
    warped(thumbnail, Warp::default()).means
}

/// Returns the smallest difference that Gauss-Newton steps on the cell means' brightness find (Lucas & Kanade 1981,
/// with a stretch and a shift for each axis). It stops at a difference that is `enough`, and early far above the
/// `limit`. `light`: whether to fit a gain and an offset of each channel first.
pub(super) fn difference(
    one: &Moving,
    target: &Means<3>,
    light: bool,
    limit: f32,
    enough: impl Fn(&Difference) -> bool,
) -> Difference {
    let coloured = |mut cells: Cells<3>| {
        if light {
            relight(&mut cells, target);
        }
        compare(&cells, target)
    };
    let mut best = coloured(one.still.0.clone());
    if enough(&best) {
        return best;
    }
    // Steps in grey are a third of the work.
    let grey_target = target.map(|[r, g, b]| [(r + g + b) / 3.0]);
    for start in STARTS {
        let (warp, mean) = descended(one, &grey_target, start, light, limit);
        if mean > FAR * limit {
            break;
        }
        let found = coloured(warped(&one.colour, warp));
        if found.mean < best.mean {
            best = found;
        }
        if enough(&best) {
            break;
        }
    }
    best
}

/// Returns the best warp from a start, and its mean difference.
fn descended(one: &Moving, target: &Means<1>, start: f32, light: bool, limit: f32) -> (Warp, f32) {
    let mut warp = Warp { stretch: [start; 2], ..Warp::default() };
    let mut best = (warp, f32::INFINITY);
    for step in 0..=STEPS {
        let mut cells = if step == 0 && start == 0.0 { one.still.1.clone() } else { warped(&one.grey, warp) };
        if light {
            relight(&mut cells, target);
        }
        let mean = compare(&cells, target).mean;
        let (slow, far) = (mean > 0.98 * best.1, mean > FAR * limit);
        if mean < best.1 {
            best = (warp, mean);
        }
        if step == STEPS || step > 0 && slow && far || step > 2 && (slow || far) {
            break;
        }
        match improved(warp, &cells, target) {
            Some(next) => warp = next,
            None => break,
        }
    }
    best
}

fn grey(thumbnail: &[u8]) -> Vec<u8> {
    let pixels = thumbnail.as_chunks::<3>().0.iter();
    pixels.map(|p| (p.iter().map(|&c| u16::from(c)).sum::<u16>() / 3) as u8).collect()
}

/// Returns, along one axis, each pixel's lower neighbour and the upper one's weight, and for each cell whether it is
/// inside.
fn axis(stretch: f32, shift: f32) -> ([(usize, f32); SIDE], [bool; CELLS]) {
    let middle = (SIDE as f32 - 1.0) / 2.0;
    let place = |i: usize| (i as f32 - middle) * (1.0 + stretch) + shift + middle;
    let last = SIDE as f32 - 1.0;
    let samples = std::array::from_fn(|i| {
        let at = place(i).clamp(0.0, last);
        let low = (at as usize).min(SIDE - 2);
        (low, at - low as f32)
    });
    let inside = |i: usize| (-0.5..=last + 0.5).contains(&place(i));
    let cells = std::array::from_fn(|c| inside(c * CELL) && inside(c * CELL + CELL - 1));
    (samples, cells)
}

fn warped<const C: usize>(thumbnail: &[u8], warp: Warp) -> Cells<C> {
    let (columns, inside_x) = axis(warp.stretch[0], warp.shift[0]);
    let (rows, inside_y) = axis(warp.stretch[1], warp.shift[1]);
    let mut means = [[0f32; C]; CELLS * CELLS];
    // Down first, then across.
    let mut line = vec![0f32; C * SIDE];
    for (y, &(low, weight)) in rows.iter().enumerate() {
        let (upper, lower) = thumbnail[C * SIDE * low..C * SIDE * (low + 2)].split_at(C * SIDE);
        for ((value, &u), &l) in line.iter_mut().zip(upper).zip(lower) {
            *value = f32::from(u) + (f32::from(l) - f32::from(u)) * weight;
        }
        let cells = &mut means[y / CELL * CELLS..][..CELLS];
        for (x, &(low, weight)) in columns.iter().enumerate() {
            let near = &line[C * low..C * (low + 2)];
            for (c, sum) in cells[x / CELL].iter_mut().enumerate() {
                *sum += near[c] + (near[C + c] - near[c]) * weight;
            }
        }
    }
    for mean in means.as_flattened_mut() {
        *mean /= (CELL * CELL) as f32;
    }
    Cells { means, inside: std::array::from_fn(|i| inside_x[i % CELLS] && inside_y[i / CELLS]) }
}

/// Fits gain and offset of each channel to the target by least squares, within the range of exposure and white balance.
fn relight<const C: usize>(cells: &mut Cells<C>, target: &Means<C>) {
    let count = cells.inside.iter().filter(|i| **i).count().max(1) as f32;
    for c in 0..C {
        let both = || {
            let pairs = cells.means.iter().zip(target).zip(&cells.inside);
            pairs.filter(|(_, i)| **i).map(|((a, b), _)| (a[c], b[c]))
        };
        let (sum_a, sum_b) = both().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        let (mean_a, mean_b) = (sum_a / count, sum_b / count);
        let (mut across, mut own) = (0.0, 0.0);
        for (a, b) in both() {
            across += (a - mean_a) * (b - mean_b);
            own += (a - mean_a) * (a - mean_a);
        }
        let gain = match own > 0.0 {
            true => (across / own).clamp(0.7, 1.4),
            false => 1.0,
        };
        let offset = (mean_b - gain * mean_a).clamp(-40.0, 40.0);
        for mean in &mut cells.means {
            mean[c] = (gain * mean[c] + offset).clamp(0.0, 255.0);
        }
    }
}

fn compare<const C: usize>(cells: &Cells<C>, target: &Means<C>) -> Difference {
    let inside = || (0..target.len()).filter(|&i| cells.inside[i]);
    let count = inside().count().max(1) as f32;
    let mut average = [0f32; C];
    for i in inside() {
        for c in 0..C {
            average[c] += target[i][c] / count;
        }
    }
    let apart =
        |a: [f32; C], b: [f32; C]| -> f32 { a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum::<f32>() / C as f32 };
    let blocks = CELLS / BLOCK;
    let mut sums = [(0f32, 0f32); (CELLS / BLOCK) * (CELLS / BLOCK)];
    let (mut total, mut own) = (0.0, 0.0);
    for i in inside() {
        let error = apart(cells.means[i], target[i]);
        let block = &mut sums[i / CELLS / BLOCK * blocks + i % CELLS / BLOCK];
        *block = (block.0 + error, block.1 + 1.0);
        total += error;
        own += apart(target[i], average);
    }
    let worst = sums.iter().map(|(sum, n)| sum / n.max(1.0)).fold(0.0, f32::max);
    Difference { mean: total / count, worst, share: total / own.max(1e-3) }
}

/// Takes one Gauss-Newton step. Returns None for a picture too flat for it.
fn improved(warp: Warp, cells: &Cells<1>, target: &Means<1>) -> Option<Warp> {
    let at = |x: usize, y: usize| cells.means[y * CELLS + x][0];
    // Central differences; one-sided at the edges.
    let slope = |low: f32, high: f32, apart: usize| (high - low) / (apart * CELL) as f32;
    let mut normal = [[0f64; 5]; 4];
    for (i, _) in cells.inside.iter().enumerate().filter(|(_, inside)| **inside) {
        let (x, y) = (i % CELLS, i / CELLS);
        let (x0, x1) = (x.saturating_sub(1), (x + 1).min(CELLS - 1));
        let (y0, y1) = (y.saturating_sub(1), (y + 1).min(CELLS - 1));
        let dx = slope(at(x0, y), at(x1, y), x1 - x0);
        let dy = slope(at(x, y0), at(x, y1), y1 - y0);
        let place = |cell: usize| (cell as f32 + 0.5) * CELL as f32 - SIDE as f32 / 2.0;
        let error = target[i][0] - cells.means[i][0];
        let row = [dx * place(x), dx, dy * place(y), dy, error].map(f64::from);
        for (a, line) in normal.iter_mut().enumerate() {
            for (b, value) in line.iter_mut().enumerate() {
                *value += row[a] * row[b];
            }
        }
    }
    for (a, line) in normal.iter_mut().enumerate() {
        line[a] = line[a] * 1.001 + 1e-6;
    }
    let step = solve(normal)?.map(|v| v as f32);
    let bounded = |value: f32, most: f32| value.clamp(-most, most);
    let shift = MOST_SHIFT * SIDE as f32;
    Some(Warp {
        stretch: [bounded(warp.stretch[0] + step[0], MOST_STRETCH), bounded(warp.stretch[1] + step[2], MOST_STRETCH)],
        shift: [bounded(warp.shift[0] + step[1], shift), bounded(warp.shift[1] + step[3], shift)],
    })
}

/// Solves a positive definite 4 x 4 system by elimination. Its last column is the right side.
fn solve(mut m: [[f64; 5]; 4]) -> Option<[f64; 4]> {
    for k in 0..4 {
        let pivot = m[k];
        if pivot[k].is_nan() || pivot[k] <= 1e-9 {
            return None;
        }
        for line in m.iter_mut().skip(k + 1) {
            let factor = line[k] / pivot[k];
            for (value, p) in line.iter_mut().zip(pivot) {
                *value -= factor * p;
            }
        }
    }
    let mut x = [0f64; 4];
    for k in (0..4).rev() {
        let known: f64 = (k + 1..4).map(|j| m[k][j] * x[j]).sum();
        x[k] = (m[k][4] - known) / m[k][k];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Soft blobs, cropped by `crop` of the side on the left and above.
    fn scene(crop: f32, brighter: f32) -> Vec<u8> {
        let mut pixels = Vec::new();
        for y in 0..SIDE {
            for x in 0..SIDE {
                let place = |v: usize| crop + (v as f32 + 0.5) / SIDE as f32 * (1.0 - crop);
                let (x, y) = (place(x), place(y));
                let wave = |a: f32, b: f32| 100.0 + 60.0 * (a * x).sin() * (b * y).cos();
                pixels.extend([wave(9.0, 7.0), wave(5.0, 12.0), wave(14.0, 3.0)].map(|v| (v + brighter) as u8));
            }
        }
        pixels
    }

    #[test]
    fn a_solution_solves() {
        // x = 1, 2, 3, 4.
        let m = [
            [4.0, 1.0, 0.0, 0.0, 6.0],
            [1.0, 3.0, 0.0, 0.0, 7.0],
            [0.0, 0.0, 2.0, 0.0, 6.0],
            [0.0, 0.0, 0.0, 5.0, 20.0],
        ];
        let x = solve(m).unwrap();
        assert!(x.iter().zip([1.0, 2.0, 3.0, 4.0]).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!(solve([[0.0; 5]; 4]).is_none());
    }

    #[test]
    fn the_same_differs_by_nothing_and_a_crop_by_little() {
        let (whole, cropped) = (scene(0.0, 0.0), scene(0.06, 0.0));
        let never = |_: &Difference| false;
        let moving = Moving::new(whole.clone());
        assert_eq!(difference(&moving, &means(&whole), false, 6.0, never).mean, 0.0);
        let before = difference(&moving, &means(&cropped), false, 6.0, |_| true);
        let after = difference(&moving, &means(&cropped), false, 6.0, never);
        assert!(before.mean > 8.0 && after.mean < 1.5, "{before:?} {after:?}");
    }

    #[test]
    fn light_is_taken_out_where_it_may_vary() {
        let (one, other) = (Moving::new(scene(0.0, 0.0)), means(&scene(0.0, 20.0)));
        let never = |_: &Difference| false;
        assert!(difference(&one, &other, false, 6.0, never).mean > 15.0);
        assert!(difference(&one, &other, true, 6.0, never).mean < 1.0);
    }
}
