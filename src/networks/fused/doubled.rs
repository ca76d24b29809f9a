//! Doubling of a picture's size with a gradient of its own: libtorch's copies the gradient twice and sums value by
//! value, and takes twenty times as long.

use half::bf16;
use multiversion::multiversion;
use tch::{Device, Kind, Tensor};

use super::lanes::Format;
use crate::native::{Element, Memory, channels_last, differentiable, parallel_for};

/// The channels below which libtorch's gradient is kept.
const LEAST: i64 = 8;

/// Doubles the size, bilinearly, between pixel middles. With many channels on a CPU the result can be differentiated
/// once.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`. Returns `[N, C, 2 H, 2 W]`.
pub fn doubled(xs: &Tensor) -> Tensor {
    match xs.kind() {
        Kind::Float if takes(xs) => with_gradient::<f32>(xs),
        Kind::BFloat16 if takes(xs) => with_gradient::<bf16>(xs),
        _ => plain(xs),
    }
}

fn takes(xs: &Tensor) -> bool {
    xs.device() == Device::Cpu && xs.requires_grad() && xs.size()[1] >= LEAST
}

fn plain(xs: &Tensor) -> Tensor {
    let (_, _, h, w) = xs.size4().expect("[N, C, H, W]");
    xs.upsample_bilinear2d([2 * h, 2 * w], false, None, None)
}

fn with_gradient<T: Value>(xs: &Tensor) -> Tensor {
    let (n, c, h, w) = xs.size4().expect("[N, C, H, W]");
    let ys = plain(&xs.detach());
    differentiable(ys, &[xs], move |ups, _| {
        let ups = channels_last(ups);
        let downs = Tensor::empty([n, h, w, c], (T::KIND, Device::Cpu));
        let [h, w, c] = [h, w, c].map(|side| side as usize);
        let job = Job::<T> { h, w, c, ups: Memory::of(&ups), downs: Memory::of(&downs) };
        parallel_for(n as usize * h, |task| T::line(&job, task));
        vec![Some(downs.permute([0, 3, 1, 2]))]
    })
}

struct Job<T> {
    h: usize,
    w: usize,
    c: usize,
    ups: Memory<T>,
    downs: Memory<T>,
}

/// A number format whose pass is compiled for several processors.
trait Value: Format + Element {
    fn line(job: &Job<Self>, task: usize);
}

macro_rules! compile {
    ($format:ty) => {
        impl Value for $format {
            fn line(job: &Job<Self>, task: usize) {
                #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
                fn best(job: &Job<$format>, task: usize) {
                    line(job, task);
                }
                best(job, task);
            }
        }
    };
}

compile!(f32);
compile!(bf16);

/// The places of the larger side that a place of the smaller one contributes to, and by how much. Beyond the edge the
/// border's value continues.
#[inline(always)]
fn shares(place: usize, length: usize) -> [(usize, f32); 4] {
    let (first, last) = (place == 0, place + 1 == length);
    let at = 2 * place;
    [
        (at.saturating_sub(1), if first { 0.0 } else { 0.25 }),
        (at, if first { 1.0 } else { 0.75 }),
        (at + 1, if last { 1.0 } else { 0.75 }),
        (if last { at + 1 } else { at + 2 }, if last { 0.0 } else { 0.25 }),
    ]
}

/// One line of the smaller side.
#[inline(always)]
fn line<T: Format>(job: &Job<T>, task: usize) {
    let Job { h, w, c, ups, downs } = *job;
    let (n, y) = (task / h, task % h);
    let length = 2 * w * c;
    // The larger side's lines in sum, then its columns.
    let mut sums = vec![0f32; length];
    let lines = shares(y, h).map(|(line, share)| (ups.at((n * 2 * h + line) * length).cast_const(), share));
    for (k, sum) in sums.iter_mut().enumerate() {
        for (line, share) in lines {
            // SAFETY: a value of the line, which holds so many.
            *sum += share * unsafe { *line.add(k) }.read();
        }
    }
    for x in 0..w {
        let columns = shares(x, w).map(|(column, share)| (&sums[column * c..(column + 1) * c], share));
        let to = downs.at((task * w + x) * c);
        for k in 0..c {
            let mut sum = 0.0;
            for (column, share) in columns {
                sum += share * column[k];
            }
            // SAFETY: a value of this line, to which no other task writes.
            unsafe { *to.add(k) = T::write(sum) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_libtorchs() {
        for [n, c, h, w] in [[2, 8, 4, 3], [1, 19, 1, 5], [3, 16, 2, 1], [1, 32, 6, 4]] {
            let draw = |shape: [i64; 4], number| {
                let mut t = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
                crate::random::fill_normal(&mut t, 1.0, 3, "doubled", number);
                t
            };
            let (xs, ups) = (draw([n, c, h, w], 0), draw([n, c, 2 * h, 2 * w], 1));
            let gradient = |kind: Kind, double: &dyn Fn(&Tensor) -> Tensor| {
                let leaf = xs.to_kind(kind).set_requires_grad(true);
                let ys = double(&leaf);
                let loss = (&ys * ups.to_kind(kind)).sum(Kind::Double);
                (ys, Tensor::run_backward(&[loss], &[&leaf], false, false).remove(0))
            };
            let (ys, exact) = gradient(Kind::Double, &plain);
            for (kind, within) in [(Kind::Float, 1e-6), (Kind::BFloat16, 2e-2)] {
                let (got, slope) = gradient(kind, &doubled);
                for (got, exact) in [(got, &ys), (slope, &exact)] {
                    let apart = (got.to_kind(Kind::Double) - exact).abs().max().double_value(&[]);
                    assert!(apart <= within * exact.abs().max().double_value(&[]), "{c} {h} {w} {kind:?}: {apart}");
                }
            }
        }
    }
}
