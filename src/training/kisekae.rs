//! One step of the preset `kisekae` (its ideas: `networks/kisekae/mod.rs`): the discriminator's update, then that
//! of the painter, the locator, the placer and the frames.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::erasure::Erasures;
use super::extras;
use super::models::{Method, Models, Terms};
use super::team::Team;
use crate::config::Config;
use crate::data::Triplet;
use crate::error::Result;
use crate::losses::{self, Objective};
use crate::native::sent;
use crate::networks::kisekae::{Generator, Judge, Painting, Registered, erased, flow_of, square};
use crate::networks::{Swap, composite};

/// Weight of the whole photo in the painter's loss: its layers learn what surrounds the garment.
const ALL_OVER: f64 = 0.1;
/// Weight of a photo beside an article that is not worn in it, in the discriminator's loss.
const MISMATCHED: f64 = 0.5;
/// Weight of the distance between the frames' map and the registered one.
const FRAMED: f64 = 5.0;
/// The confidence from which on a paint begins with the registered map, and not with the frames'.
const SURE: f64 = 0.5;
/// Weight of the locator's distance to the mask that the registration corrected.
const AGREED: f64 = 1.0;
/// Weight of the distance between the warped article's outline and the mask.
const EDGE: f64 = 1.0;

/// The networks of the preset `kisekae`.
#[derive(Debug)]
pub struct Kisekae {
    generator: Generator,
    judge: Judge,
}

impl Kisekae {
    /// Builds the networks, initialised from the config's seed.
    pub fn new(config: &Config, device: Device, team: &Team) -> (Kisekae, Models) {
        let (generator, judge, models) = Models::build(config, device, team, Generator::new, Judge::new);
        (Kisekae { generator, judge }, models)
    }
}

