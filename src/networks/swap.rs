//! The result of a generator call: mask, paint, composite.

use tch::Tensor;

/// One generator call.
///
/// # Shapes
/// `mask`: `[N, 1, H, W]` in [0, 1], 1 = repaint. `paint`, `composite`: `[N, 3, H, W]` in the networks' value range.
#[derive(Debug)]
pub struct Swap {
    pub mask: Tensor,
    pub paint: Tensor,
    pub composite: Tensor,
    /// Where the worn article is, `[N, 1, H, W]` in [0, 1]. `None` from networks that do not locate it.
    pub located: Option<Tensor>,
    /// The parts of the paint. `None` from networks that do not warp the article.
    pub detail: Option<Detail>,
}

/// The parts that a warping network mixes its paint from. A larger picture of the article can be mixed in the same way.
///
/// # Shapes
/// `flow`: `[N, 2, H, W]`, where in the article each pixel's colour comes from, x then y, -1 to 1 between its outer
/// edges; `mix`: `[N, 1, H, W]`, the share of the warped article; `rendered`: `[N, 3, H, W]`, the rest; `placement`:
/// `[N, 1, H, W]`, where the article is placed; `edges`: slopes and offsets for [`super::kisekae::along`], which give
/// the region of the worn article.
#[derive(Debug)]
pub struct Detail {
    pub flow: Tensor,
    pub mix: Tensor,
    pub rendered: Tensor,
    pub placement: Tensor,
    pub edges: [Tensor; 2],
}

/// mask * paint + (1 - mask) * human (A and P: x_i^j).
///
/// # Shapes
/// `human`, `paint`: `[N, 3, H, W]`; `mask`: `[N, 1, H, W]`. Returns `[N, 3, H, W]`.
///
/// ```
/// use tch::Tensor;
/// let picture = |v: f32| Tensor::from_slice(&[v; 3]).reshape([1, 3, 1, 1]);
/// let mask = Tensor::from_slice(&[0.25f32]).reshape([1, 1, 1, 1]);
/// // 0.25 * 8 + 0.75 * 4 = 5
/// assert_eq!(cagan::networks::composite(&picture(4.0), &picture(8.0), &mask), picture(5.0));
/// ```
pub fn composite(human: &Tensor, paint: &Tensor, mask: &Tensor) -> Tensor {
    human.lerp_tensor(paint, mask)
}
