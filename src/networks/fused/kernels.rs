//! The passes over one block of channels of one picture.
//!
//! They contain no closures: the compiler does not inline closures into functions with vector instructions.

use std::ops::Range;

use half::bf16;
use multiversion::multiversion;

use super::lanes::{Format, Lanes};
use super::tasks::Blocks;
use crate::native::{Element, Memory};

pub struct Forward<T> {
    pub blocks: Blocks,
    pub slope: f32,
    pub epsilon: f32,
    pub xs: Memory<T>,
    pub noise: Option<Memory<T>>,
    pub skip: Option<Memory<T>>,
    pub weight: Option<Memory<f32>>,
    pub bias: Option<Memory<f32>>,
    pub ys: Memory<T>,
    /// `[N, 3, C]`: the mean, 1 / deviation, and the mean's rounding error: pictures of one colour have means much
    /// larger than their deviations.
    pub lines: Option<Memory<f32>>,
}

pub struct Backward<T> {
    pub blocks: Blocks,
    pub slope: f32,
    pub ups: Memory<T>,
    /// The distance from one pixel's gradient to the next. In a part of a wider tensor it exceeds the channels.
    pub ups_stride: usize,
    pub xs: Memory<T>,
    pub ys: Option<Memory<T>>,
    pub weight: Option<Memory<f32>>,
    pub bias: Option<Memory<f32>>,
    pub lines: Option<Memory<f32>>,
    pub downs: Memory<T>,
    /// `[N, 2, C]`: each picture's part of the gradients by weight and bias.
    pub sums: Option<Memory<f32>>,
    /// `[N, 2, C]`: the norm subtracts level + slant (x - mean) from the gradient.
    pub planes: Option<Memory<f32>>,
}

/// A number format with its passes, each compiled for several processors.
pub trait Value: Format + Element {
    fn forward(job: &Forward<Self>, task: usize);
    fn backward(job: &Backward<Self>, task: usize);
}

macro_rules! compile {
    ($format:ty) => {
        impl Value for $format {
            fn forward(job: &Forward<Self>, task: usize) {
                #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
                fn best(job: &Forward<$format>, task: usize) {
                    forward(job, task);
                }
                best(job, task);
            }

            fn backward(job: &Backward<Self>, task: usize) {
                #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
                fn best(job: &Backward<$format>, task: usize) {
                    backward(job, task);
                }
                best(job, task);
            }
        }
    };
}

compile!(f32);
compile!(bf16);

/// Calls a function of lanes for all of a task's channels: sixteen at a time, the rest one by one.
macro_rules! over_lanes {
    ($channels:ident, $function:ident$(::<$relu:ident>)?($($argument:expr),*)) => {
        let mut c = $channels.start;
        while c + 16 <= $channels.end {
            $function::<_, 16 $(, $relu)?>($($argument,)* c);
            c += 16;
        }
        while c < $channels.end {
            $function::<_, 1 $(, $relu)?>($($argument,)* c);
            c += 1;
        }
    };
}

#[inline(always)]
fn forward<T: Format>(job: &Forward<T>, task: usize) {
    // Compiled for both, so that no loop decides for every pixel.
    match job.slope == 0.0 {
        true => forward_of::<T, true>(job, task),
        false => forward_of::<T, false>(job, task),
    }
}

#[inline(always)]
fn forward_of<T: Format, const RELU: bool>(job: &Forward<T>, task: usize) {
    let (n, channels) = job.blocks.task(task);
    if let Some(lines) = &job.lines {
        over_lanes!(channels, moments(job, lines, n));
        settle_forward(job, lines, n, channels.clone());
    }
    over_lanes!(channels, apply::<RELU>(job, n));
}

#[inline(always)]
fn backward<T: Format>(job: &Backward<T>, task: usize) {
    match job.slope == 0.0 {
        true => backward_of::<T, true>(job, task),
        false => backward_of::<T, false>(job, task),
    }
}

