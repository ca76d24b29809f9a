//! The parts that both sources build from: stride-2 convolutions, instance norm, leaky ReLU, averaged copies.

use tch::{Device, Kind, Tensor};

use super::fused::{self, After, Norm};
use super::parameters::{Init, Path};
use super::weight::Weight;
use crate::config::{Config, NormGradient};
use crate::native::channels_last;

/// Whether a block halves or doubles the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Down,
    Up,
}

/// A convolution (or its transpose) of kernel 4, stride 2, padding 1, and its instance norm if it has one.
#[derive(Debug)]
pub struct Block {
    direction: Direction,
    weight: Weight,
    bias: Tensor,
    norm: Option<InstanceNorm>,
    /// Whether a CPU may take the faster way, which can be differentiated once only and in each picture's own
    /// statistics.
    fused: bool,
}

impl Block {
    /// State-dict names `conv.weight`, `conv.bias`, `norm.weight`, `norm.bias`, in PyTorch's layouts; with `spectral`,
    /// the weight is divided by its spectral norm, and there is the vector `conv.left`.
    pub fn new(
        path: &Path,
        direction: Direction,
        [c_in, c_out]: [i64; 2],
        norm: bool,
        spectral: bool,
        config: &Config,
    ) -> Self {
        let conv = path.sub("conv");
        let gradient = config.norm_gradient;
        let shape = match direction {
            Direction::Down => [c_out, c_in, 4, 4],
            Direction::Up => [c_in, c_out, 4, 4],
        };
        Block {
            direction,
            weight: Weight::new(&conv, &shape, false, spectral),
            bias: conv.declare("bias", &[c_out], Init::Zeros, false),
            norm: norm.then(|| InstanceNorm::new(&path.sub("norm"), c_out, gradient)),
            fused: gradient == NormGradient::Picture && config.r1_weight == 0.0,
        }
    }

    /// The convolution, its norm, and what follows: leaky(norm(conv(xs)) + noise) + skip.
    ///
    /// # Shapes
    /// As [`Block::forward`].
    pub fn activated(&self, xs: &Tensor, after: After) -> Tensor {
        if self.fused && fused::takes(xs) {
            let norm =
                self.norm.as_ref().map(|norm| Norm { weight: &norm.weight, bias: &norm.bias, group: 1, epsilon: EPS });
            return fused::activated(&self.convolved(&channels_last(xs)), norm, after);
        }
        let mut ys = self.forward(xs);
        if let Some(noise) = after.noise {
            ys += noise;
        }
        let ys = match after.slope {
            0.0 => ys.relu(),
            slope => leaky_relu(&ys, slope),
        };
        match after.skip {
            Some(skip) => ys + skip,
            None => ys,
        }
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `[N, c_out, H / 2, W / 2]` or `[N, c_out, 2 H, 2 W]`.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        let ys = self.convolved(xs);
        match &self.norm {
            Some(norm) => norm.forward(&ys),
            None => ys,
        }
    }

    fn convolved(&self, xs: &Tensor) -> Tensor {
        let (weight, bias) = (&self.weight.value(), Some(&self.bias));
        match self.direction {
            Direction::Down => xs.conv2d(weight, bias, [2, 2], [1, 1], [1, 1], 1),
            Direction::Up => xs.conv_transpose2d(weight, bias, [2, 2], [1, 1], [0, 0], 1, [1, 1]),
        }
    }

    /// The weight's step of power iteration.
    pub fn iterate(&self) {
        self.weight.iterate();
    }
}

/// Instance norm: each picture's and channel's own mean and biased variance, in training and in use (A: eps 2e-5,
/// affine).
#[derive(Debug)]
pub struct InstanceNorm {
    weight: Tensor,
    bias: Tensor,
    gradient: NormGradient,
}

impl InstanceNorm {
    pub fn new(path: &Path, channels: i64, gradient: NormGradient) -> Self {
        InstanceNorm {
            gradient,
            weight: path.declare("weight", &[channels], Init::Ones, true),
            bias: path.declare("bias", &[channels], Init::Zeros, true),
        }
    }

    /// # Shapes
    /// `xs`: `[N, C, H, W]`. Returns the same.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        if self.gradient == NormGradient::Batch {
            return self.with_gradient_of_batch(xs);
        }
        // A group norm with one channel a group: one kernel forward and one back, without repeating the parameters N
        // times.
        let norm = |xs: &Tensor| {
            let channels = xs.size()[1];
            xs.group_norm(channels, Some(&self.weight), Some(&self.bias), EPS, true)
        };
        // On CUDA the kernel wants its parameters in the pictures' format.
        if xs.kind() == Kind::BFloat16 && xs.device().is_cuda() {
            return norm(&xs.to_kind(Kind::Float)).to_kind(Kind::BFloat16);
        }
        // For channels last libtorch's kernel sums in float32, and is slow.
        norm(&xs.contiguous())
    }

    /// The same values, and the gradient of the article's dependency: where each picture's means of dy and of dy x
    /// belong, it takes the batch's.
    fn with_gradient_of_batch(&self, xs: &Tensor) -> Tensor {
        let dims = |dims: &'static [i64]| move |xs: &Tensor| xs.mean_dim(dims, true, Kind::Float).to_kind(xs.kind());
        let (own, batch) = (dims(&[2, 3]), dims(&[0, 2, 3]));
        // The statistics count as constants; what their derivatives would add is added as differences of value zero.
        let mean = own(&xs.detach());
        let variance = own(&(xs.detach() - &mean).square());
        let ys = (xs - mean) / (variance + EPS).sqrt();
        let given = ys.detach();
        let zero = |xs: Tensor| &xs - xs.detach();
        let ys = &ys - zero(batch(&ys)) - &given * zero(batch(&(&ys * &given)));
        let affine = |xs: &Tensor| xs.to_kind(ys.kind()).reshape([1, -1, 1, 1]);
        &ys * affine(&self.weight) + affine(&self.bias)
    }
}

