//! R1 (Mescheder, Geiger & Nowozin 2018, arXiv 1801.04406): penalises the discriminator's gradient on real data.

use tch::{Kind, Tensor};

/// Returns half the squared length of the gradient of a matched pair's logits (summed over the positions, as in L_cGAN)
/// by both of its pictures, averaged over the batch. The weight is the source's gamma, for values in the networks'
/// range.
///
/// # Shapes
/// `human`, `article`: the gradients, `[N, 3, H, W]`. Returns a scalar.
///
/// ```
/// let gradient = |v: f32| tch::Tensor::from_slice(&[v; 6]).reshape([2, 3, 1, 1]);
/// // (3 * 1^2 + 3 * 2^2) / 2 for each of the two pairs
/// assert_eq!(cagan::losses::r1(&gradient(1.0), &gradient(2.0)).double_value(&[]), 7.5);
/// ```
pub fn r1(human: &Tensor, article: &Tensor) -> Tensor {
    let squared = |gradient: &Tensor| gradient.square().sum(Kind::Float);
    (squared(human) + squared(article)) * (0.5 / human.size()[0] as f64)
}
