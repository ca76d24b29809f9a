//! The result of a generator call: mask, paint, composite.

use tch::Tensor;

/// One generator call.
#[derive(Debug)]
pub struct Swap {
    /// `[N, 1, H, W]` in [0, 1], 1 = repaint.
    pub mask: Tensor,
    /// The colours that the generator proposes, `[N, 3, H, W]` in the networks' value range.
    pub paint: Tensor,
    /// The resulting picture, `[N, 3, H, W]` in the networks' value range.
    pub composite: Tensor,
    /// Where the worn article is, `[N, 1, H, W]` in [0, 1]. `None` from networks that do not locate it.
    pub located: Option<Tensor>,
    /// The parts of the paint. `None` from networks that do not warp the article.
    pub detail: Option<Detail>,
}

/// The parts that a warping network mixes its paint from. A larger picture of the article can be mixed in the same way.
#[derive(Debug)]
pub struct Detail {
    /// Where in the article each pixel's colour comes from, x then y, -1 to 1 between its outer edges: `[N, 2, H, W]`.
    pub flow: Tensor,
    /// The share of the warped article inside its outline, `[N, 1, H, W]` in [0, 1].
    pub mix: Tensor,
    /// The rest of the paint, `[N, 3, H, W]`.
    pub rendered: Tensor,
    /// Where the article is placed, `[N, 1, H, W]` in [0, 1].
    pub placement: Tensor,
    /// Slopes and offsets, both `[N, 1, H, W]`: [`super::kisekae::along`] turns them into the worn article's region.
    pub edges: [Tensor; 2],
}

impl Swap {
    /// Returns the swap of one picture of the batch, a batch of one.
    pub fn row(&self, i: i64) -> Swap {
        let row = |xs: &Tensor| xs.narrow(0, i, 1);
        Swap {
            mask: row(&self.mask),
            paint: row(&self.paint),
            composite: row(&self.composite),
            located: self.located.as_ref().map(row),
            detail: self.detail.as_ref().map(|detail| Detail {
                flow: row(&detail.flow),
                mix: row(&detail.mix),
                rendered: row(&detail.rendered),
                placement: row(&detail.placement),
                edges: detail.edges.each_ref().map(row),
            }),
        }
    }

    /// Joins the swaps of the parts of a batch. All are of one network.
    pub fn joined(parts: &[Swap]) -> Swap {
        let join = |of: &dyn Fn(&Swap) -> &Tensor| Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), 0);
        let detail = parts.iter().map(|swap| swap.detail.as_ref()).collect::<Option<Vec<_>>>();
        let located = parts.iter().map(|swap| swap.located.as_ref()).collect::<Option<Vec<_>>>();
        Swap {
            mask: join(&|swap| &swap.mask),
            paint: join(&|swap| &swap.paint),
            composite: join(&|swap| &swap.composite),
            located: located.map(|parts| Tensor::cat(&parts, 0)),
            detail: detail.map(|details| {
                let join = |of: &dyn Fn(&Detail) -> &Tensor| {
                    Tensor::cat(&details.iter().map(|detail| of(detail)).collect::<Vec<_>>(), 0)
                };
                Detail {
                    flow: join(&|detail| &detail.flow),
                    mix: join(&|detail| &detail.mix),
                    rendered: join(&|detail| &detail.rendered),
                    placement: join(&|detail| &detail.placement),
                    edges: [join(&|detail| &detail.edges[0]), join(&|detail| &detail.edges[1])],
                }
            }),
        }
    }
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
