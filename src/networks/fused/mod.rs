//! What a block does after its convolution, on a CPU: instance or group norm, noise, leaky ReLU and skip in three
//! passes over some of a picture's channels, which the processor's caches hold meanwhile, and their gradient in two.
//! libtorch goes through the whole tensor and takes another for each of the four, and more often to go back.

mod kernels;
mod lanes;

use std::ops::Range;

use half::bf16;
use kernels::{Backward, Forward, Value};
use tch::{Device, Kind, Tensor};

use super::blocks::leaky_relu;
use crate::native::{Memory, channels_last, differentiable, parallel_for};

/// Whether [`activated`] computes with such tensors.
pub fn takes(xs: &Tensor) -> bool {
    xs.device() == Device::Cpu && matches!(xs.kind(), Kind::Float | Kind::BFloat16)
}

/// What follows a convolution and its norm.
#[derive(Clone, Copy, Debug, Default)]
pub struct After<'a> {
    /// Added before the activation, `[N, C, H, W]`.
    pub noise: Option<&'a Tensor>,
    /// What the activation multiplies negative values by: leaky ReLU's slope, 0 for ReLU.
    pub slope: f64,
    /// Added after the activation, `[N, C, H, W]`; not together with noise.
    pub skip: Option<&'a Tensor>,
}

impl After<'_> {
    /// Leaky ReLU with the slope of all presets, and nothing else.
    pub const LEAKY: After<'static> = After { noise: None, slope: 0.2, skip: None };
}

/// A norm of each picture's own statistics: a group norm (Wu & He 2018, arXiv 1803.08494), or with one channel a group
/// an instance norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[C]`, float32.
    pub weight: &'a Tensor,
    /// `[C]`, float32.
    pub bias: &'a Tensor,
    /// Channels that share a mean and a deviation.
    pub group: i64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// leaky(norm(xs) + noise) + skip, channels last, to be differentiated once.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`. Returns the same.
pub fn activated(xs: &Tensor, norm: Option<Norm>, after: After) -> Tensor {
    match xs.kind() {
        Kind::Float => run::<f32>(xs, norm, after),
        Kind::BFloat16 => run::<bf16>(xs, norm, after),
        kind => unreachable!("float32 or bfloat16, not {kind:?}"),
    }
}

/// leaky(xs), to be differentiated once on a CPU.
pub fn leaky(xs: &Tensor) -> Tensor {
    match takes(xs) {
        true => activated(xs, None, After::LEAKY),
        false => leaky_relu(xs, After::LEAKY.slope),
    }
}

