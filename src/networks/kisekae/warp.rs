//! Flows from the person to the article, and warping by them.

use tch::Tensor;

use super::blocks::places;
use super::region::Moments;

/// Computes the affine flow that moves a region of the article to the placement. It matches the centres, and the
/// deviations along both axes.
///
/// # Shapes
/// `placement`, `region`: `[N, 1, H, W]`, 0 or more. Returns `[N, 2, H, W]`: for each pixel of the person, where in the
/// article its colour comes from, in the coordinates of [`places`].
pub fn affine(placement: &Tensor, region: &Tensor) -> Tensor {
    let places = places(placement);
    let (there, here) = (Moments::of(placement, &places), Moments::of(region, &places));
    (places - there.middle) / there.spread * here.spread + here.middle
}

/// Samples a picture, or a layer of one, at the places of a flow. Beyond the edge the border's values continue.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`; `flow`: `[N, 2, h, w]`. Returns `[N, C, h, w]`.
pub fn warped(xs: &Tensor, flow: &Tensor) -> Tensor {
    const BILINEAR: i64 = 0;
    const BORDER: i64 = 1;
    let grid = flow.permute([0, 2, 3, 1]).to_kind(xs.kind()); // [N, h, w, 2]
    xs.grid_sampler(&grid, BILINEAR, BORDER, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn block(top: i64, left: i64, height: i64, width: i64) -> Tensor {
        let mask = Tensor::zeros([1, 1, 16, 16], (Kind::Float, Device::Cpu));
        let _ = mask.narrow(2, top, height).narrow(3, left, width).fill_(1.0);
        mask
    }

    #[test]
    fn the_affine_flow_moves_a_block_onto_another() {
        let (article, placement) = (block(2, 2, 8, 4), block(6, 5, 4, 8));
        let flow = affine(&placement, &article);
        let moved = warped(&article, &flow);
        let overlap = (&moved * &placement).sum(Kind::Float).double_value(&[]);
        let all = moved.sum(Kind::Float).double_value(&[]);
        assert!(overlap > 28.0 && all < 40.0, "{overlap} {all}");
    }

    #[test]
    fn no_flow_returns_the_picture() {
        let picture = Tensor::arange(48, (Kind::Float, Device::Cpu)).reshape([1, 3, 4, 4]);
        let same = warped(&picture, &places(&picture));
        assert!((same - picture).abs().max().double_value(&[]) < 1e-4);
    }
}