#[inline(always)]
fn backward_of<T: Format, const RELU: bool>(job: &Backward<T>, task: usize) {
    let (n, channels) = job.blocks.task(task);
    if let Some(norm) = job.norm() {
        over_lanes!(channels, sum::<RELU>(job, norm, n));
        settle_backward(job, norm, n, channels.clone());
    }
    over_lanes!(channels, unapply::<RELU>(job, n));
}

/// Pixels of a partial sum. Partial sums keep rounding errors from growing with the picture.
const GROUP: usize = 128;

/// One channel of one picture, `W` of them: y = weight (x - mean) root + bias = scale (x - mean) + bias.
#[derive(Clone, Copy)]
struct Line<const W: usize> {
    mean: Lanes<W>,
    root: Lanes<W>,
    rest: Lanes<W>,
    scale: Lanes<W>,
    bias: Lanes<W>,
}

impl<const W: usize> Line<W> {
    #[inline(always)]
    fn new(lines: &Memory<f32>, n: usize, channels: usize, c: usize, weight: *const f32, bias: *const f32) -> Self {
        let root = Lanes::load(lines.at((n * 3 + 1) * channels + c));
        let rest = Lanes::load(lines.at((n * 3 + 2) * channels + c));
        let scale = Lanes::load(weight) * root;
        Line {
            mean: Lanes::load(lines.at(n * 3 * channels + c)),
            root,
            rest,
            scale,
            bias: Lanes::load(bias) - rest * scale,
        }
    }

    /// The line of a layer without norm.
    #[inline(always)]
    fn straight() -> Self {
        let [zero, one] = [Lanes::all(0.0), Lanes::all(1.0)];
        Line { mean: zero, root: one, rest: zero, scale: one, bias: zero }
    }

    #[inline(always)]
    fn of(self, x: Lanes<W>) -> Lanes<W> {
        (x - self.mean) * self.scale + self.bias
    }
}

/// Writes the mean and the variance of each channel to `lines`.
#[inline(always)]
fn moments<T: Format, const W: usize>(job: &Forward<T>, lines: &Memory<f32>, n: usize, c: usize) {
    let Blocks { channels, pixels, .. } = job.blocks;
    let xs = job.xs.at(n * pixels * channels + c);
    let share = Lanes::all(1.0 / pixels as f32);
    let mut sum = Lanes::<W>::all(0.0);
    let mut first = 0;
    while first < pixels {
        let mut group = Lanes::all(0.0);
        for p in first..pixels.min(first + GROUP) {
            group = group + Lanes::load(xs.wrapping_add(p * channels));
        }
        sum = sum + group;
        first += GROUP;
    }
    let mean = sum * share;
    let (mut rest, mut squares) = (Lanes::all(0.0), Lanes::all(0.0));
    let mut first = 0;
    while first < pixels {
        let (mut group_rest, mut group) = (Lanes::all(0.0), Lanes::all(0.0));
        for p in first..pixels.min(first + GROUP) {
            let apart = Lanes::load(xs.wrapping_add(p * channels)) - mean;
            group_rest = group_rest + apart;
            group = group + apart * apart;
        }
        rest = rest + group_rest;
        squares = squares + group;
        first += GROUP;
    }
    mean.store(lines.at(n * 3 * channels + c));
    (squares * share).store(lines.at((n * 3 + 1) * channels + c));
    (rest * share).store(lines.at((n * 3 + 2) * channels + c));
}

