//! L_id (A, P): keep the mask small.

use tch::{Kind, Tensor};

/// Returns the mean of |mask|: the share of the picture that is repainted.
///
/// # Shapes
/// `mask`: `[N, 1, H, W]`. Returns a scalar.
///
/// ```
/// let mask = tch::Tensor::from_slice(&[0f32, 0.5, 1.0, 0.5]).reshape([1, 1, 2, 2]);
/// assert_eq!(cagan::losses::identity(&mask).double_value(&[]), 0.5);
/// ```
pub fn identity(mask: &Tensor) -> Tensor {
    mask.abs().mean(Kind::Float)
}
