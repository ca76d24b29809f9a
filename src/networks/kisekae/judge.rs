//! The discriminator of painted regions: does the picture look like a photo in which this article is worn?

use tch::{Kind, Tensor};

use crate::config::Config;
use crate::networks::Judgement;
use crate::networks::fused;
use crate::networks::parameters::{Init, Path};
use crate::networks::vasily::compute_kind;
use crate::networks::weight::Weight;

/// A convolution with a padding of 1 and a leaky ReLU after it.
#[derive(Debug)]
struct Layer {
    weight: Weight,
    bias: Tensor,
    stride: i64,
}

impl Layer {
    fn new(path: &Path, c_in: i64, c_out: i64, stride: i64, spectral: bool) -> Self {
        // Even kernels halve without favouring a side.
        let k = if stride == 2 { 4 } else { 3 };
        Layer {
            weight: Weight::with(path, &[c_out, c_in, k, k], Init::He, false, spectral),
            bias: path.declare("bias", &[c_out], Init::Zeros, false),
            stride,
        }
    }

    fn forward(&self, xs: &Tensor) -> Tensor {
        let s = self.stride;
        xs.conv2d(&self.weight.value(), Some(&self.bias), [s, s], [1, 1], [1, 1], 1)
    }
}

/// Layers and a map of logits.
#[derive(Debug)]
struct Scale {
    down: Vec<Layer>,
    head: Layer,
}

impl Scale {
    /// One layer for each pair of channels, with its stride.
    fn new(path: &Path, c: &[i64], strides: &[i64], spectral: bool) -> Self {
        let down = path.sub("down");
        let layers = c.windows(2).zip(strides).enumerate();
        Scale {
            down: layers.map(|(k, (c, &stride))| Layer::new(&down.sub(k), c[0], c[1], stride, spectral)).collect(),
            head: Layer::new(&path.sub("head"), *c.last().expect("layers"), 1, 1, spectral),
        }
    }
}

/// Two patch discriminators (PatchGAN: Isola et al. 2017, arXiv 1611.07004) that see the picture, the warped article
/// and the erasure: one of large patches, one of small ones, which judges texture.
#[derive(Debug)]
pub struct Judge {
    scales: [Scale; 2],
    kind: Kind,
}

impl Judge {
    /// State-dict names `large.*` and `small.*`.
    pub fn new(path: &Path, config: &Config) -> Self {
        let c = config.width / 2;
        let spectral = config.discriminator_spectral_norm;
        let large = Scale::new(&path.sub("large"), &[7, c, 2 * c, 4 * c], &[2, 2, 2], spectral);
        let small = Scale::new(&path.sub("small"), &[7, c, 2 * c], &[1, 2], spectral);
        Judge { scales: [large, small], kind: compute_kind(config) }
    }

    /// # Shapes
    /// `picture`, `warped`: `[N, 3, H, W]` in [-1, 1]; `erasure`: `[N, 1, H, W]`. Returns logits `[N, P]`, each
    /// position of the large patches as often as there are small ones for it, so that a mean over the positions weighs
    /// both scales the same.
    pub fn judge(&self, picture: &Tensor, warped: &Tensor, erasure: &Tensor) -> Judgement {
        let seen = Tensor::cat(&[picture, warped, erasure], 1).to_kind(self.kind); // [N, 7, H, W]
        let mut features = Vec::new();
        let maps = self.scales.each_ref().map(|scale| {
            let mut xs = seen.shallow_clone();
            for layer in &scale.down {
                xs = fused::leaky(&layer.forward(&xs));
                features.push(xs.shallow_clone());
            }
            scale.head.forward(&xs).to_kind(Kind::Float)
        });
        let [_, _, h, w] = maps[1].size()[..] else { unreachable!("[N, 1, H, W]") };
        let large = maps[0].upsample_nearest2d([h, w], None, None);
        Judgement { logits: Tensor::cat(&[large, maps[1].shallow_clone()], 1).flatten(1, -1), features }
    }

    /// The weights' step of power iteration.
    pub fn iterate(&self) {
        for scale in &self.scales {
            let layers = scale.down.iter().chain([&scale.head]);
            layers.for_each(|layer| layer.weight.iterate());
        }
    }
}