/// Computes each group's mean and 1 / deviation from its channels' moments.
#[inline(always)]
fn settle_forward<T>(job: &Forward<T>, lines: &Memory<f32>, n: usize, block: Range<usize>) {
    let Blocks { channels, group, .. } = job.blocks;
    for first in block.step_by(group) {
        let at = n * 3 * channels + first;
        // SAFETY: this task's channels of the tensor.
        let (means, variances, rests) = unsafe {
            (
                std::slice::from_raw_parts_mut(lines.at(at), group),
                std::slice::from_raw_parts_mut(lines.at(at + channels), group),
                std::slice::from_raw_parts_mut(lines.at(at + 2 * channels), group),
            )
        };
        let share = 1.0 / group as f32;
        let mut mean = 0.0;
        for own in &*means {
            mean += own * share;
        }
        let mut rest = 0.0;
        for (own, left) in means.iter().zip(&*rests) {
            rest += (own - mean + left) * share;
        }
        let mut variance = 0.0;
        for ((own, left), spread) in means.iter().zip(&*rests).zip(&*variances) {
            let apart = own - mean + left - rest;
            variance += (spread + apart * apart) * share;
        }
        means.fill(mean);
        variances.fill(1.0 / (variance + job.epsilon).sqrt());
        rests.fill(rest);
    }
}

#[inline(always)]
fn apply<T: Format, const W: usize, const RELU: bool>(job: &Forward<T>, n: usize, c: usize) {
    let Blocks { channels, pixels, .. } = job.blocks;
    let start = n * pixels * channels + c;
    let (xs, ys) = (job.xs.at(start), job.ys.at(start));
    let line = match (&job.weight, &job.bias, &job.lines) {
        (Some(weight), Some(bias), Some(lines)) => Line::<W>::new(lines, n, channels, c, weight.at(c), bias.at(c)),
        _ => Line::straight(),
    };
    // A loop for each case, so that no loop decides for every pixel.
    let places = (0..pixels * channels).step_by(channels);
    if let Some(noise) = &job.noise {
        let noise = noise.at(start);
        for p in places {
            let y = line.of(Lanes::load(xs.wrapping_add(p))) + Lanes::load(noise.wrapping_add(p));
            y.leaky::<RELU>(y, job.slope).store(ys.wrapping_add(p));
        }
    } else if let Some(skip) = &job.skip {
        let skip = skip.at(start);
        for p in places {
            let y = line.of(Lanes::load(xs.wrapping_add(p)));
            let skip = Lanes::load(skip.wrapping_add(p));
            (y.leaky::<RELU>(y, job.slope) + skip).store(ys.wrapping_add(p));
        }
    } else {
        for p in places {
            let y = line.of(Lanes::load(xs.wrapping_add(p)));
            y.leaky::<RELU>(y, job.slope).store(ys.wrapping_add(p));
        }
    }
}

/// The memory of a norm's gradient.
#[derive(Clone, Copy)]
struct NormMemory<'a> {
    weight: &'a Memory<f32>,
    bias: &'a Memory<f32>,
    lines: &'a Memory<f32>,
    sums: &'a Memory<f32>,
    planes: &'a Memory<f32>,
}

impl<T> Backward<T> {
    #[inline(always)]
    fn norm(&self) -> Option<NormMemory<'_>> {
        Some(NormMemory {
            weight: self.weight.as_ref()?,
            bias: self.bias.as_ref()?,
            lines: self.lines.as_ref()?,
            sums: self.sums.as_ref()?,
            planes: self.planes.as_ref()?,
        })
    }
}

/// Writes the gradients by weight and bias to `sums`. With z = (x - mean) root they are the sums of dy z and of dy.
#[inline(always)]
fn sum<T: Format, const W: usize, const RELU: bool>(job: &Backward<T>, norm: NormMemory, n: usize, c: usize) {
    let Blocks { channels, pixels, .. } = job.blocks;
    let start = n * pixels;
    let xs = job.xs.at(start * channels + c);
    let line = Line::<W>::new(norm.lines, n, channels, c, norm.weight.at(c), norm.bias.at(c));
    let (mut by_weight, mut by_bias) = (Lanes::all(0.0), Lanes::all(0.0));
    let mut first = 0;
    while first < pixels {
        let (mut group_weight, mut group_bias) = (Lanes::all(0.0), Lanes::all(0.0));
        for p in first..pixels.min(first + GROUP) {
            let x = Lanes::load(xs.wrapping_add(p * channels));
            let up = up::<T, W, RELU>(job, line, x, start + p, c);
            group_weight = group_weight + up * (x - line.mean);
            group_bias = group_bias + up;
        }
        by_weight = by_weight + group_weight;
        by_bias = by_bias + group_bias;
        first += GROUP;
    }
    ((by_weight - by_bias * line.rest) * line.root).store(norm.sums.at(n * 2 * channels + c));
    by_bias.store(norm.sums.at((n * 2 + 1) * channels + c));
}

