//! Norms of each picture's own statistics, in training and in use.

use tch::{Kind, Tensor};

use super::parameters::{Init, Path, ReadAs};
use crate::config::NormGradient;
use crate::native::channels_last;

/// Groups of a group norm.
const GROUPS: i64 = 8;

/// An instance norm, or a group norm (Wu & He 2018, arXiv 1803.08494): the mean and the biased variance of each
/// picture's channel, or of its group of channels.
#[derive(Debug)]
pub struct Norm {
    /// `[C]`, float32.
    pub weight: Tensor,
    /// `[C]`, float32.
    pub bias: Tensor,
    /// Channels that share a mean and a deviation.
    pub group: i64,
    /// Added to the variance.
    pub epsilon: f64,
    pub gradient: NormGradient,
}

impl Norm {
    /// An instance norm (A: eps 2e-5, affine). State-dict names `weight`, `bias`.
    pub fn instance(path: &Path, channels: i64, gradient: NormGradient) -> Self {
        let [weight, bias] = Self::affine(path, channels);
        Norm { weight, bias, group: 1, epsilon: 2e-5, gradient }
    }

    /// A group norm of eight groups. State-dict names `weight`, `bias`.
    pub fn grouped(path: &Path, channels: i64) -> Self {
        let [weight, bias] = Self::affine(path, channels);
        Norm { weight, bias, group: channels / GROUPS, epsilon: 1e-5, gradient: NormGradient::Picture }
    }

    fn affine(path: &Path, channels: i64) -> [Tensor; 2] {
        [("weight", Init::Ones), ("bias", Init::Zeros)]
            .map(|(name, init)| path.declare(name, &[channels], init, ReadAs::Float32))
    }

