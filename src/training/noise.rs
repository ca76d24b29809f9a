//! What a step draws at random beside its pictures.

use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::networks::noise_shapes;
use crate::random::{fill_normal, seed_device};

/// Which of a step's two discriminator passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Discriminator,
    Generator,
}

/// The discriminator's noise: one buffer that both passes fill anew in each step.
#[derive(Debug)]
pub struct Noise {
    sigma: f64,
    seed: u64,
    /// Whether each draw is seeded with its step: not where a device repeats what it recorded, in which nothing can be
    /// seeded.
    seeded: bool,
    /// The buffer's part that each pass fills, and its views, one for the input and each layer.
    discriminator: (Tensor, Vec<Tensor>),
    generator: (Tensor, Vec<Tensor>),
}

impl Noise {
    /// Buffers for a config, or `None` where it has no noise.
    pub fn new(config: &Config, device: Device) -> Option<Noise> {
        if config.discriminator_noise == 0.0 {
            return None;
        }
        let kind = config.precision.kind();
        let batch = config.batch_size as i64;
        let length = |shape: &[i64; 4]| shape.iter().product::<i64>();
        let total: i64 = noise_shapes(config, 3 * batch).iter().map(length).sum();
        let buffer = Tensor::zeros([total], (kind, device));
        let views = |count| {
            let shapes = noise_shapes(config, count);
            let filled = buffer.narrow(0, 0, shapes.iter().map(length).sum::<i64>());
            let mut offset = 0;
            let views = shapes.iter().map(|shape| {
                let start = offset;
                offset += length(shape);
                let part = filled.narrow(0, start, length(shape));
                let [n, c, h, w] = *shape;
                // In the layout that the layers compute in.
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
            discriminator: views(3 * batch),
            generator: views(batch),
        })
    }

    /// The noise of a pass of a step. It holds until the next draw.
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

    /// Seeds the device's generator with a step. The draws from here go on in its one sequence.
    pub fn reseed(&mut self, step: u64) {
        seed_device(self.seed, "noise", step);
        self.seeded = false;
    }

    /// Back to draws that are each seeded.
    pub fn seed_each_draw(&mut self) {
        self.seeded = true;
    }
}

/// A composite with the noise of a step, `reverse_noise` from black to white.
pub fn noised(config: &Config, composite: &Tensor, step: u64) -> Tensor {
    if config.reverse_noise == 0.0 {
        return composite.shallow_clone();
    }
    composite + reverse_noise(config, composite, step)
}

/// That noise, `[N, 3, H, W]` in the networks' value range.
pub fn reverse_noise(config: &Config, like: &Tensor, step: u64) -> Tensor {
    let sigma = config.reverse_noise * config.range().span();
    let mut noise = Tensor::zeros(like.size(), (Kind::Float, like.device()));
    fill_normal(&mut noise, sigma, config.seed, "noise/reverse", step);
    noise
}
