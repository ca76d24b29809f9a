//! One step of the method (A, P): the discriminator's update, then the generator's.

use tch::{Device, Kind, Tensor};

use super::adam::Adam;
use super::augment::Augment;
use super::kisekae;
use super::noise::{Noise, Pass, noised};
use super::schedule::rate_factor;
use crate::config::{Config, Reverse};
use crate::data::Triplet;
use crate::losses::{self, Objective};
use crate::networks::{Discriminator, Generator, Judgement, PairDiscriminator, Parameters, Pyramid, composite};

/// What a step returns: its terms, unweighted, as one tensor on the device, and their log keys. A config has the same
/// in all steps.
#[derive(Debug)]
pub struct Terms {
    pub names: Vec<&'static str>,
    /// `[names.len()]`, float32.
    pub values: Tensor,
}

impl Terms {
    pub(super) fn new(terms: Vec<(&'static str, Tensor)>) -> Terms {
        let (names, values): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
        Terms { names, values: Tensor::stack(&values, 0) }
    }
}

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
    /// What `perceptual_weight` compares pictures in, where it is not 0.
    pub pyramid: Option<Pyramid>,
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
            pyramid: (config.perceptual_weight != 0.0).then(|| Pyramid::new(config.range(), device)),
            generator_adam: Adam::new(&generator_parameters.values, config, rate),
            discriminator_adam: Adam::new(&discriminator_parameters.values, config, discriminator_rate),
            slowdown: 1.0,
            generator,
            discriminator,
            generator_parameters,
            discriminator_parameters,
        }
    }

    /// One update of both networks; `noise` is drawn for `step`. Nothing is read back to the host.
    pub fn step(&mut self, config: &Config, triplet: &Triplet, noise: &mut Option<Noise>, step: u64) -> Terms {
        if let Generator::Kisekae(_) = self.generator {
            return kisekae::step(self, config, triplet, step);
        }
        let Triplet { human, worn, target } = triplet;
        let form = config.adversarial_loss;
        let batch = human.size()[0];
        let swap = self.generator.swap(human, worn, target);

        // The discriminator's update: matched pairs are real, swapped and mismatched ones are fake.
        let humans = Tensor::cat(&[human, &swap.composite.detach(), human], 0); // [3 N, 3, H, W]
        let articles = Tensor::cat(&[worn, target, target], 0); // [3 N, 3, H, W]
        self.pairs().iterate();
        let penalised = config.r1_weight != 0.0 && step.is_multiple_of(config.r1_every);
        let [humans, articles] = [humans, articles].map(|t| t.set_requires_grad(penalised));
        let draw = noise.as_mut().map(|n| n.draw(Pass::Discriminator, step));
        let augment = Augment::draw(config, Pass::Discriminator, 3 * batch, step, human);
        let judged = self.judge(&humans, &articles, &augment, draw);
        let logits = judged.logits;
        let parts = logits.split(batch, 0);
        let [matched, swapped, mismatched] = [&parts[0], &parts[1], &parts[2]];
        let mut discriminator_loss = losses::discriminator(form, matched, swapped, mismatched);
        let r1 = penalised.then(|| r1(config, matched, &humans, &articles));
        if let Some(r1) = &r1 {
            discriminator_loss += config.r1_weight * r1;
        }
        let factor = self.factor(config, step);
        update(&mut self.discriminator_parameters, &mut self.discriminator_adam, &discriminator_loss, config, factor);

        // The generator's update: fool the discriminator, repaint little, and be able to dress the person back.
        let restored = self.restored(config, &swap.composite, triplet, step);
        let draw = noise.as_mut().map(|n| n.draw(Pass::Generator, step));
        let augment = Augment::draw(config, Pass::Generator, batch, step, human);
        let judged = self.judge(&swap.composite, target, &augment, draw);
        let mut objective = Objective::new();
        let fooled = losses::generator(form, &judged.logits);
        objective.add("loss/generator/adversarial", config.adversarial_weight, fooled);
        let (identity, cycle) = (losses::identity(&swap.mask), losses::cycle(human, &restored));
        objective.add("loss/generator/identity", config.identity_weight, identity);
        objective.add("loss/generator/cycle", config.cycle_weight, cycle);
        // What neither source has, each off in their presets: whoever puts on what they wear stays as they are;
        let on = config.self_swap_weight != 0.0;
        let same = on.then(|| self.generator.swap(human, worn, worn).composite);
        if let Some(same) = &same {
            let term = losses::self_swap(human, same);
            objective.add("loss/generator/self_swap", config.self_swap_weight, term);
        }
        // a mask in one piece, without half-tones;
        objective.extra("loss/generator/mask_tv", config.mask_tv_weight, || losses::total_variation(&swap.mask));
        objective.extra("loss/generator/mask_binary", config.mask_binary_weight, || losses::binary(&swap.mask));
        // the discriminator's layers see in swapped what they see in matched;
        objective.extra("loss/generator/feature", config.feature_weight, || {
            let matched = tch::no_grad(|| self.judge(human, worn, &augment, draw));
            losses::features(&matched.features, &judged.features)
        });
        // a random network sees the human in all that should be the human.
        objective.extra("loss/generator/perceptual", config.perceptual_weight, || {
            self.perceptual(human, &restored, same.as_ref())
        });
        update(&mut self.generator_parameters, &mut self.generator_adam, &objective.total, config, factor);

        tch::no_grad(|| {
            let mean = |t: &Tensor| t.mean(Kind::Float);
            let mut terms = vec![("loss/discriminator", discriminator_loss)];
            if config.r1_weight != 0.0 {
                let none = || Tensor::zeros([], (Kind::Float, human.device()));
                terms.push(("loss/discriminator/r1", r1.unwrap_or_else(none)));
            }
            terms.push(("loss/generator", objective.total));
            terms.extend(objective.terms);
            terms.push(("logits/matched", mean(matched)));
            terms.push(("logits/swapped", mean(swapped)));
            terms.push(("logits/mismatched", mean(mismatched)));
            terms.push(("mask/area", mean(&swap.mask)));
            Terms::new(terms)
        })
    }

    /// What both rates are multiplied by in a step.
    pub(super) fn factor(&self, config: &Config, step: u64) -> f64 {
        self.slowdown * rate_factor(config, step * config.batch_size as u64)
    }

    /// Logits, without noise, of whether each human wears the article.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in the networks' value range. Returns `[N, ...]`.
    pub fn score(&self, human: &Tensor, article: &Tensor) -> Tensor {
        match (&self.generator, &self.discriminator) {
            (_, Discriminator::Pairs(pairs)) => pairs.score(human, article, None),
            (Generator::Kisekae(generator), Discriminator::Regions(judge)) => {
                kisekae::score(generator, judge, human, article)
            }
            _ => unreachable!("a config's networks go together"),
        }
    }

    /// The discriminator of the published presets.
    fn pairs(&self) -> &PairDiscriminator {
        match &self.discriminator {
            Discriminator::Pairs(pairs) => pairs,
            Discriminator::Regions(_) => unreachable!("only of kisekae"),
        }
    }

    /// The discriminator on augmented pairs, with its noise.
    fn judge(&self, humans: &Tensor, articles: &Tensor, augment: &Augment, noise: Option<&[Tensor]>) -> Judgement {
        let (humans, articles) = (augment.humans(humans), augment.articles(articles));
        self.pairs().judge(&humans, &articles, noise)
    }

    /// The second swap, back to the worn article.
    ///
    /// # Shapes
    /// `composite`: `[N, 3, H, W]`. Returns the same.
    fn restored(&self, config: &Config, given: &Tensor, triplet: &Triplet, step: u64) -> Tensor {
        let Triplet { worn, target, .. } = triplet;
        match config.reverse {
            Reverse::Through => self.generator.swap(given, target, worn).composite,
            // Without a gradient the first swap cannot hide the person in its composite, and noise covers what it hides
            // by chance (Chu et al. 2017, arXiv 1712.02950, found the hiding in CycleGAN). Only what the generator sees
            // is noisy: noise in what shines through the mask would reward repainting everything.
            Reverse::Detached => {
                let given = given.detach();
                let seen = noised(config, &given, step);
                let back = self.generator.swap(&seen, target, worn);
                composite(&given, &back.paint, &back.mask)
            }
        }
    }

    /// How far restored, and the self-swap where there is one, are from the human in the random network: the mean of
    /// both.
    fn perceptual(&self, human: &Tensor, restored: &Tensor, same: Option<&Tensor>) -> Tensor {
        let pyramid = self.pyramid.as_ref().expect("built where it has a weight");
        let wanted = tch::no_grad(|| pyramid.features(human));
        let differs = |got: &Tensor| losses::features(&wanted, &pyramid.features(got));
        match same {
            None => differs(restored),
            Some(same) => (differs(restored) + differs(same)) * 0.5,
        }
    }
}

