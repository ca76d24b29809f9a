//! One step of the published method (A, P): the discriminator's update, then the generator's.
//!
//! ```text
//! min_G max_D  L_cGAN + identity_weight L_id + cycle_weight L_cyc
//! ```

use tch::{Device, Kind, Tensor};

use super::augment::Augment;
use super::extras;
use super::models::{Method, Models, Terms};
use super::noise::{Noise, Pass};
use super::team::Team;
use crate::config::{Config, Reverse};
use crate::data::{Crew, Triplet};
use crate::error::Result;
use crate::losses::{self, Objective};
use crate::networks::{Generator, PairDiscriminator, Path, Swap};

/// The networks of the article (A) or of the paper (P).
#[derive(Debug)]
pub struct Published {
    generator: Generator,
    discriminator: PairDiscriminator,
    noise: Option<Noise>,
}

impl Published {
    /// Builds the networks, initialised from the config's seed.
    pub fn new(
        config: &Config,
        device: Device,
        team: &Team,
        discriminator: impl FnOnce(&Path, &Config) -> PairDiscriminator,
    ) -> (Published, Models) {
        let (generator, discriminator, models) = Models::build(config, device, team, Generator::new, discriminator);
        (Published { generator, discriminator, noise: Noise::new(config, device, team.share()) }, models)
    }
}

impl Method for Published {
    fn step(&mut self, models: &mut Models, config: &Config, triplet: &Triplet, step: u64) -> Result<Terms> {
        let Published { generator, discriminator, noise } = self;
        let Triplet { human, worn, target } = triplet;
        let form = config.adversarial_loss;
        let factor = models.factor(config, step);
        let (team, share) = (&models.team, models.team.share());
        let swap = generator.swap(human, worn, target);

        // The discriminator's update: matched pairs are real, swapped and mismatched ones are fake.
        let humans = Tensor::cat(&[human, &swap.composite.detach(), human], 0); // [3 N, 3, H, W]
        let articles = Tensor::cat(&[worn, target, target], 0); // [3 N, 3, H, W]
        let penalised = extras::penalised(config, step);
        let [humans, articles] = [humans, articles].map(|t| t.set_requires_grad(penalised));
        discriminator.iterate();
        let drawn = noise.as_mut().map(|noise| noise.draw(Pass::Discriminator, step));
        let augment = Augment::draw(config, Pass::Discriminator, step, human.device(), share);
        let logits = discriminator.score(&augment.humans(&humans), &augment.articles(&articles), drawn);
        let parts = logits.split(human.size()[0], 0);
        let [matched, swapped, mismatched] = [&parts[0], &parts[1], &parts[2]];
        let mut discriminator_loss = losses::discriminator(form, matched, swapped, mismatched);
        let r1 = penalised.then(|| extras::r1(config, matched, &humans, &articles));
        if let Some(r1) = &r1 {
            discriminator_loss += config.r1_weight * r1;
        }
        models.discriminator.update(&discriminator_loss, config, team, factor)?;

        // The generator's update: fool the discriminator, repaint little, and be able to dress the person back.
        let restored = match config.reverse {
            Reverse::Through => generator.swap(&swap.composite, target, worn).composite,
            Reverse::Detached => extras::detached(config, generator, &swap.composite, triplet, step, share),
        };
        let drawn = noise.as_mut().map(|noise| noise.draw(Pass::Generator, step));
        let augment = Augment::draw(config, Pass::Generator, step, human.device(), share);
        let judge = |human: &Tensor, article: &Tensor| {
            discriminator.judge(&augment.humans(human), &augment.articles(article), drawn)
        };
        let judged = judge(&swap.composite, target);
        let mut objective = Objective::new();
        let fooled = losses::generator(form, &judged.logits);
        objective.add("loss/generator/adversarial", config.adversarial_weight, fooled);
        objective.add("loss/generator/identity", config.identity_weight, losses::identity(&swap.mask));
        objective.add("loss/generator/cycle", config.cycle_weight, losses::cycle(human, &restored));
        let same = extras::self_swap(&mut objective, config, human, || generator.swap(human, worn, worn).composite);
        extras::mask_tv(&mut objective, config, &swap.mask);
        extras::mask_binary(&mut objective, config, &swap.mask);
        extras::feature(&mut objective, config, &judged, || judge(human, worn));
        extras::perceptual(&mut objective, config, &models.pyramid, human, || [Some(restored), same]);

        let terms = tch::no_grad(|| {
            let mut terms = vec![("loss/discriminator", discriminator_loss)];
            if config.r1_weight != 0.0 {
                let none = || Tensor::zeros([], (Kind::Float, human.device()));
                terms.push(("loss/discriminator/r1", r1.unwrap_or_else(none)));
            }
            terms.push(("loss/generator", objective.total.shallow_clone()));
            terms.extend(objective.terms);
            terms.push(("logits/matched", matched.mean(Kind::Float)));
            terms.push(("logits/swapped", swapped.mean(Kind::Float)));
            terms.push(("logits/mismatched", mismatched.mean(Kind::Float)));
            terms.push(("mask/area", swap.mask.mean(Kind::Float)));
            Terms::new(terms)
        });
        // Last, so that nothing fails after it.
        models.generator.update(&objective.total, config, team, factor)?;
        Ok(terms)
    }

    fn swap(&self, Triplet { human, worn, target }: &Triplet) -> Swap {
        self.generator.swap(human, worn, target)
    }

    fn score(&self, human: &Tensor, article: &Tensor) -> Tensor {
        self.discriminator.score(human, article, None)
    }

    fn draws(&self, config: &Config, step: u64, triplet: &Triplet, team: &Team) -> Vec<(String, Tensor)> {
        extras::draws(config, step, triplet.human.device(), team.share())
    }

    fn noise(&mut self) -> Option<&mut Noise> {
        self.noise.as_mut()
    }
}