/// Writes the part that does not depend on the pixel to `planes`: dx = root (weight dy - mean of weight dy - z mean of
/// weight dy z), the means over a group's channels and pixels.
#[inline(always)]
fn settle_backward<T>(job: &Backward<T>, norm: NormMemory, n: usize, block: Range<usize>) {
    let Blocks { channels, pixels, group, .. } = job.blocks;
    for first in block.step_by(group) {
        let (mut level, mut slant) = (0.0, 0.0);
        for c in first..first + group {
            slant += read(norm.weight, c) * read(norm.sums, n * 2 * channels + c);
            level += read(norm.weight, c) * read(norm.sums, (n * 2 + 1) * channels + c);
        }
        let root = read(norm.lines, (n * 3 + 1) * channels + first);
        let rest = read(norm.lines, (n * 3 + 2) * channels + first);
        let share = root / (group * pixels) as f32;
        let slant = slant * share * root;
        let level = level * share - slant * rest;
        for c in first..first + group {
            Lanes::<1>::all(level).store(norm.planes.at(n * 2 * channels + c));
            Lanes::<1>::all(slant).store(norm.planes.at((n * 2 + 1) * channels + c));
        }
    }
}

#[inline(always)]
fn read(memory: &Memory<f32>, place: usize) -> f32 {
    // SAFETY: places of this task's channels, or of the norm's.
    unsafe { *memory.at(place) }
}

#[inline(always)]
fn unapply<T: Format, const W: usize, const RELU: bool>(job: &Backward<T>, n: usize, c: usize) {
    let Blocks { channels, pixels, .. } = job.blocks;
    let start = n * pixels;
    let place = start * channels + c;
    let (xs, downs) = (job.xs.at(place), job.downs.at(place));
    let Some(norm) = job.norm() else {
        for p in 0..pixels {
            let x = Lanes::<W>::load(xs.wrapping_add(p * channels));
            up::<T, W, RELU>(job, Line::straight(), x, start + p, c).store(downs.wrapping_add(p * channels));
        }
        return;
    };
    let line = Line::<W>::new(norm.lines, n, channels, c, norm.weight.at(c), norm.bias.at(c));
    let level = Lanes::load(norm.planes.at(n * 2 * channels + c));
    let slant = Lanes::load(norm.planes.at((n * 2 + 1) * channels + c));
    for p in 0..pixels {
        let x = Lanes::load(xs.wrapping_add(p * channels));
        let up = up::<T, W, RELU>(job, line, x, start + p, c);
        let down = up * line.scale - level - (x - line.mean) * slant;
        down.store(downs.wrapping_add(p * channels));
    }
}

/// The gradient before the activation, for a pixel's channels from `c` on.
#[inline(always)]
fn up<T: Format, const W: usize, const RELU: bool>(
    job: &Backward<T>,
    line: Line<W>,
    x: Lanes<W>,
    pixel: usize,
    c: usize,
) -> Lanes<W> {
    let before = match &job.ys {
        Some(ys) => Lanes::load(ys.at(pixel * job.blocks.channels + c)),
        None => line.of(x),
    };
    Lanes::load(job.ups.at(pixel * job.ups_stride + c)).leaky::<RELU>(before, job.slope)
}