impl Method for Kisekae {
    fn step(&mut self, models: &mut Models, config: &Config, triplet: &Triplet, step: u64) -> Result<Terms> {
        let Kisekae { generator, judge } = self;
        let Triplet { human, worn, target } = triplet;
        let factor = models.factor(config, step);
        let seen = step * config.batch_size as u64;
        let (placing, judging) = (seen >= config.place_after.images(), seen >= config.judge_after.images());

        // Locate the worn article. Some pictures do not show it, so that swaps can do without it.
        let team = &models.team;
        let total = |sum| team.whole(sum);
        let draw = Erasures::draw(config, step, human.device(), team);
        let located = generator.locate(human, &draw.shown(worn));
        let mask = generator.cut(&located.detach());

        // Erase. The maps of both articles onto the person, by the frames.
        let erasure = draw.with(placing.then_some(&mask), team);
        let frames = placing.then(|| Framed::of(generator, human, worn, &mask));
        // The base of each paint: the erasure itself at first, then the worn article as registered, and moved a little.
        let began = Instant::now();
        let registered =
            frames.as_ref().map(|frames| tch::no_grad(|| generator.register(human, worn, &mask, &frames.map)));
        let registration = if placing { began.elapsed() } else { Duration::ZERO };
        let none = || human.narrow(1, 0, 1).zeros_like();
        let sure = registered.as_ref().map(|found| found.confidence.gt(SURE));
        // Where the garment is: the locator's mask, corrected where the registration is sure.
        let (garment, [outline, base]) = match (&registered, &sure, &frames) {
            (Some(found), Some(sure), Some(frames)) => {
                let agreed = tch::no_grad(|| generator.agreed(human, worn, &mask, &found.map));
                let map = square(&found.map).where_self(&sure.reshape([-1, 1, 1]), &frames.map);
                let garment = agreed.where_self(&sure.reshape([-1, 1, 1, 1]), &mask);
                (garment, generator.outlined(worn, &draw.jitter.bmm(&map)))
            }
            _ => (mask.shallow_clone(), [none(), generator.onto(worn, &erasure)]),
        };
        let erasure = draw.outlined(&erasure, &outline);
        let left = erased(human, &erasure);
        let [other_outline, other_base] = match &frames {
            Some(frames) => tch::no_grad(|| generator.outlined(target, &generator.frame(target).bmm(&frames.body))),
            None => [none(), generator.onto(target, &erasure)],
        };

        // The correction of the body's frame: by the worn article to the registered map, by one that is not worn to none.
        let fitted = registered.as_ref().zip(frames.as_ref()).map(|(found, frames)| {
            let article = draw.other(worn, target);
            let other = draw.withheld.reshape([-1, 1, 1]);
            let map = tch::no_grad(|| generator.frame(&article).bmm(&frames.body));
            let fit = generator.fit(human, &article, &mask, &map);
            let wanted = square(&found.map).lerp_tensor(&map, &other.expand_as(&map));
            let confidence = found.confidence.maximum(&draw.withheld.reshape([-1]));
            losses::framed(&flow_of(&map.bmm(&fit), human), &flow_of(&wanted, human), &garment, &confidence)
        });

        // Place, paint: the worn article, and the target in the same erasure.
        let placed = placing.then(|| generator.place(&left, &erasure, &outline, worn));
        let within = |logits: &Tensor| logits.detach().sigmoid() * &erasure;
        let placement = match &placed {
            None => erasure.shallow_clone(),
            Some(_) if draw.sharp => &garment * &erasure,
            Some(logits) => within(logits),
        };
        let other_placement = tch::no_grad(|| match placing {
            true => within(&generator.place(&left, &erasure, &other_outline, target)),
            false => erasure.shallow_clone(),
        });
        let paint = |article: &Tensor, placement: &Tensor, base: &Tensor| {
            generator.painter.forward(&left, &erasure, article, placement, base)
        };
        let [restored, swapped] = if judging {
            let both = |one: &Tensor, other: &Tensor| Tensor::cat(&[one, other], 0);
            let (left, erasure, placement) =
                (both(&left, &left), both(&erasure, &erasure), both(&placement, &other_placement));
            let painter = &generator.painter;
            painter.forward(&left, &erasure, &both(worn, target), &placement, &both(&base, &other_base)).halves()
        } else {
            // Only the gain reads the swap.
            let swapped = tch::no_grad(|| paint(target, &other_placement, &other_base));
            [paint(worn, &placement, &base), swapped]
        };
        let gain = losses::gain(human, &restored.paint.detach(), &swapped.paint.detach());

        // The discriminator's update, from `judge_after` on.
        let game = Game { human, restored: &restored, swapped: &swapped, erasure: &erasure };
        let mut discriminator_loss = Tensor::zeros([], (Kind::Float, human.device()));
        if judging {
            judge.iterate();
            discriminator_loss = game.discriminator_loss(config, judge);
            models.discriminator.update(&discriminator_loss, config, team, factor)?;
        }

        // The update of painter, locator, placer and frames.
        let mut objective = Objective::new();
        let whole = erasure.ones_like();
        let apart = |region: &Tensor| losses::within(human, &restored.paint, region, &total);
        objective.add("loss/generator/restored", 1.0, apart(&erasure));
        objective.add("loss/generator/surroundings", ALL_OVER, apart(&whole));
        let region = if placing { &garment * &erasure } else { erasure.shallow_clone() };
        objective.add("loss/generator/beside", 1.0, apart(&(&erasure - &region)));
        let warped = losses::within(human, &restored.warped, &region, &total);
        objective.add("loss/generator/warped", config.warp_weight, warped);
        let mut bending = losses::bending(&restored.residual);
        if judging {
            bending = losses::bending(&swapped.residual) + bending;
        }
        objective.add("loss/generator/bending", config.bending_weight, bending);
        let trust = draw.trust(&erasure, placing);
        objective.add("loss/generator/located", 1.0, losses::location(&located, &gain, &trust, &total));
        let zero = || Tensor::zeros([], (Kind::Float, human.device()));
        let agreed = sure.map_or_else(zero, |sure| losses::agreement(&located, &garment, &sure));
        objective.add("loss/generator/agreed", AGREED, agreed);
        let placed = placed.map_or_else(zero, |logits| losses::placement(&logits, &garment, &erasure));
        objective.add("loss/generator/placed", 1.0, placed);
        // What teaches the frames: people in another article, by the networks as they are.
        let [framed, edge, sure] = match registered.as_ref().zip(frames.as_ref()) {
            Some((found, frames)) => [
                frames.taught(generator, human, [worn, target], &garment, found),
                losses::edge(&restored.outline, &outline, &garment, &erasure, &total),
                found.confidence.mean(Kind::Float),
            ],
            None => [0, 1, 2].map(|_| zero()),
        };
        objective.add("loss/generator/framed", FRAMED, framed);
        objective.add("loss/generator/fitted", FRAMED, fitted.unwrap_or_else(zero));
        objective.add("loss/generator/edge", EDGE, edge);
        let [fooled, feature] = match judging {
            true => game.generator_losses(config, judge),
            false => [0, 1].map(|_| Tensor::zeros([], (Kind::Float, human.device()))),
        };
        objective.add("loss/generator/adversarial", config.adversarial_weight, fooled);
        objective.add("loss/generator/feature", config.feature_weight, feature);
        let painted = || [Some(composite(human, &restored.paint, &erasure))];
        extras::perceptual(&mut objective, config, &models.pyramid, human, painted);

        let terms = tch::no_grad(|| {
            let total = objective.total.shallow_clone();
            let mut terms = vec![("loss/discriminator", discriminator_loss), ("loss/generator", total)];
            terms.extend(objective.terms);
            terms.push(("mask/area", mask.mean(Kind::Float)));
            terms.push(("registration/confidence", sure));
            Terms { registration, ..Terms::new(terms) }
        });
        // Last, so that nothing fails after it.
        models.generator.update(&objective.total, config, team, factor)?;
        Ok(terms)
    }

