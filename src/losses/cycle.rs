//! L_cyc (A, P): swapping back must restore the photo.

use tch::{Kind, Tensor};

/// Returns the mean of |human - restored|.
///
/// # Shapes
/// Both `[N, 3, H, W]`. Returns a scalar.
///
/// ```
/// let picture = |v: f32| tch::Tensor::from_slice(&[v, -v, v]).reshape([1, 3, 1, 1]);
/// assert_eq!(cagan::losses::cycle(&picture(1.0), &picture(0.5)).double_value(&[]), 0.5);
/// ```
pub fn cycle(human: &Tensor, restored: &Tensor) -> Tensor {
    (human - restored).abs().mean(Kind::Float)
}