    /// # Shapes
    /// `xs`: `[N, C, H, W]`. Returns the same.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        if self.gradient == NormGradient::Batch {
            return self.with_gradient_of_batch(xs);
        }
        // For an instance norm too: one kernel forward and one back, without repeating the parameters N times.
        let norm = |xs: &Tensor| {
            let groups = xs.size()[1] / self.group;
            xs.group_norm(groups, Some(&self.weight), Some(&self.bias), self.epsilon, true)
        };
        // For channels last libtorch's kernel for a CPU sums in float32, and is slow; that for CUDA does not have it.
        let plain = xs.contiguous();
        if !xs.device().is_cuda() {
            return norm(&plain);
        }
        let ys = match xs.kind() {
            Kind::BFloat16 => self.by_batch_norm(&plain),
            _ => norm(&plain),
        };
        match xs.is_contiguous() {
            true => ys,
            false => channels_last(&ys),
        }
    }

    /// Computes the norm of bfloat16 pictures by a batch norm whose channels are each picture's groups. libtorch's group
    /// norm on CUDA needs parameters in the pictures' format, and keeps means and deviations for the gradient in it: a
    /// mean of 50 deviations is then off by a tenth of one. Its batch norm takes float32 parameters, keeps both in float32, and copies nothing.
    fn by_batch_norm(&self, xs: &Tensor) -> Tensor {
        let (n, c, h, w) = xs.size4().expect("[N, C, H, W]");
        let groups = xs.view([1, n * c / self.group, self.group * h, w]);
        let normed = |affine: Option<[Tensor; 2]>| {
            let (weight, bias) = affine.map(|[weight, bias]| (weight, bias)).unzip();
            let ys = groups.batch_norm(weight, bias, None, None, true, 0.0, self.epsilon, false);
            ys.view([n, c, h, w])
        };
        if self.group == 1 {
            return normed(Some([&self.weight, &self.bias].map(|xs| xs.repeat([n]))));
        }
        let affine = |xs: &Tensor| xs.to_kind(Kind::BFloat16).reshape([1, -1, 1, 1]);
        affine(&self.bias).addcmul(&normed(None), &affine(&self.weight))
    }

    /// Computes the same values with the gradient of the article's dependency. It takes the batch's means of dy and of
    /// dy x instead of each picture's.
    fn with_gradient_of_batch(&self, xs: &Tensor) -> Tensor {
        let dims = |dims: &'static [i64]| move |xs: &Tensor| xs.mean_dim(dims, true, Kind::Float).to_kind(xs.kind());
        let (own, batch) = (dims(&[2, 3]), dims(&[0, 2, 3]));
        // The statistics are constants. Differences of value zero add what their derivatives would add.
        let mean = own(&xs.detach());
        let variance = own(&(xs.detach() - &mean).square());
        let ys = (xs - mean) / (variance + self.epsilon).sqrt();
        let given = ys.detach();
        let zero = |xs: Tensor| &xs - xs.detach();
        let ys = &ys - zero(batch(&ys)) - &given * zero(batch(&(&ys * &given)));
        let affine = |xs: &Tensor| xs.to_kind(ys.kind()).reshape([1, -1, 1, 1]);
        &ys * affine(&self.weight) + affine(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn norm(weight: Tensor, bias: Tensor, gradient: NormGradient) -> Norm {
        Norm { weight, bias, group: 1, epsilon: 2e-5, gradient }
    }

    #[test]
    fn by_a_batch_norm_it_is_the_norm_of_float32_rounded() {
        let drawn = |shape: &[i64], number| {
            let mut t = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
            crate::random::fill_normal(&mut t, 1.0, 1, "norm/batch", number);
            t
        };
        // Means of several deviations.
        let xs = (drawn(&[3, 16, 12, 9], 0) + drawn(&[3, 16, 1, 1], 1) * 4.0).to_kind(Kind::BFloat16);
        let (weight, bias) = (drawn(&[16], 2) + 1.0, drawn(&[16], 3));
        let by = drawn(&[3, 16, 12, 9], 4).to_kind(Kind::BFloat16);
        for group in [1, 2, 8] {
            let of = |by_batch: bool, kind: Kind| {
                let leaf = |t: &Tensor| t.copy().set_requires_grad(true);
                let leaves = [leaf(&xs.to_kind(kind)), leaf(&weight), leaf(&bias)];
                let [xs, weight, bias] = leaves.each_ref().map(Tensor::shallow_clone);
                let norm = Norm { group, ..norm(weight, bias, NormGradient::Picture) };
                let ys = if by_batch { norm.by_batch_norm(&xs) } else { norm.forward(&xs) };
                assert_eq!(ys.kind(), kind);
                let total = (&ys * by.to_kind(kind)).sum(Kind::Float);
                let mut found = Tensor::run_backward(&[total], &leaves, false, false);
                found.push(ys.detach());
                found.into_iter().map(|xs| xs.to_kind(Kind::Float)).collect::<Vec<_>>()
            };
            let (exact, got) = (of(false, Kind::Float), of(true, Kind::BFloat16));
            for (what, (exact, got)) in ["xs", "weight", "bias", "ys"].into_iter().zip(exact.iter().zip(&got)) {
                let apart = (got - exact).abs().max().double_value(&[]) / exact.abs().max().double_value(&[]);
                assert!(apart < 0.02, "{group} {what}: {apart}");
            }
        }
    }

    /// Compares the gradient of `sum(weights * norm(xs))` with central differences in float64, for a batch of three.
    /// The gradient is that of each picture's own statistics, not of the batch's.
    #[test]
    fn instance_norm_is_differentiated_per_picture() {
        let options = (Kind::Double, Device::Cpu);
        let draw = |shape: &[i64], number| {
            let mut t = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
            crate::random::fill_normal(&mut t, 1.0, 3, "norm", number);
            t.to_kind(Kind::Double)
        };
        let unit = norm(Tensor::ones([1], options), Tensor::zeros([1], options), NormGradient::Picture);
        let norm = norm(draw(&[2], 0), draw(&[2], 1), NormGradient::Picture);
        let weights = draw(&[3, 2, 4, 3], 2);
        // The pictures' means and deviations differ widely, so that batch-wide statistics would fail.
        let scale = Tensor::from_slice(&[0.5, 1.0, 4.0]).reshape([3, 1, 1, 1]);
        let xs = draw(&[3, 2, 4, 3], 3) * &scale + &scale * 3.0;
        let value = |xs: &Tensor| (norm.forward(xs) * &weights).sum(Kind::Double);
        let leaf = xs.copy().set_requires_grad(true);
        value(&leaf).backward();
        let gradient = leaf.grad().reshape([-1]);
        let h = 1e-5;
        for i in 0..xs.numel() as i64 {
            let bump = Tensor::zeros([xs.numel() as i64], options);
            let _ = bump.get(i).fill_(h);
            let bump = bump.reshape(xs.size());
            let slope = (value(&(&xs + &bump)) - value(&(&xs - &bump))).double_value(&[]) / (2.0 * h);
            let analytic = gradient.double_value(&[i]);
            assert!((slope - analytic).abs() < 1e-7, "{i}: {slope} and {analytic}");
        }
        // Biased variance: norm of (0, 2) is (-1, 1) up to eps.
        let ys = unit.forward(&Tensor::from_slice(&[0.0, 2.0]).reshape([1, 1, 1, 2]));
        let expected = 1.0 / (1.0f64 + 2e-5).sqrt();
        assert!((ys.double_value(&[0, 0, 0, 1]) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_articles_instance_norm_propagates_the_batchs_means() {
        // One channel, pictures of two pixels: x = (0, 2) and (4, 8), so normed (-1, 1) each, of deviations 1 and 2.
        let options = (Kind::Double, Device::Cpu);
        let xs = Tensor::from_slice(&[0.0, 2.0, 4.0, 8.0]).reshape([2, 1, 1, 2]);
        let xs = xs.set_requires_grad(true);
        let norm = |gradient| norm(Tensor::full([1], 3.0, options), Tensor::full([1], 0.5, options), gradient);
        let ys = norm(NormGradient::Batch).forward(&xs);
        let expected = norm(NormGradient::Picture).forward(&xs);
        assert!((&ys - expected).abs().max().double_value(&[]) < 1e-12);
        // dL/dy = (1, 0, 0, 0), which is (3, 0, 0, 0) on the normed. Over the batch, its mean is 3 / 4, and its mean
        // times x is -3 / 4. Hence (3 - 3/4 - 3/4, -3/4 + 3/4) / 1 and (-3/4 - 3/4, -3/4 + 3/4) / 2. With each
        // picture's own means the second would be zero.
        ys.reshape([-1]).get(0).backward();
        let got = Vec::<f64>::try_from(xs.grad().reshape([-1])).unwrap();
        for (got, expected) in got.iter().zip([1.5, 0.0, -0.75, 0.0]) {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
    }
}