fn run<T: Value>(given: &Tensor, norm: Option<Norm>, after: After) -> Tensor {
    assert!(after.noise.is_none() || after.skip.is_none());
    let (n, c, h, w) = given.size4().expect("[N, C, H, W]");
    let group = norm.map_or(1, |norm| norm.group) as usize;
    let blocks =
        Blocks { channels: c as usize, pixels: (h * w) as usize, group, block: group * (BLOCK / group).max(1) };
    let tasks = n as usize * blocks.per_picture();
    let like = move |xs: &Tensor| {
        let ys = Tensor::empty([n, h, w, c], (xs.kind(), Device::Cpu));
        ys.permute([0, 3, 1, 2])
    };
    let per_channel = move |rows: i64| Tensor::empty([n, rows, c], (Kind::Float, Device::Cpu));

    let xs = channels_last(&given.detach());
    let [noise, skip] = [after.noise, after.skip].map(|t| t.map(|t| channels_last(&t.detach())));
    let slope = after.slope as f32;
    let epsilon = norm.map_or(0.0, |norm| norm.epsilon) as f32;
    let pair = norm.map(|norm| [norm.weight, norm.bias]);
    let values = pair.map(|pair| pair.map(Tensor::detach));
    let ys = like(&xs);
    // What a norm makes of a channel: y = scale (x - mean) + bias.
    let lines = norm.map(|_| per_channel(3));
    let forward = Forward::<T> {
        blocks,
        slope,
        epsilon,
        xs: Memory::of(&xs),
        noise: noise.as_ref().map(Memory::of),
        skip: skip.as_ref().map(Memory::of),
        weight: values.as_ref().map(|[weight, _]| Memory::of(weight)),
        bias: values.as_ref().map(|[_, bias]| Memory::of(bias)),
        ys: Memory::of(&ys),
        lines: lines.as_ref().map(Memory::of),
    };
    parallel_for(tasks, |task| T::forward(&forward, task));

    // Where there is noise, the output tells on which side of zero a value was; elsewhere the line tells.
    let outcome = noise.is_some().then(|| ys.detach());
    let skipped = skip.is_some();
    let gradient = move |given: &Tensor, wanted: &[bool]| {
        let (ups, ups_stride) = with_channels_last(given);
        let downs = like(&xs);
        let [sums, planes] = [(); 2].map(|()| lines.is_some().then(|| per_channel(2)));
        let backward = Backward::<T> {
            blocks,
            slope,
            ups: Memory::of(&ups),
            ups_stride,
            xs: Memory::of(&xs),
            ys: outcome.as_ref().map(Memory::of),
            weight: values.as_ref().map(|[weight, _]| Memory::of(weight)),
            bias: values.as_ref().map(|[_, bias]| Memory::of(bias)),
            lines: lines.as_ref().map(Memory::of),
            downs: Memory::of(&downs),
            sums: sums.as_ref().map(Memory::of),
            planes: planes.as_ref().map(Memory::of),
        };
        parallel_for(tasks, |task| T::backward(&backward, task));
        let mut found = vec![Some(downs)];
        if let Some(sums) = sums {
            let sums = sums.sum_dim_intlist(0, false, Kind::Float); // [2, C]
            found.extend([0, 1].map(|k| wanted[1 + k as usize].then(|| sums.get(k))));
        }
        if skipped {
            found.push(Some(given.shallow_clone()));
        }
        found
    };
    let mut inputs = vec![given];
    inputs.extend(pair.into_iter().flatten());
    inputs.extend(after.skip);
    differentiable(ys, &inputs, gradient)
}

/// A tensor with the channels of each pixel together, and how far it is from one pixel to the next: itself where it is
/// so already, as a part of the channels of a wider tensor also is.
fn with_channels_last(xs: &Tensor) -> (Tensor, usize) {
    let (_, c, h, w) = xs.size4().expect("[N, C, H, W]");
    let stride = xs.stride();
    let pixel = stride[3];
    match stride == [h * w * pixel, 1, w * pixel, pixel] && pixel >= c {
        true => (xs.shallow_clone(), pixel as usize),
        false => (channels_last(xs), c as usize),
    }
}

/// Channels that one task takes of a picture, about.
const BLOCK: usize = 64;

/// How pictures are cut into tasks: by picture and block of channels.
#[derive(Clone, Copy)]
struct Blocks {
    channels: usize,
    pixels: usize,
    group: usize,
    /// Channels of a task: whole groups.
    block: usize,
}

impl Blocks {
    fn per_picture(self) -> usize {
        self.channels.div_ceil(self.block)
    }