/// Added to a norm's variance (A).
const EPS: f64 = 2e-5;

/// max(x, slope * x).
///
/// libtorch's binding of `leaky_relu` takes no slope, that of its backward pass does: the "gradient" of x at x is x or
/// slope * x, and that is linear in what it passes on.
pub fn leaky_relu(xs: &Tensor, slope: f64) -> Tensor {
    xs.detach().leaky_relu_backward(xs, slope, false)
}

/// Pictures side by side in their channels, in a network's number format and in the layout that its layers compute in.
///
/// # Shapes
/// Each `[N, C, H, W]`. Returns `[N, the sum of C, H, W]`.
pub fn beside(pictures: &[&Tensor], kind: Kind) -> Tensor {
    let xs = Tensor::cat(pictures, 1).to_kind(kind);
    match xs.device() {
        Device::Cpu => channels_last(&xs),
        _ => xs,
    }
}

/// Area-averaged copies of `pictures` at the size of `like`, in its number format.
///
/// # Shapes
/// `pictures`: `[N, 6, H, W]`; `like`: `[N, C, H / k, W / k]`. Returns `[N, 6, H / k, W / k]`.
pub fn copies(pictures: &Tensor, like: &Tensor) -> Tensor {
    let k = pictures.size()[3] / like.size()[3];
    pictures.avg_pool2d([k, k], [k, k], [0, 0], false, true, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaky_relu_and_its_gradient() {
        let xs = Tensor::from_slice(&[-2.0f32, -0.5, 0.0, 3.0]).set_requires_grad(true);
        let ys = leaky_relu(&xs, 0.2);
        assert_eq!(Vec::<f32>::try_from(&ys).unwrap(), [-0.4, -0.1, 0.0, 3.0]);
        let weights = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]);
        (ys * weights).sum(Kind::Float).backward();
        let gradient = Vec::<f32>::try_from(xs.grad()).unwrap();
        assert_eq!(gradient, [0.2, 0.4, 0.6, 4.0]);
    }

    /// The gradient of `sum(weights * norm(xs))` by central differences in float64, for a batch of three: each
    /// picture's own statistics must be differentiated, not the batch's.
    #[test]
    fn instance_norm_is_differentiated_per_picture() {
        let options = (Kind::Double, Device::Cpu);
        let draw = |shape: &[i64], number| {
            let mut t = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
            crate::random::fill_normal(&mut t, 1.0, 3, "norm", number);
            t.to_kind(Kind::Double)
        };
        let norm = InstanceNorm { weight: draw(&[2], 0), bias: draw(&[2], 1), gradient: NormGradient::Picture };
        let weights = draw(&[3, 2, 4, 3], 2);
        // The pictures' means and deviations differ widely, as batch-wide statistics would show.
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
        let plain = InstanceNorm {
            weight: Tensor::ones([1], options),
            bias: Tensor::zeros([1], options),
            gradient: NormGradient::Picture,
        };
        let ys = plain.forward(&Tensor::from_slice(&[0.0, 2.0]).reshape([1, 1, 1, 2]));
        let expected = 1.0 / (1.0f64 + 2e-5).sqrt();
        assert!((ys.double_value(&[0, 0, 0, 1]) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_articles_instance_norm_takes_the_batchs_means_back() {
        // One channel, pictures of two pixels: x = (0, 2) and (4, 8), so normed (-1, 1) each, of deviations 1 and 2.
        let options = (Kind::Double, Device::Cpu);
        let xs = Tensor::from_slice(&[0.0, 2.0, 4.0, 8.0]).reshape([2, 1, 1, 2]);
        let xs = xs.set_requires_grad(true);
        let norm = |gradient| InstanceNorm {
            weight: Tensor::full([1], 3.0, options),
            bias: Tensor::full([1], 0.5, options),
            gradient,
        };
        let ys = norm(NormGradient::Batch).forward(&xs);
        let expected = norm(NormGradient::Picture).forward(&xs);
        assert!((&ys - expected).abs().max().double_value(&[]) < 1e-12);
        // dL/dy = (1, 0, 0, 0), which is 3 on the normed: the batch's means are 3 / 4 of it and -3 / 4 of it times x.
        // Hence (3 - 3/4 - 3/4, -3/4 + 3/4) / 1 and (-3/4 - 3/4, -3/4 + 3/4) / 2. By picture the second's would be
        // zero.
        ys.reshape([-1]).get(0).backward();
        let got = Vec::<f64>::try_from(xs.grad().reshape([-1])).unwrap();
        for (got, expected) in got.iter().zip([1.5, 0.0, -0.75, 0.0]) {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
    }
}
