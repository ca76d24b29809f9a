//! Self-swap: a person in the article they wear already must not change. Ours; CycleGAN has a similar loss on pictures
//! of the target domain, and calls it identity loss (Zhu et al. 2017, arXiv 1703.10593, section 5.2).

use tch::{Kind, Tensor};

/// Returns the mean of |human - G(human, worn, worn)|.
///
/// # Shapes
/// `human`, `same`: `[N, 3, H, W]`. Returns a scalar.
///
/// ```
/// let picture = |v: f32| tch::Tensor::from_slice(&[v, -v, 2.0 * v]).reshape([1, 3, 1, 1]);
/// // (1 + 1 + 2) / 3 times |0.25 - 1|
/// assert_eq!(cagan::losses::self_swap(&picture(0.25), &picture(1.0)).double_value(&[]), 1.0);
/// ```
pub fn self_swap(human: &Tensor, same: &Tensor) -> Tensor {
    (human - same).abs().mean(Kind::Float)
}
