//! The parts that both sources share: stride-2 convolutions with norm and activation, averaged copies.

use tch::Tensor;

use crate::config::{Config, DiscriminatorNorm};
use crate::networks::activation::Activation;
use crate::networks::norm::Norm;
use crate::networks::parameters::{Init, Path, ReadAs};
use crate::networks::plain::After;
use crate::networks::products::{Direction, convolved, plain};
use crate::networks::weight::{Weight, WeightNorm};

/// One row of a network's table: a convolution (or its transpose) of kernel 4, stride 2, padding 1.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    direction: Direction,
    c_in: i64,
    c_out: i64,
    instance_norm: bool,
    weight_norm: WeightNorm,
}

impl Row {
    /// A convolution that halves the picture, and its instance norm.
    pub fn down(c_in: i64, c_out: i64) -> Self {
        Row { direction: Direction::Down, c_in, c_out, instance_norm: true, weight_norm: WeightNorm::None }
    }

    /// A transposed convolution that doubles the picture, and its instance norm.
    pub fn up(c_in: i64, c_out: i64) -> Self {
        Row { direction: Direction::Up, ..Self::down(c_in, c_out) }
    }

    /// Removes the instance norm.
    pub fn without_norm(self) -> Self {
        Row { instance_norm: false, ..self }
    }

    /// Applies the settings of the discriminator's norms.
    pub fn of_discriminator(self, config: &Config) -> Self {
        let instance_norm = self.instance_norm && config.discriminator_norm == DiscriminatorNorm::Instance;
        Row { instance_norm, weight_norm: WeightNorm::of_discriminator(config), ..self }
    }
}

/// A convolution, its norm and its activation.
#[derive(Debug)]
pub struct Block {
    direction: Direction,
    weight: Weight,
    bias: Tensor,
    norm: Option<Norm>,
    activation: Activation,
}

impl Block {
    /// State-dict names `conv.weight`, `conv.bias`, `norm.weight`, `norm.bias`, in PyTorch's layouts, and with a
    /// spectral norm the vector `conv.left`.
    pub fn new(path: &Path, row: Row, config: &Config) -> Self {
        let Row { direction, c_in, c_out, instance_norm, weight_norm } = row;
        let conv = path.sub("conv");
        let shape = match direction {
            Direction::Down => [c_out, c_in, 4, 4],
            Direction::Up => [c_in, c_out, 4, 4],
        };
        Block {
            direction,
            weight: Weight::new(&conv, &shape, Init::Gaussian, ReadAs::Activations, weight_norm),
            bias: conv.declare("bias", &[c_out], Init::Zeros, ReadAs::Activations),
            norm: instance_norm.then(|| Norm::instance(&path.sub("norm"), c_out, config.norm_gradient)),
            activation: Activation::of(config),
        }
    }

    /// Declares the blocks `0`, `1`, ... of a table under `path`.
    pub fn table<const N: usize>(path: &Path, rows: [Row; N], config: &Config) -> [Block; N] {
        let mut number = 0..;
        rows.map(|row| Block::new(&path.sub(number.next().expect("endless")), row, config))
    }

    /// Computes leaky(norm(conv(xs)) + noise) + skip.
    ///
    /// # Shapes
    /// As [`Block::convolved`].
    pub fn activated(&self, xs: &Tensor, after: After) -> Tensor {
        self.activation.apply(self.convolved(xs), self.norm.as_ref(), after)
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `[N, c_out, H / 2, W / 2]` or `[N, c_out, 2 H, 2 W]`.
    pub fn convolved(&self, xs: &Tensor) -> Tensor {
        let weight = self.weight.value();
        match self.activation {
            Activation::Fused => convolved(self.direction, xs, &weight, &self.bias),
            Activation::Plain => plain(self.direction, xs, &weight, &self.bias),
        }
    }

    /// Updates the spectral norm by one power iteration.
    pub fn iterate(&self) {
        self.weight.iterate();
    }
}

/// Averages `pictures` over areas, down to the size of `like`.
///
/// # Shapes
/// `pictures`: `[N, 6, H, W]`; `like`: `[N, C, H / k, W / k]`. Returns `[N, 6, H / k, W / k]`.
pub fn copies(pictures: &Tensor, like: &Tensor) -> Tensor {
    let k = pictures.size()[3] / like.size()[3];
    pictures.avg_pool2d([k, k], [k, k], [0, 0], false, true, None)
}
