//! The passes over a tensor, and their place in the graph of gradients.

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::kernels::{Backward, Forward, Value};
use super::tasks::Blocks;
use crate::native::{Memory, channels_last, differentiable, parallel_for};
use crate::networks::norm::Norm;
use crate::networks::plain::After;

/// Whether [`activated`] supports such tensors.
pub fn supports(xs: &Tensor) -> bool {
    xs.device() == Device::Cpu && matches!(xs.kind(), Kind::Float | Kind::BFloat16)
}

/// Panics for a tensor that the passes would read beyond its end or in another number format.
fn expect(name: &str, tensor: &Tensor, size: &[i64], kind: Kind) {
    let got = (tensor.size(), tensor.kind(), tensor.device());
    assert!(
        got.0 == size && got.1 == kind && got.2 == Device::Cpu,
        "{name} of a fused layer: expected {size:?}, {kind:?}, on the CPU, got {:?}, {:?}, {:?}",
        got.0,
        got.1,
        got.2,
    );
}

/// Computes leaky(norm(xs) + noise) + skip, channels last. The result can be differentiated once.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`. Returns the same.
pub fn activated(xs: &Tensor, norm: Option<&Norm>, after: After) -> Tensor {
    match xs.kind() {
        Kind::Float => run::<f32>(xs, norm, after),
        Kind::BFloat16 => run::<bf16>(xs, norm, after),
        kind => unreachable!("float32 or bfloat16, not {kind:?}"),
    }
}

