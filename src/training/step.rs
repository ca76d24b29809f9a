//! One step of the method (A, P): the discriminator's update, then the generator's.

use tch::{Device, Kind, Tensor};

use super::adam::Adam;
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
        let (discriminator, discriminator_parameters) = Parameters::build(
            |path| Discriminator::new(path, config),
            device,
            config.precision,
            config.seed,
            "init/discriminator",
        );
        Models {
            generator_adam: Adam::new(&generator_parameters.values, config),
            discriminator_adam: Adam::new(&discriminator_parameters.values, config),
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
        self.discriminator_parameters
            .differentiate(&discriminator_loss);
        self.discriminator_adam.step(
            &mut self.discriminator_parameters.values,
            &self.discriminator_parameters.gradient,
        );
        self.discriminator_parameters.changed();

        // The generator's update: fool the discriminator, repaint little, and be able to dress the person back.
        let restored = self.generator.swap(&swap.composite, target, worn).composite;
        let draw = noise.as_mut().map(|n| n.draw(Pass::Generator, step));
        let logits = self.discriminator.score(&swap.composite, target, draw);
        let objective = losses::objective(config, &logits, &swap.mask, human, &restored);
        self.generator_parameters.differentiate(&objective.total);
        self.generator_adam.step(
            &mut self.generator_parameters.values,
            &self.generator_parameters.gradient,
        );
        self.generator_parameters.changed();

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