/// R1 in the lazy form of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958): in one step of `r1_every`, that many times
/// as strong, so that its mean over the steps is the penalty itself. Adam stays as it is in all of them.
fn r1(config: &Config, matched: &Tensor, humans: &Tensor, articles: &Tensor) -> Tensor {
    let batch = matched.size()[0];
    // By the pictures before their augmentation, and differentiable itself. Other pairs' gradients are 0: nothing in
    // the network mixes pictures.
    let sum = matched.sum(Kind::Float);
    let gradients = Tensor::run_backward(&[sum], &[humans, articles], true, true);
    let [human, article] = [0, 1].map(|k: usize| gradients[k].narrow(0, 0, batch));
    losses::r1(&human, &article) * config.r1_every as f64
}

/// Differentiates, shortens the gradient where it is too long, and steps.
pub(super) fn update(parameters: &mut Parameters, adam: &mut Adam, loss: &Tensor, config: &Config, factor: f64) {
    parameters.differentiate(loss);
    if config.gradient_clip > 0.0 {
        clip(&mut parameters.gradient, config.gradient_clip);
    }
    adam.step(&mut parameters.values, &parameters.gradient, factor);
    parameters.changed();
}

/// Shortens a network's gradient to a norm of `most` (Pascanu et al., arXiv 1211.5063, algorithm 1, as
/// torch.nn.utils.clip_grad_norm_).
fn clip(gradient: &mut Tensor, most: f64) {
    tch::no_grad(|| {
        let shorter: Tensor = most / (gradient.norm() + 1e-6);
        let _ = gradient.g_mul_(&shorter.clamp_max(1.0));
    });
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
