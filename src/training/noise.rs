//! The noise of a step: the discriminator's, and that of the detached swap back.

use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::native::LentGenerator;
use crate::networks::noise_shapes;
use crate::random::{fill_normal, lent_generator};

/// One of a step's two discriminator passes, named by the network that it updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Sees matched, swapped and mismatched pairs.
    Discriminator,
    /// Sees swapped pairs.
    Generator,
}

impl Pass {
    /// Counts the pairs that the pass sees.
    pub fn pairs(self, config: &Config) -> i64 {
        let batch = config.batch_size as i64;
        match self {
            Pass::Discriminator => 3 * batch,
            Pass::Generator => batch,
        }
    }
}

/// The discriminator's noise: one buffer that both passes fill anew in each step.
#[derive(Debug)]
pub struct Noise {
    sigma: f64,
    seed: u64,
    /// Whether each draw is seeded with its step. A CUDA graph cannot seed while it replays.
    seeded: bool,
    /// The part of the buffer that each pass fills, and its views: one for the input and one for each layer.
    discriminator: (Tensor, Vec<Tensor>),
    generator: (Tensor, Vec<Tensor>),
}

impl Noise {
    /// Allocates the buffer. Returns `None` if the config has no noise.
    pub fn new(config: &Config, device: Device) -> Option<Noise> {
        if config.discriminator_noise == 0.0 {
            return None;
        }
        let kind = config.precision.kind();
        let shapes = |pass: Pass| noise_shapes(config, pass.pairs(config));
        let length = |shape: &[i64; 4]| shape.iter().product::<i64>();
        let total: i64 = shapes(Pass::Discriminator).iter().map(length).sum();
        let buffer = Tensor::zeros([total], (kind, device));
        let views = |pass| {
            let shapes = shapes(pass);
            let filled = buffer.narrow(0, 0, shapes.iter().map(length).sum::<i64>());
            let mut offset = 0;
            let views = shapes.iter().map(|shape| {
                let start = offset;
                offset += length(shape);
                let part = filled.narrow(0, start, length(shape));
                let [n, c, h, w] = *shape;
                // The layers compute in this layout.
                match device {
                    Device::Cpu => part.view([n, h, w, c]).permute([0, 3, 1, 2]),
                    _ => part.view(*shape),
                }
            });
            let views = views.collect();
            (filled, views)
        };
        Some(Noise {
            sigma: config.discriminator_noise,
            seed: config.seed,
            seeded: true,
            discriminator: views(Pass::Discriminator),
            generator: views(Pass::Generator),
        })
    }

    /// Draws the noise of a pass of a step. The next draw overwrites it.
    pub fn draw(&mut self, pass: Pass, step: u64) -> &[Tensor] {
        let ((filled, views), purpose) = match pass {
            Pass::Discriminator => (&mut self.discriminator, "noise/discriminator"),
            Pass::Generator => (&mut self.generator, "noise/generator"),
        };
        if self.seeded {
            fill_normal(filled, self.sigma, self.seed, purpose, step);
        } else {
            let _ = filled.normal_(0.0, self.sigma);
        }
        views
    }

    /// Seeds the device's generator with a step, until the result is dropped. Draws after
    /// [`Noise::seed_each_draw`]`(false)` continue its one sequence.
    pub fn lent(&self, step: u64) -> LentGenerator {
        lent_generator(&self.discriminator.0, self.seed, "noise", step)
    }

    /// Sets whether each draw is seeded.
    pub fn seed_each_draw(&mut self, seeded: bool) {
        self.seeded = seeded;
    }
}

/// Adds the noise of a step to composites, `[N, 3, H, W]`.
pub fn noised(config: &Config, composite: &Tensor, step: u64) -> Tensor {
    if config.reverse_noise == 0.0 {
        return composite.shallow_clone();
    }
    composite + reverse_noise(config, composite.device(), step)
}

/// Draws the noise of the detached swap back, `[N, 3, H, W]`. Its deviation is `reverse_noise` of the networks' value
/// range.
pub fn reverse_noise(config: &Config, device: Device, step: u64) -> Tensor {
    let [height, width] = config.image_size;
    let sigma = config.reverse_noise * config.range().span();
    let mut noise = Tensor::zeros([config.batch_size as i64, 3, height, width], (Kind::Float, device));
    fill_normal(&mut noise, sigma, config.seed, "noise/reverse", step);
    noise
}