    fn swap(&self, Triplet { human, worn, target }: &Triplet) -> Swap {
        self.generator.swap(human, Some(worn), target)
    }

    /// Scores the article as the generator itself locates and warps it.
    fn score(&self, human: &Tensor, article: &Tensor) -> Tensor {
        let [warped, erasure] = self.generator.condition(human, article);
        self.judge.judge(human, &warped, &erasure).logits
    }

    fn draws(&self, config: &Config, step: u64, triplet: &Triplet, team: &Team) -> Vec<(String, Tensor)> {
        let Triplet { human, worn, .. } = triplet;
        let draw = Erasures::draw(config, step, human.device(), team);
        let mut named = draw.named();
        if step * config.batch_size as u64 >= config.place_after.images() {
            let generator = &self.generator;
            let mask = generator.cut(&generator.locate(human, &draw.shown(worn)));
            let map = generator.frame(worn).bmm(&generator.body(human, &mask));
            let found = generator.register(human, worn, &mask, &map);
            named.extend([("registered".into(), found.map), ("confidence".into(), found.confidence)]);
        }
        named
    }
}

/// A step's frames.
struct Framed {
    /// The worn article's.
    worn: Tensor,
    /// The person's, and the map of the worn article by both: without a gradient, as in a swap.
    body: Tensor,
    map: Tensor,
}

impl Framed {
    fn of(generator: &Generator, human: &Tensor, worn: &Tensor, mask: &Tensor) -> Framed {
        let worn = generator.frame(worn);
        let body = tch::no_grad(|| generator.body(human, mask));
        let map = tch::no_grad(|| worn.bmm(&body));
        Framed { worn, body, map }
    }

