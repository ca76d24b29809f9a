//! What all of the preset's networks are built from: 3 x 3 convolutions with a group norm, an encoder, places as
//! channels.

use tch::{Kind, Tensor};

use crate::networks::blocks::leaky_relu;
use crate::networks::fused::{self, After, Norm};
use crate::networks::parameters::{Init, Path};

/// Groups of each norm (Wu & He 2018, arXiv 1803.08494): its statistics are a picture's own, in training and in use.
const GROUPS: i64 = 8;
const EPS: f64 = 1e-5;

/// A 3 x 3 convolution that keeps or halves the picture, a group norm, a leaky ReLU.
#[derive(Debug)]
pub struct Block {
    weight: Tensor,
    bias: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    stride: i64,
}

impl Block {
    /// State-dict names `conv.weight`, `conv.bias`, `norm.weight`, `norm.bias`. `stride` 2 halves.
    pub fn new(path: &Path, c_in: i64, c_out: i64, stride: i64) -> Self {
        let (conv, norm) = (path.sub("conv"), path.sub("norm"));
        Block {
            weight: conv.declare("weight", &[c_out, c_in, 3, 3], Init::He, false),
            bias: conv.declare("bias", &[c_out], Init::Zeros, false),
            norm_weight: norm.declare("weight", &[c_out], Init::Ones, true),
            norm_bias: norm.declare("bias", &[c_out], Init::Zeros, true),
            stride,
        }
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `[N, c_out, H / stride, W / stride]`.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        let s = self.stride;
        let kind = self.weight.kind();
        let xs = xs.to_kind(kind);
        let ys = xs.conv2d(&self.weight, Some(&self.bias), [s, s], [1, 1], [1, 1], 1);
        if fused::takes(&ys) {
            let norm =
                Norm { weight: &self.norm_weight, bias: &self.norm_bias, group: ys.size()[1] / GROUPS, epsilon: EPS };
            return fused::activated(&ys, Some(norm), After::LEAKY);
        }
        let (weight, bias) = (Some(&self.norm_weight), Some(&self.norm_bias));
        let ys = (ys.to_kind(Kind::Float)).group_norm(GROUPS, weight, bias, EPS, true);
        leaky_relu(&ys.to_kind(kind), After::LEAKY.slope)
    }
}

/// A plain convolution of kernel 1 or 3, whose output is float32.
#[derive(Debug)]
pub struct Head {
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    /// State-dict names `weight` and `bias`. `init`: zeros for what begins as no change.
    pub fn new(path: &Path, c_in: i64, c_out: i64, kernel: i64, init: Init) -> Self {
        Head {
            weight: path.declare("weight", &[c_out, c_in, kernel, kernel], init, false),
            bias: path.declare("bias", &[c_out], Init::Zeros, false),
        }
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `[N, c_out, H, W]`, float32.
    pub fn forward(&self, xs: &Tensor) -> Tensor {
        let pad = self.weight.size()[2] / 2;
        let xs = xs.to_kind(self.weight.kind());
        xs.conv2d(&self.weight, Some(&self.bias), [1, 1], [pad, pad], [1, 1], 1).to_kind(Kind::Float)
    }
}

/// How many channels an encoder has at each size, the picture's own first: f, 2 f, then 4 f.
pub fn channels(narrow: i64, levels: usize) -> Vec<i64> {
    (0..=levels).map(|k| narrow << k.min(2)).collect()
}

/// One block at the picture's size, then two for each halving.
#[derive(Debug)]
pub struct Encoder {
    first: Block,
    down: Vec<[Block; 2]>,
}

impl Encoder {
    /// State-dict names `first.*` and `down.<level>.<0 or 1>.*`.
    pub fn new(path: &Path, c_in: i64, narrow: i64, levels: usize) -> Self {
        let c = channels(narrow, levels);
        let down = path.sub("down");
        Encoder {
            first: Block::new(&path.sub("first"), c_in, c[0], 1),
            down: (0..levels)
                .map(|k| {
                    let at = down.sub(k);
                    [Block::new(&at.sub(0), c[k], c[k + 1], 2), Block::new(&at.sub(1), c[k + 1], c[k + 1], 1)]
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

/// Where each pixel lies, x then y, from -1 to 1 between the picture's outer edges, as `grid_sample` counts.
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

/// Twice the size, bilinear.
pub fn doubled(xs: &Tensor) -> Tensor {
    let (_, _, h, w) = xs.size4().expect("[N, C, H, W]");
    xs.upsample_bilinear2d([2 * h, 2 * w], false, None, None)
}

/// The mean of each k x k pixels.
pub fn averaged(xs: &Tensor, k: i64) -> Tensor {
    if k == 1 {
        return xs.shallow_clone();
    }
    xs.avg_pool2d([k, k], [k, k], [0, 0], false, true, None)
}

/// The largest value within `reach` pixels, up, down and to the sides: what a mask is widened by.
pub fn widened(mask: &Tensor, reach: i64) -> Tensor {
    if reach == 0 {
        return mask.shallow_clone();
    }
    let k = 2 * reach + 1;
    // With one channel all layouts are one in memory, but libtorch takes the slow way for channels last.
    let plain = mask.flatten(1, -1).view_as(mask);
    plain.max_pool2d([k, k], [1, 1], [reach, reach], [1, 1], false)
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

    #[test]
    fn a_mask_grows_by_its_reach() {
        let mask = Tensor::zeros([1, 1, 5, 5], (Kind::Float, Device::Cpu));
        let _ = mask.get(0).get(0).get(0).get(2).fill_(1.0);
        let sum = |t: Tensor| t.sum(Kind::Float).double_value(&[]);
        // At the upper edge: 2 rows of 3.
        assert_eq!(sum(widened(&mask, 1)), 6.0);
        assert_eq!(sum(widened(&mask, 0)), 1.0);
    }
}
