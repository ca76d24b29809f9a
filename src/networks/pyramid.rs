//! A fixed random network that compares two pictures by its layers: `perceptual_weight`.
//!
//! Its weights are random constants and never trained, so that it needs no download and no licence of a photo
//! collection. It is NOT LPIPS and not the VGG loss of Johnson et al. (2016): it knows nothing of human perception. He,
//! Wang & Hopcroft (2016, arXiv 1606.04801) showed that random convolutions respond to edges and textures at several
//! sizes well enough to compare pictures.

use tch::{Device, Tensor};

use super::parameters::{Init, Parameters, Path, ReadAs};
use crate::config::Precision;
use crate::pixels::ValueRange;

/// A constant, not the run's seed, so that values of different runs can be compared.
const SEED: u64 = 1709_04695;

const CHANNELS: [i64; 5] = [3, 16, 32, 64, 64];

/// Four convolutions of kernel 3 without biases, each followed by a ReLU, with 2 x 2 averages between.
#[derive(Debug)]
pub struct Pyramid {
    weights: Vec<Tensor>,
    range: ValueRange,
    /// The constant weights.
    pub parameters: Parameters,
}

impl Pyramid {
    /// State-dict names `0.weight` to `3.weight`. `range` is the pictures' value range.
    pub fn new(range: ValueRange, device: Device) -> Self {
        let network = |path: &Path| -> Vec<Tensor> {
            let layers = CHANNELS.windows(2).enumerate();
            layers.map(|(k, c)| path.sub(k).declare("weight", &[c[1], c[0], 3, 3], Init::He, ReadAs::Float32)).collect()
        };
        let (weights, parameters) = Parameters::build(network, device, Precision::Fp32, SEED, "perceptual");
        Pyramid { weights: weights.iter().map(Tensor::detach).collect(), range, parameters }
    }

    /// # Shapes
    /// `pictures`: `[N, 3, H, W]`. Returns four layers, `[N, 16, H, W]` to `[N, 64, H / 8, W / 8]`.
    pub fn features(&self, pictures: &Tensor) -> Vec<Tensor> {
        let mut xs = match self.range {
            ValueRange::Unit => pictures * 2.0 - 1.0,
            ValueRange::Symmetric => pictures.shallow_clone(),
        };
        let mut layers: Vec<Tensor> = Vec::new();
        for weight in &self.weights {
            if !layers.is_empty() {
                xs = xs.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
            }
            xs = xs.conv2d(weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1).relu();
            layers.push(xs.shallow_clone());
        }
        layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn it_is_always_the_same_network_and_keeps_the_scale() {
        let [a, b] = [0, 1].map(|_| Pyramid::new(ValueRange::Symmetric, Device::Cpu));
        assert_eq!(a.parameters.values, b.parameters.values);
        let mut pictures = Tensor::zeros([4, 3, 32, 48], (Kind::Float, Device::Cpu));
        crate::random::fill_normal(&mut pictures, 0.5, 1, "pyramid", 0);
        let layers = a.features(&pictures);
        assert_eq!(layers[0].size(), [4, 16, 32, 48]);
        assert_eq!(layers[3].size(), [4, 64, 4, 6]);
        for layer in &layers {
            let size = layer.square().mean(Kind::Float).double_value(&[]).sqrt();
            assert!((0.1..1.5).contains(&size), "{size}");
        }
        // The same picture in the other range.
        let unit = Pyramid::new(ValueRange::Unit, Device::Cpu);
        let other = unit.features(&(&pictures * 0.5 + 0.5));
        let apart = (&other[3] - &layers[3]).abs().max().double_value(&[]);
        assert!(apart < 1e-5, "{apart}");
    }

    #[test]
    fn gradients_reach_the_pictures() {
        let network = Pyramid::new(ValueRange::Symmetric, Device::Cpu);
        let pictures = Tensor::zeros([1, 3, 32, 32], (Kind::Float, Device::Cpu)) + 0.5;
        let pictures = pictures.set_requires_grad(true);
        network.features(&pictures)[3].sum(Kind::Float).backward();
        assert!(pictures.grad().abs().max().double_value(&[]) > 0.0);
    }
}
