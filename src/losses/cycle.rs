//! L_cyc (A, P): dressed back, the person is as before.

use tch::{Kind, Tensor};

/// Mean |human - restored|.
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
