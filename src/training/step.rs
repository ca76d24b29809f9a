//! One step of the method (A, P): the discriminator's update, then the generator's.

use tch::{Device, Kind, Tensor};

use super::adam::Adam;
use super::schedule::rate_factor;
use crate::config::{Config, Precision};
use crate::data::Triplet;
use crate::losses;
use crate::networks::{Discriminator, Generator, Parameters, noise_shapes};
use crate::random::fill_normal;

/// What a step returns, in this order, as one tensor on the device. Terms are unweighted.
pub const TERMS: [&str; 9] = [
    "loss/discriminator",
    "loss/generator",
    "loss/generator/adversarial",
    "loss/generator/identity",
    "loss/generator/cycle",
    "logits/matched",
    "logits/swapped",
    "logits/mismatched",
    "mask/area",
];

/// Both networks with their parameters and optimisers.
#[derive(Debug)]
pub struct Models {
    pub generator: Generator,
    pub discriminator: Discriminator,
    pub generator_parameters: Parameters,
    pub discriminator_parameters: Parameters,
    pub generator_adam: Adam,
    pub discriminator_adam: Adam,
    /// What both rates are multiplied by after a run went back.
    pub slowdown: f64,
}

impl Models {
    /// Fresh networks, initialised from the config's seed.
    pub fn new(config: &Config, device: Device) -> Self {
        let (generator, generator_parameters) = Parameters::build(
            |path| Generator::new(path, config),
            device,
            config.precision,
            config.seed,
            "init/generator",
        );
        let (discriminator, mut discriminator_parameters) = Parameters::build(
            |path| Discriminator::new(path, config),
            device,
            config.precision,
            config.seed,
            "init/discriminator",
        );
        for layer in 0..config.freeze_discriminator {
            discriminator_parameters.freeze(&format!("down.{layer}."));
        }
        let rate = config.learning_rate;
        let discriminator_rate = config.discriminator_learning_rate.unwrap_or(rate);
        Models {
            generator_adam: Adam::new(&generator_parameters.values, config, rate),
            discriminator_adam: Adam::new(
                &discriminator_parameters.values,
                config,
                discriminator_rate,
            ),
            slowdown: 1.0,
            generator,
            discriminator,
            generator_parameters,
            discriminator_parameters,
        }
    }

    /// One update of both networks; `noise` is drawn for `step`. Nothing is read back to the host.
    ///
    /// # Shapes
    /// Returns `[TERMS.len()]`, float32, on the device.
    pub fn step(
        &mut self,
        config: &Config,
        triplet: &Triplet,
        noise: &mut Option<Noise>,
        step: u64,
    ) -> Tensor {
        let Triplet {
            human,
            worn,
            target,
        } = triplet;
        let batch = human.size()[0];
        let swap = self.generator.swap(human, worn, target);

        // The discriminator's update: matched pairs are real, swapped and mismatched ones are fake.
        let humans = Tensor::cat(&[human, &swap.composite.detach(), human], 0); // [3 N, 3, H, W]
        let articles = Tensor::cat(&[worn, target, target], 0); // [3 N, 3, H, W]
        let draw = noise.as_mut().map(|n| n.draw(Pass::Discriminator, step));
        let logits = self.discriminator.score(&humans, &articles, draw);
        let parts = logits.split(batch, 0);
        let [matched, swapped, mismatched] = [&parts[0], &parts[1], &parts[2]];
        let discriminator_loss = losses::discriminator(matched, swapped, mismatched);
        let factor = self.slowdown * rate_factor(config, step * batch as u64);
        update(
            &mut self.discriminator_parameters,
            &mut self.discriminator_adam,
            &discriminator_loss,
            config,
            factor,
        );

        // The generator's update: fool the discriminator, repaint little, and be able to dress the person back.
        let restored = self.generator.swap(&swap.composite, target, worn).composite;
        let draw = noise.as_mut().map(|n| n.draw(Pass::Generator, step));
        let logits = self.discriminator.score(&swap.composite, target, draw);
        let objective = losses::objective(config, &logits, &swap.mask, human, &restored);
        update(
            &mut self.generator_parameters,
            &mut self.generator_adam,
            &objective.total,
            config,
            factor,
        );

        tch::no_grad(|| {
            let mean = |t: &Tensor| t.mean(Kind::Float);
            Tensor::stack(
                &[
                    discriminator_loss,
                    objective.total,
                    objective.adversarial,
                    objective.identity,
                    objective.cycle,
                    mean(matched),
                    mean(swapped),
                    mean(mismatched),
                    mean(&swap.mask),
                ],
                0,
            )
        })
    }
}

/// Differentiates, shortens the gradient where it is too long, and steps.
fn update(
    parameters: &mut Parameters,
    adam: &mut Adam,
    loss: &Tensor,
    config: &Config,
    factor: f64,
) {
    parameters.differentiate(loss);
    if config.gradient_clip > 0.0 {
        clip(&mut parameters.gradient, config.gradient_clip);
    }
    adam.step(&mut parameters.values, &parameters.gradient, factor);
    parameters.changed();
}

/// Shortens a network's gradient to a norm of `most` (Pascanu et al., arXiv 1211.5063, algorithm 1, as torch.nn.utils.clip_grad_norm_).
fn clip(gradient: &mut Tensor, most: f64) {
    tch::no_grad(|| {
        let shorter: Tensor = most / (gradient.norm() + 1e-6);
        let _ = gradient.g_mul_(&shorter.clamp_max(1.0));
    });
}

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
        let kind = match config.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
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
                filled.narrow(0, start, length(shape)).view(*shape)
            });
            let views = views.collect();
            (filled, views)
        };
        Some(Noise {
            sigma: config.discriminator_noise,
            seed: config.seed,
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
        fill_normal(filled, self.sigma, self.seed, purpose, step);
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gradient_is_shortened_and_a_short_one_stays() {
        let mut long = Tensor::from_slice(&[3f32, -4.0]);
        clip(&mut long, 1.0);
        let long = Vec::<f32>::try_from(long).unwrap();
        assert!(
            (long[0] - 0.6).abs() < 1e-6 && (long[1] + 0.8).abs() < 1e-6,
            "{long:?}"
        );
        let mut short = Tensor::from_slice(&[0.3f32, -0.4]);
        clip(&mut short, 1.0);
        assert_eq!(Vec::<f32>::try_from(short).unwrap(), [0.3, -0.4]);
    }
}
