//! The discriminator of `kisekae`: judges whether a picture looks like a photo in which an article is worn.

use tch::{Kind, Tensor};

use super::blocks::Stride;
use crate::config::Config;
use crate::networks::activation::Activation;
use crate::networks::conv::beside;
use crate::networks::judgement::Judgement;
use crate::networks::parameters::{Init, Path, ReadAs};
use crate::networks::plain::After;
use crate::networks::weight::{Weight, WeightNorm};

/// One row of a discriminator's table: a convolution with a padding of 1.
#[derive(Clone, Copy, Debug)]
struct Row {
    stride: Stride,
    c_in: i64,
    c_out: i64,
}

impl Row {
    fn keep(c_in: i64, c_out: i64) -> Self {
        Row { stride: Stride::Keep, c_in, c_out }
    }

    fn halve(c_in: i64, c_out: i64) -> Self {
        Row { stride: Stride::Halve, c_in, c_out }
    }
}

/// A convolution.
#[derive(Debug)]
struct Layer {
    weight: Weight,
    bias: Tensor,
    stride: Stride,
}

impl Layer {
    /// State-dict names `weight` and `bias`, and with a spectral norm `left`.
    fn new(path: &Path, row: Row, norm: WeightNorm) -> Self {
        let Row { stride, c_in, c_out } = row;
        // Even kernels halve symmetrically.
        let k = match stride {
            Stride::Keep => 3,
            Stride::Halve => 4,
        };
        Layer {
            weight: Weight::new(path, &[c_out, c_in, k, k], Init::He, ReadAs::Activations, norm),
            bias: path.declare("bias", &[c_out], Init::Zeros, ReadAs::Activations),
            stride,
        }
    }

    fn forward(&self, xs: &Tensor) -> Tensor {
        let s = self.stride.pixels();
        xs.conv2d(&self.weight.value(), Some(&self.bias), [s, s], [1, 1], [1, 1], 1)
    }
}

/// Layers with a leaky ReLU after each, and a map of logits.
#[derive(Debug)]
struct Scale {
    down: Vec<Layer>,
    head: Layer,
}

impl Scale {
    /// State-dict names `down.<number>.*` and `head.*`.
    fn new(path: &Path, down: &[Row], head: Row, norm: WeightNorm) -> Self {
        let at = path.sub("down");
        Scale {
            down: down.iter().enumerate().map(|(k, &row)| Layer::new(&at.sub(k), row, norm)).collect(),
            head: Layer::new(&path.sub("head"), head, norm),
        }
    }
}

/// Two patch discriminators (PatchGAN: Isola et al. 2017, arXiv 1611.07004), given the picture, the warped article and
/// the erasure: one of large patches, one of small patches, which judges texture.
#[derive(Debug)]
pub struct Judge {
    scales: [Scale; 2],
    kind: Kind,
}

impl Judge {
    /// State-dict names `large.*` and `small.*`.
    pub fn new(path: &Path, config: &Config) -> Self {
        let c = config.width / 2;
        let norm = WeightNorm::of_discriminator(config);
        let large = [Row::halve(7, c), Row::halve(c, 2 * c), Row::halve(2 * c, 4 * c)];
        let small = [Row::keep(7, c), Row::halve(c, 2 * c)];
        Judge {
            scales: [
                Scale::new(&path.sub("large"), &large, Row::keep(4 * c, 1), norm),
                Scale::new(&path.sub("small"), &small, Row::keep(2 * c, 1), norm),
            ],
            kind: config.precision.kind(),
        }
    }

    /// # Shapes
    /// `picture`, `warped`: `[N, 3, H, W]` in [-1, 1]; `erasure`: `[N, 1, H, W]`. Returns logits `[N, P]`. Each
    /// position of the large patches is repeated for each position of the small patches in it, so that a mean over the
    /// positions weights both scales equally.
    pub fn judge(&self, picture: &Tensor, warped: &Tensor, erasure: &Tensor) -> Judgement {
        let seen = beside(&[picture, warped, erasure], self.kind); // [N, 7, H, W]
        let mut features = Vec::new();
        let maps = self.scales.each_ref().map(|scale| {
            let mut xs = seen.shallow_clone();
            for layer in &scale.down {
                xs = Activation::Fused.apply(layer.forward(&xs), None, After::LEAKY);
                features.push(xs.shallow_clone());
            }
            scale.head.forward(&xs).to_kind(Kind::Float)
        });
        let [_, _, h, w] = maps[1].size()[..] else { unreachable!("[N, 1, H, W]") };
        let large = maps[0].upsample_nearest2d([h, w], None, None);
        Judgement { logits: Tensor::cat(&[large, maps[1].shallow_clone()], 1).flatten(1, -1), features }
    }

    /// Updates the spectral norms by one power iteration.
    pub fn iterate(&self) {
        for scale in &self.scales {
            let layers = scale.down.iter().chain([&scale.head]);
            layers.for_each(|layer| layer.weight.iterate());
        }
    }
}