fn run<T: Value>(given: &Tensor, norm: Option<&Norm>, after: After) -> Tensor {
    assert!(after.noise.is_none() || after.skip.is_none());
    let (n, c, h, w) = given.size4().expect("[N, C, H, W]");
    let size = [n, c, h, w];
    for (name, other) in [("noise", after.noise), ("skip", after.skip)] {
        other.inspect(|other| expect(name, other, &size, given.kind()));
    }
    if let Some(norm) = norm {
        assert!(norm.group > 0 && c % norm.group == 0, "{c} channels in groups of {}", norm.group);
        expect("weight", &norm.weight, &[c], Kind::Float);
        expect("bias", &norm.bias, &[c], Kind::Float);
    }
    let group = norm.map_or(1, |norm| norm.group) as usize;
    let threads = tch::get_num_threads().max(1) as usize;
    let blocks = Blocks::new(n as usize, c as usize, (h * w) as usize, group, threads);
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
    let pair = norm.map(|norm| [&norm.weight, &norm.bias]);
    let values = pair.map(|pair| pair.map(|t| t.detach().contiguous()));
    let ys = like(&xs);
    // The line of each channel's norm: y = scale (x - mean) + bias.
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

    // With noise, the output's sign gives the activation's side; without noise, the line does.
    let outcome = noise.is_some().then(|| ys.detach());
    let skipped = skip.is_some();
    let gradient = move |given: &Tensor, wanted: &[bool]| {
        expect("gradient", given, &size, xs.kind());
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

/// Returns a tensor with the channels of each pixel together, and the distance from one pixel to the next. Copies
/// nothing if the tensor, or the wider tensor whose channels it is a part of, has this layout.
fn with_channels_last(xs: &Tensor) -> (Tensor, usize) {
    let (_, c, h, w) = xs.size4().expect("[N, C, H, W]");
    let stride = xs.stride();
    let pixel = stride[3];
    match stride == [h * w * pixel, 1, w * pixel, pixel] && pixel >= c {
        true => (xs.shallow_clone(), pixel as usize),
        false => (channels_last(xs), c as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NormGradient;
    use crate::networks::plain::leaky_relu;

    fn drawn(shape: &[i64], number: u64) -> Tensor {
        let mut t = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        crate::random::fill_normal(&mut t, 1.0, 3, "fused", number);
        t
    }

    fn norm(weight: &Tensor, bias: &Tensor, group: i64) -> Norm {
        let [weight, bias] = [weight, bias].map(Tensor::shallow_clone);
        Norm { weight, bias, group, epsilon: 2e-5, gradient: NormGradient::Picture }
    }

    /// Computes the same by libtorch's operations.
    fn plain(xs: &Tensor, norm: Option<&Norm>, after: After) -> Tensor {
        let mut ys = xs.shallow_clone();
        if let Some(norm) = norm {
            let groups = xs.size()[1] / norm.group;
            ys = xs.group_norm(groups, Some(&norm.weight), Some(&norm.bias), norm.epsilon, false);
        }
        if let Some(noise) = after.noise {
            // Not in place: a leaf must not change.
            ys = &ys + noise;
        }
        let ys = leaky_relu(&ys, after.slope);
        after.skip.map_or(ys.shallow_clone(), |skip| ys + skip)
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_picture_alone() {
        let xs = drawn(&[1, 64, 32, 24], 0);
        let (weight, bias) = (drawn(&[64], 1), drawn(&[64], 2));
        let by = drawn(&[1, 64, 32, 24], 3);
        for kind in [Kind::Float, Kind::BFloat16] {
            for group in [1, 8] {
                let of = |threads| {
                    let _threads = crate::native::use_threads(threads);
                    let leaf = |t: &Tensor| t.copy().set_requires_grad(true);
                    let leaves = [leaf(&xs.to_kind(kind)), leaf(&weight), leaf(&bias)];
                    let [xs, weight, bias] = &leaves;
                    let ys = activated(xs, Some(&norm(weight, bias, group)), After::LEAKY);
                    let total = (&ys * by.to_kind(kind)).sum(Kind::Float);
                    let mut found = Tensor::run_backward(&[total], &leaves, false, false);
                    found.push(ys.detach());
                    found
                };
                let one = of(1);
                for threads in [2, 4] {
                    assert_eq!(of(threads), one, "{kind:?} {group} {threads}");
                }
            }
        }
    }

    /// With noise, slope, with a skip.
    const CASES: [(bool, f64, bool); 3] = [(true, 0.2, false), (false, 0.0, true), (false, 0.2, false)];

    #[test]
    fn values_and_gradients_are_those_of_the_parts() {
        // Channels and groups that fill lanes, blocks, and neither; many pixels; group 0: no norm. The pictures differ
        // in brightness.
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
                // The gradients and the result, computed in a number format.
                let all = |f: fn(&Tensor, Option<&Norm>, After) -> Tensor, kind| {
                    let leaf = |t: &Tensor| t.to_kind(kind).copy().set_requires_grad(true);
                    let [xs, weight, bias, other] = [&xs, &weight, &bias, &other].map(leaf);
                    let noise = noise.to_kind(kind);
                    let norm = norm(&weight, &bias, group);
                    let after = After { noise: noisy.then_some(&noise), slope, skip: skips.then_some(&other) };
                    let ys = f(&xs, (group > 0).then_some(&norm), after);
                    let mut inputs = vec![&xs];
                    inputs.extend((group > 0).then_some([&weight, &bias]).into_iter().flatten());
                    inputs.extend(after.skip);
                    // With a skip also as a part of a wider tensor, whose gradient has strides.
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
    fn other_formats_and_sizes_never_reach_the_passes() {
        let xs = drawn(&[2, 16, 4, 4], 0);
        let (weight, bias) = (drawn(&[16], 1), drawn(&[16], 2));
        let refused = |xs: &Tensor, norm: Option<&Norm>, after: After| {
            crate::native::isolated::<_, crate::Error>(|| Ok(activated(xs, norm, after))).unwrap_err().to_string()
        };
        let noise = After { noise: Some(&xs.to_kind(Kind::BFloat16)), ..After::LEAKY };
        assert!(
            refused(&xs, None, noise).contains("noise of a fused layer: expected [2, 16, 4, 4], Float, on the CPU")
        );
        let narrow = xs.narrow(3, 0, 2);
        assert!(refused(&xs, None, After { skip: Some(&narrow), ..After::RELU }).contains("got [2, 16, 4, 2]"));
        let short = norm(&weight.narrow(0, 0, 8), &bias, 1);
        assert!(refused(&xs, Some(&short), After::LEAKY).contains("weight"));
        let double = norm(&weight, &bias.to_kind(Kind::Double), 1);
        assert!(refused(&xs, Some(&double), After::LEAKY).contains("bias"));
        assert!(refused(&xs, Some(&norm(&weight, &bias, 3)), After::LEAKY).contains("16 channels in groups of 3"));
        assert!(refused(&xs.to_kind(Kind::Double), None, After::LEAKY).contains("Double"));
        // Strides are no other format.
        let spread = Tensor::stack(&[&weight, &bias], 1);
        let [w, b] = [0, 1].map(|k| spread.select(1, k));
        let got = activated(&xs, Some(&norm(&w, &b, 1)), After::LEAKY);
        assert_eq!(got, activated(&xs, Some(&norm(&weight, &bias, 1)), After::LEAKY));
    }

    #[test]
    fn infinities_and_nan_pass_as_in_libtorch() {
        use crate::networks::plain::activated as in_libtorch;
        let values = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -1.0, 0.0, 2.0, -0.0, f32::MIN];
        // Results and gradients as numbers: NaN is one number, zeros have no sign.
        let plain = |t: &Tensor| {
            let numbers = Vec::<f32>::try_from(t.to_kind(Kind::Float).reshape([-1])).unwrap();
            numbers.into_iter().map(|v| format!("{}", v + 0.0)).collect::<Vec<_>>()
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            for after in [After::RELU, After::LEAKY] {
                for upstream in [1.0, f64::INFINITY, f64::NAN] {
                    let all = |f: fn(Tensor, After) -> Tensor| {
                        let xs = Tensor::from_slice(&values).repeat([5]).reshape([1, 20, 1, 2]).to_kind(kind);
                        let xs = xs.set_requires_grad(true);
                        let ys = f(xs.shallow_clone(), after);
                        let total = (&ys * ys.full_like(upstream)).sum(kind);
                        let found = Tensor::run_backward(&[total], &[&xs], false, false);
                        [plain(&ys.detach()), plain(&found[0])]
                    };
                    let got = all(|xs, after| activated(&xs, None, after));
                    assert_eq!(got, all(|xs, after| in_libtorch(xs, None, after)), "{kind:?} {after:?} {upstream}");
                }
            }
        }
    }

    #[test]
    fn bfloat16_rounds_only_at_the_end() {
        let xs = drawn(&[2, 16, 4, 4], 0).to_kind(Kind::BFloat16);
        let (weight, bias) = (drawn(&[16], 1), drawn(&[16], 2));
        let norm = norm(&weight, &bias, 1);
        let got = activated(&xs, Some(&norm), After::LEAKY);
        assert_eq!(got.kind(), Kind::BFloat16);
        let exact = plain(&xs.to_kind(Kind::Float), Some(&norm), After::LEAKY);
        let apart = (got.to_kind(Kind::Float) - &exact).abs() / (exact.abs() + 1e-3);
        // Half of 2^-7, the distance of neighbours.
        assert!(apart.max().double_value(&[]) < 1.01 / 256.0);
    }
}
