//! The parts of both methods: a generator and a discriminator that learn, and the terms that a step returns.

use std::fmt;
use std::time::Duration;

use tch::{Device, Tensor};

use super::adam::Adam;
use super::noise::Noise;
use super::schedule::rate_factor;
use super::team::Team;
use crate::config::Config;
use crate::data::Triplet;
use crate::error::Result;
use crate::networks::{Parameters, Path, Pyramid, Swap};

/// The networks of a method and how they learn.
pub trait Method: fmt::Debug + Send {
    /// Updates both networks once, the generator last. Nothing is read back to the host.
    ///
    /// # Errors
    /// [`crate::Error::Array`] if gradients are off; [`crate::Error::Lost`]. The discriminator may be updated then, the
    /// generator is not.
    fn step(&mut self, models: &mut Models, config: &Config, triplet: &Triplet, step: u64) -> Result<Terms>;

    /// Puts each target on its human.
    fn swap(&self, triplet: &Triplet) -> Swap;

    /// Scores whether each human wears the article: logits, without noise.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in the networks' value range. Returns `[N, ...]`.
    fn score(&self, human: &Tensor, article: &Tensor) -> Tensor;

    /// Lists by name what a step draws at random, except its pictures and the discriminator's noise, and what it finds
    /// by search in its pictures, `triplet`; of several processes each lists its rows, and all must call it.
    fn draws(&self, config: &Config, step: u64, triplet: &Triplet, team: &Team) -> Vec<(String, Tensor)>;

    /// Returns the discriminator's noise, if the config has any.
    fn noise(&mut self) -> Option<&mut Noise> {
        None
    }
}

/// The terms of a step: unweighted, under their log keys, as one tensor on the device. All steps of a config have the
/// same keys.
#[derive(Debug)]
pub struct Terms {
    /// The log keys.
    pub names: Vec<&'static str>,
    /// `[names.len()]`, float32.
    pub values: Tensor,
    /// The time that the step spent on registration.
    pub registration: Duration,
}

impl Terms {
    pub(super) fn new(terms: Vec<(&'static str, Tensor)>) -> Terms {
        let (names, values): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
        Terms { names, values: Tensor::stack(&values, 0), registration: Duration::ZERO }
    }
}

/// One network's parameters and their optimiser.
#[derive(Debug)]
pub struct Learner {
    /// The weights and their gradient.
    pub parameters: Parameters,
    /// The optimiser.
    pub adam: Adam,
    /// Whether an update ended while it wrote.
    pub(super) torn: bool,
}

impl Learner {
    fn build<N>(
        network: impl FnOnce(&Path) -> N,
        config: &Config,
        device: Device,
        rate: f64,
        purpose: &str,
    ) -> (N, Learner) {
        let (network, parameters) = Parameters::build(network, device, config.precision, config.seed, purpose);
        let adam = Adam::new(&parameters.values, config, rate);
        (network, Learner { parameters, adam, torn: false })
    }

    /// Differentiates `loss` by the parameters, averages the gradient over the processes, clips it and takes a step of
    /// Adam.
    ///
    /// # Errors
    /// As [`Parameters::differentiate`]; [`crate::Error::Lost`].
    pub(super) fn update(&mut self, loss: &Tensor, config: &Config, team: &Team, factor: f64) -> Result<()> {
        self.parameters.differentiate(loss)?;
        team.average(&mut self.parameters.gradient)?;
        if config.gradient_clip > 0.0 {
            clip(&mut self.parameters.gradient, config.gradient_clip);
        }
        self.torn = true;
        self.adam.step(&mut self.parameters.values, &self.parameters.gradient, factor);
        self.parameters.changed();
        self.torn = false;
        Ok(())
    }
}

/// Scales a gradient down to the norm `most` if it is longer (Pascanu et al., arXiv 1211.5063, algorithm 1, as
/// torch.nn.utils.clip_grad_norm_).
fn clip(gradient: &mut Tensor, most: f64) {
    tch::no_grad(|| {
        let shorter: Tensor = most / (gradient.norm() + 1e-6);
        let _ = gradient.g_mul_(&shorter.clamp_max(1.0));
    });
}

/// Both networks as learners. Their layers, which the [`Method`] holds, are views of these parameters.
#[derive(Debug)]
pub struct Models {
    /// The generator's.
    pub generator: Learner,
    /// The discriminator's.
    pub discriminator: Learner,
    /// Multiplies both learning rates; halved each time the run goes back.
    pub slowdown: f64,
    /// The random network of `perceptual_weight`; `None` if the weight is 0.
    pub pyramid: Option<Pyramid>,
    /// The processes that learn together.
    pub team: Team,
}

impl Models {
    /// Builds both networks, initialised from the config's seed.
    pub(super) fn build<G, D>(
        config: &Config,
        device: Device,
        team: &Team,
        generator: impl FnOnce(&Path, &Config) -> G,
        discriminator: impl FnOnce(&Path, &Config) -> D,
    ) -> (G, D, Models) {
        let rate = config.learning_rate;
        let (generator, generator_learner) =
            Learner::build(|path| generator(path, config), config, device, rate, "init/generator");
        let rate = config.discriminator_learning_rate.unwrap_or(rate);
        let (discriminator, mut discriminator_learner) =
            Learner::build(|path| discriminator(path, config), config, device, rate, "init/discriminator");
        for layer in 0..config.freeze_discriminator {
            discriminator_learner.parameters.freeze(&format!("down.{layer}."));
        }
        let range = config.range();
        let models = Models {
            generator: generator_learner,
            discriminator: discriminator_learner,
            slowdown: 1.0,
            pyramid: (config.perceptual_weight != 0.0).then(|| Pyramid::new(range, device)),
            team: team.clone(),
        };
        (generator, discriminator, models)
    }

    /// Returns the factor of both learning rates in a step.
    pub(super) fn factor(&self, config: &Config, step: u64) -> f64 {
        self.slowdown * rate_factor(config, step * config.batch_size as u64)
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
        assert!((long[0] - 0.6).abs() < 1e-6 && (long[1] + 0.8).abs() < 1e-6, "{long:?}");
        let mut short = Tensor::from_slice(&[0.3f32, -0.4]);
        clip(&mut short, 1.0);
        assert_eq!(Vec::<f32>::try_from(short).unwrap(), [0.3, -0.4]);
    }
}
