//! The parts that the networks of `kisekae` share: 3 x 3 convolutions with a group norm, an encoder, places as
//! channels.

use tch::{Kind, Tensor};

use crate::config::Config;
use crate::networks::activation::Activation;
use crate::networks::conv::convolved;
use crate::networks::norm::Norm;
use crate::networks::parameters::{Init, Path, ReadAs};
use crate::networks::plain::After;

/// Whether a convolution keeps or halves the picture's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stride {
    Keep,
    Halve,
}

impl Stride {
    /// The distance in pixels between two places of the convolution.
    pub fn pixels(self) -> i64 {
        match self {
            Stride::Keep => 1,
            Stride::Halve => 2,
        }
    }
}

/// The size of a network.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Channels at the picture's own size.
    pub narrow: i64,
    /// How often pictures of the coarsest size are halved.
    pub levels: usize,
    /// How often pictures are halved to the coarsest size.
    pub finer: usize,
}

impl Size {
    /// The size of a config's networks.
    pub fn of(config: &Config) -> Size {
        let halvings = config.architecture.halvings(config.image_size);
        let finer = config.architecture.enlargements(config.image_size);
        Size { narrow: config.width / 4, levels: (halvings - finer) as usize, finer: finer as usize }
    }

    /// Channels at each level, the coarsest size first: f, 2 f, then 4 f.
    pub fn channels(self) -> Vec<i64> {
        (0..=self.levels).map(|k| self.narrow << k.min(2)).collect()
    }
}

/// A 3 x 3 convolution that keeps or halves the picture, a group norm, a leaky ReLU.
#[derive(Debug)]
pub struct Block {
    weight: Tensor,
    bias: Tensor,
    norm: Norm,
    stride: Stride,
}

impl Block {
    /// State-dict names `conv.weight`, `conv.bias`, `norm.weight`, `norm.bias`.
    pub fn new(path: &Path, stride: Stride, c_in: i64, c_out: i64) -> Self {
        let conv = path.sub("conv");
        Block {
            weight: conv.declare("weight", &[c_out, c_in, 3, 3], Init::He, ReadAs::Activations),
            bias: conv.declare("bias", &[c_out], Init::Zeros, ReadAs::Activations),
            norm: Norm::grouped(&path.sub("norm"), c_out),
            stride,
        }
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `[N, c_out, H, W]` or `[N, c_out, H / 2, W / 2]`.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        let s = self.stride.pixels();
        let xs = xs.to_kind(self.weight.kind());
        let ys = convolved(&xs, &self.weight, &self.bias, s, 1);
        Activation::Fused.apply(ys, Some(&self.norm), After::LEAKY)
    }
}

/// A plain convolution of kernel 1 or 3, whose output is float32.
#[derive(Debug)]
pub struct Head {
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    /// A head of kernel 3. State-dict names `weight` and `bias`. With zeros its first output is zero.
    pub fn new(path: &Path, c_in: i64, c_out: i64, init: Init) -> Self {
        Self::of_shape(path, [c_out, c_in, 3, 3], init)
    }

    /// A head of kernel 1, with as many channels out as in.
    pub fn pointwise(path: &Path, channels: i64) -> Self {
        Self::of_shape(path, [channels, channels, 1, 1], Init::He)
    }

    fn of_shape(path: &Path, shape: [i64; 4], init: Init) -> Self {
        Head {
            weight: path.declare("weight", &shape, init, ReadAs::Activations),
            bias: path.declare("bias", &shape[..1], Init::Zeros, ReadAs::Activations),
        }
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `[N, c_out, H, W]`, float32.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        let pad = self.weight.size()[2] / 2;
        let xs = xs.to_kind(self.weight.kind());
        convolved(&xs, &self.weight, &self.bias, 1, pad).to_kind(Kind::Float)
    }
}

/// One block at the picture's size, then two for each halving.
#[derive(Debug)]
pub struct Encoder {
    first: Block,
    down: Vec<[Block; 2]>,
}

impl Encoder {
    /// State-dict names `first.*` and `down.<level>.<0 or 1>.*`.
    pub fn new(path: &Path, c_in: i64, size: Size) -> Self {
        let c = size.channels();
        let down = path.sub("down");
        Encoder {
            first: Block::new(&path.sub("first"), Stride::Keep, c_in, c[0]),
            down: (0..size.levels)
                .map(|k| {
                    let at = down.sub(k);
                    [
                        Block::new(&at.sub(0), Stride::Halve, c[k], c[k + 1]),
                        Block::new(&at.sub(1), Stride::Keep, c[k + 1], c[k + 1]),
                    ]
                })
                .collect(),
        }
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `levels + 1` layers, `[N, channels[k], H / 2^k, W / 2^k]`.
    pub fn forward(&self, xs: &Tensor) -> Vec<Tensor> {
        let mut layers = vec![self.first.forward(xs)];
        for [halve, keep] in &self.down {
            let last = layers.last().expect("the first");
            let next = keep.forward(&halve.forward(last));
            layers.push(next);
        }
        layers
    }
}

/// Returns each pixel's place, x then y, from -1 to 1 between the picture's outer edges, as in `grid_sample`.
///
/// # Shapes
/// For pictures `[N, C, H, W]`: `[1, 2, H, W]`, float32.
pub fn places(like: &Tensor) -> Tensor {
    let (_, _, h, w) = like.size4().expect("[N, C, H, W]");
    let axis = |length: i64| (Tensor::arange(length, (Kind::Float, like.device())) + 0.5) * (2.0 / length as f64) - 1.0;
    let x = axis(w).reshape([1, 1, 1, w]).expand([1, 1, h, w], false);
    let y = axis(h).reshape([1, 1, h, 1]).expand([1, 1, h, w], false);
    Tensor::cat(&[x, y], 1)
}

/// Averages areas of k x k pixels.
pub fn averaged(xs: &Tensor, k: i64) -> Tensor {
    if k == 1 {
        return xs.shallow_clone();
    }
    xs.avg_pool2d([k, k], [k, k], [0, 0], false, true, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn places_are_pixel_middles() {
        let places = places(&Tensor::zeros([3, 1, 2, 4], (Kind::Float, Device::Cpu)));
        assert_eq!(places.size(), [1, 2, 2, 4]);
        let row = |c: i64, y: i64| Vec::<f32>::try_from(places.get(0).get(c).get(y)).unwrap();
        assert_eq!(row(0, 1), [-0.75, -0.25, 0.25, 0.75]);
        assert_eq!((row(1, 0)[2], row(1, 1)[2]), (-0.5, 0.5));
    }
}
