//! Objectives that neither source has. All of them are off in the published presets.

use tch::{Device, Kind, Tensor};

use super::augment::Augment;
use super::noise::{Pass, noised, reverse_noise};
use crate::config::Config;
use crate::data::{Share, Triplet};
use crate::losses::{self, Objective};
use crate::networks::{Generator, Judgement, Pyramid, composite};

/// Swaps back without a gradient to the first swap, so that the generator does not learn to hide the person in its
/// composite; noise covers traces that it leaves by chance (Chu et al. 2017, arXiv 1712.02950, found such hiding in
/// CycleGAN).
///
/// # Shapes
/// `given`, the first swap's composite: `[N, 3, H, W]`. Returns the same.
pub fn detached(
    config: &Config,
    generator: &Generator,
    given: &Tensor,
    triplet: &Triplet,
    step: u64,
    share: Share,
) -> Tensor {
    let given = given.detach();
    // Only the generator's input is noisy: noise that shines through the mask would reward repainting everything.
    let seen = noised(config, &given, step, share);
    let back = generator.swap(&seen, &triplet.target, &triplet.worn);
    composite(&given, &back.paint, &back.mask)
}

/// Adds the objective that people stay as they are when they put on the article that they wear. Returns the composite
/// of that swap; `None` if the weight is 0.
pub fn self_swap(
    objective: &mut Objective,
    config: &Config,
    human: &Tensor,
    swap: impl FnOnce() -> Tensor,
) -> Option<Tensor> {
    let same = (config.self_swap_weight != 0.0).then(swap)?;
    objective.add("loss/generator/self_swap", config.self_swap_weight, losses::self_swap(human, &same));
    Some(same)
}

/// Adds the objective that the mask is in one piece.
pub fn mask_tv(objective: &mut Objective, config: &Config, mask: &Tensor) {
    objective.extra("loss/generator/mask_tv", config.mask_tv_weight, || losses::total_variation(mask));
}

/// Adds the objective that the mask has no half-tones.
pub fn mask_binary(objective: &mut Objective, config: &Config, mask: &Tensor) {
    objective.extra("loss/generator/mask_binary", config.mask_binary_weight, || losses::binary(mask));
}

/// Adds the objective that the discriminator's layers see the same in swapped and in matched pairs.
pub fn feature(objective: &mut Objective, config: &Config, swapped: &Judgement, matched: impl FnOnce() -> Judgement) {
    objective.extra("loss/generator/feature", config.feature_weight, || {
        losses::features(&tch::no_grad(matched).features, &swapped.features)
    });
}

/// Adds the objective that a random network sees the human in pictures that should show it: the mean over the pictures.
pub fn perceptual<const N: usize>(
    objective: &mut Objective,
    config: &Config,
    pyramid: &Option<Pyramid>,
    human: &Tensor,
    pictures: impl FnOnce() -> [Option<Tensor>; N],
) {
    let Some(pyramid) = pyramid else { return };
    let pictures: Vec<Tensor> = pictures().into_iter().flatten().collect();
    let wanted = tch::no_grad(|| pyramid.features(human));
    let distances = pictures.iter().map(|picture| losses::features(&wanted, &pyramid.features(picture)));
    let sum = distances.reduce(|sum, distance| sum + distance).expect("at least one picture");
    objective.add("loss/generator/perceptual", config.perceptual_weight, sum * (1.0 / pictures.len() as f64));
}

/// Whether a step has the R1 penalty.
pub fn penalised(config: &Config, step: u64) -> bool {
    config.r1_weight != 0.0 && step.is_multiple_of(config.r1_every)
}

/// R1 in the lazy form of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958): in one of `r1_every` steps and that many
/// times as strong, so that its mean over the steps is the penalty itself. Adam's settings stay the same in all steps.
///
/// # Shapes
/// `matched`, logits: `[N, ...]`. `humans`, `articles`, before their augmentation: `[3 N, 3, H, W]`, the matched pairs
/// first. Returns a scalar.
pub fn r1(config: &Config, matched: &Tensor, humans: &Tensor, articles: &Tensor) -> Tensor {
    let batch = matched.size()[0];
    // The gradient is differentiable itself. It is 0 for the other pairs: nothing in the network mixes pictures.
    let sum = matched.sum(Kind::Float);
    let gradients = Tensor::run_backward(&[sum], &[humans, articles], true, true);
    let [human, article] = [0, 1].map(|k: usize| gradients[k].narrow(0, 0, batch));
    losses::r1(&human, &article) * config.r1_every as f64
}

/// Lists what a step draws for these objectives, if they are on: `reverse`, the noise of the detached swap back,
/// `[N, 3, H, W]`; `augment/discriminator`, `[3 N, 11]`, and `augment/generator`, `[N, 11]`, whose columns
/// `augment.rs` lists.
pub fn draws(config: &Config, step: u64, device: Device, share: Share) -> Vec<(String, Tensor)> {
    let mut draws = Vec::new();
    if config.reverse_noise != 0.0 {
        draws.push(("reverse".into(), reverse_noise(config, device, step, share)));
    }
    for (name, pass) in [("augment/discriminator", Pass::Discriminator), ("augment/generator", Pass::Generator)] {
        let table = Augment::draw(config, pass, step, device, share).table();
        draws.extend(table.map(|table| (name.into(), table)));
    }
    draws
}