    /// Returns the distance of the frames' map to the registered one, where the person's frame sees the person dressed
    /// in the target by the networks as they are: the mean of the pictures and their mirror images, since frames want
    /// more pairs than a step has.
    fn taught(
        &self,
        generator: &Generator,
        human: &Tensor,
        [worn, target]: [&Tensor; 2],
        garment: &Tensor,
        found: &Registered,
    ) -> Tensor {
        let [dressed, shown] = tch::no_grad(|| generator.dressed(human, garment, &self.body, target));
        let apart = |frame: &Tensor, dressed: &Tensor, shown: &Tensor, wanted: &Tensor, garment: &Tensor| {
            let map = frame.bmm(&generator.body(dressed, shown));
            losses::framed(&flow_of(&map, dressed), &flow_of(wanted, dressed), garment, &found.confidence)
        };
        let sides = sent(&Tensor::from_slice(&[1f32, -1.0, -1.0, -1.0, 1.0, 1.0]).reshape([2, 3]), human.device());
        let seen = apart(&self.worn, &dressed, &shown, &found.map, garment);
        let [worn, dressed, shown, garment] = [worn, &dressed, &shown, garment].map(|xs| xs.flip([3]));
        (seen + apart(&generator.frame(&worn), &dressed, &shown, &(&found.map * sides), &garment)) * 0.5
    }
}

/// The pictures that the adversarial losses compare: a photo, its restoration and a swap in the same erasure.
struct Game<'a> {
    human: &'a Tensor,
    restored: &'a Painting,
    swapped: &'a Painting,
    erasure: &'a Tensor,
}

impl Game<'_> {
    /// The photo beside its own article is real; the restoration, the swap and the photo beside the target are fake.
    fn discriminator_loss(&self, config: &Config, judge: &Judge) -> Tensor {
        let form = config.adversarial_loss;
        let human = self.human;
        let [restored, swapped] = self.composites().map(|picture| picture.detach());
        let [own, other] = self.conditions();
        let logits = judge
            .judge(
                &Tensor::cat(&[human, &restored, &swapped, human], 0),
                &Tensor::cat(&[&own, &own, &other, &other], 0),
                &self.erasure.repeat([4, 1, 1, 1]),
            )
            .logits;
        let parts = logits.split(human.size()[0], 0);
        let fake = |k: usize| losses::fake(form, &parts[k]).mean(Kind::Float);
        // The real photo weighs as much as both kinds of paint.
        let real = losses::real(form, &parts[0]).mean(Kind::Float) * 2.0;
        real + fake(1) + fake(2) + fake(3) * MISMATCHED
    }

    /// Returns the painter's adversarial loss, over the restoration and the swap, and the distance of the
    /// discriminator's layers between the restoration and the photo.
    fn generator_losses(&self, config: &Config, judge: &Judge) -> [Tensor; 2] {
        let [own, other] = self.conditions();
        let matched = tch::no_grad(|| judge.judge(self.human, &own, self.erasure));
        // The photo alone, outside the graph: it would get gradients that nobody reads.
        let painted = judge.judge(
            &Tensor::cat(&self.composites(), 0),
            &Tensor::cat(&[own, other], 0),
            &self.erasure.repeat([2, 1, 1, 1]),
        );
        let pictures = self.human.size()[0];
        let restored: Vec<Tensor> = painted.features.iter().map(|layer| layer.narrow(0, 0, pictures)).collect();
        // Both halves weigh as much.
        let fooled = losses::fooled(config.adversarial_loss, &painted.logits).mean(Kind::Float) * 2.0;
        [fooled, losses::features(&matched.features, &restored)]
    }

    fn composites(&self) -> [Tensor; 2] {
        [self.restored, self.swapped].map(|p| composite(self.human, &p.paint, self.erasure))
    }

    /// The warped articles, without a gradient: the flow learns from the article, not from the discriminator.
    fn conditions(&self) -> [Tensor; 2] {
        [self.restored, self.swapped].map(|p| p.warped.detach())
    }
}