    /// A task's picture and its channels.
    fn task(self, task: usize) -> (usize, Range<usize>) {
        let first = task % self.per_picture() * self.block;
        let last = self.channels.min(first + self.block);
        (task / self.per_picture(), first..last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(shape: &[i64], number: u64) -> Tensor {
        let mut t = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        crate::random::fill_normal(&mut t, 1.0, 3, "fused", number);
        t
    }

    /// libtorch's own operations, one after the other.
    fn plain(xs: &Tensor, norm: Option<Norm>, after: After) -> Tensor {
        let mut ys = xs.shallow_clone();
        if let Some(norm) = norm {
            let groups = xs.size()[1] / norm.group;
            ys = xs.group_norm(groups, Some(norm.weight), Some(norm.bias), norm.epsilon, false);
        }
        if let Some(noise) = after.noise {
            // Not in place: a leaf may not change.
            ys = &ys + noise;
        }
        let ys = leaky_relu(&ys, after.slope);
        after.skip.map_or(ys.shallow_clone(), |skip| ys + skip)
    }

    /// Whether there is noise, slope, whether there is a skip.
    const CASES: [(bool, f64, bool); 3] = [(true, 0.2, false), (false, 0.0, true), (false, 0.2, false)];

    #[test]
    fn values_and_gradients_are_those_of_the_parts() {
        // Channels and groups that fill lanes, blocks, and neither; many pixels; no norm. Pictures differ in
        // brightness.
        let shapes = [
            (3, 1, 2, 3),
            (16, 1, 4, 4),
            (19, 1, 3, 1),
            (130, 1, 6, 5),
            (8, 1, 40, 30),
            (24, 3, 5, 4),
            (160, 20, 4, 3),
            (144, 72, 3, 3),
            (48, 0, 3, 3),
        ];
        for (c, group, h, w) in shapes {
            let level = Tensor::from_slice(&[0f32, 3.0, -20.0]).reshape([3, 1, 1, 1]);
            let shape = [3, c, h, w];
            let xs = drawn(&shape, 0) + level;
            let (weight, bias) = (drawn(&[c], 1) + 1.0, drawn(&[c], 2));
            let (noise, other, by) = (drawn(&shape, 3), drawn(&shape, 4), drawn(&shape, 5));
            for (noisy, slope, skips) in CASES {
                // All that is returned and its gradients, computed in a number format.
                let all = |f: fn(&Tensor, Option<Norm>, After) -> Tensor, kind| {
                    let leaf = |t: &Tensor| t.to_kind(kind).copy().set_requires_grad(true);
                    let [xs, weight, bias, other] = [&xs, &weight, &bias, &other].map(leaf);
                    let (noise, epsilon) = (noise.to_kind(kind), 2e-5);
                    let norm = Norm { weight: &weight, bias: &bias, group, epsilon };
                    let after = After { noise: noisy.then_some(&noise), slope, skip: skips.then_some(&other) };
                    let ys = f(&xs, (group > 0).then_some(norm), after);
                    let mut inputs = vec![&xs];
                    inputs.extend((group > 0).then_some([&weight, &bias]).into_iter().flatten());
                    inputs.extend(after.skip);
                    // With a skip also as a part of a wider tensor, whose gradient comes in strides.
                    let wide = Tensor::cat(&[&noise, &ys], 1).narrow(1, c, c);
                    let seen = if skips { &wide } else { &ys };
                    let total = (seen * by.to_kind(kind)).sum(kind);
                    let mut found = Tensor::run_backward(&[total], &inputs, false, false);
                    found.push(ys.detach());
                    found
                };
                let exact = all(plain, Kind::Double);
                for (k, (got, exact)) in all(activated, Kind::Float).iter().zip(&exact).enumerate() {
                    let scale = exact.abs().max().double_value(&[]).max(1.0);
                    let apart = (got - exact).abs().max().double_value(&[]) / scale;
                    assert!(apart < 5e-6, "{c} {group} {h} {w}, noise {noisy}, skip {skips}, {k}: {apart}");
                }
            }
        }
    }

    #[test]
    fn bfloat16_rounds_only_at_the_end() {
        let xs = drawn(&[2, 16, 4, 4], 0).to_kind(Kind::BFloat16);
        let (weight, bias) = (drawn(&[16], 1), drawn(&[16], 2));
        let norm = Norm { weight: &weight, bias: &bias, group: 1, epsilon: 2e-5 };
        let after = After { slope: 0.2, ..After::default() };
        let got = activated(&xs, Some(norm), after);
        assert_eq!(got.kind(), Kind::BFloat16);
        let exact = plain(&xs.to_kind(Kind::Float), Some(norm), after);
        let apart = (got.to_kind(Kind::Float) - &exact).abs() / (exact.abs() + 1e-3);
        // Half of 2^-7, the distance of neighbours.
        assert!(apart.max().double_value(&[]) < 1.01 / 256.0);
    }
}
