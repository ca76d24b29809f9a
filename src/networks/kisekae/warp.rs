//! Flows from the person to the article, and warping by them.

use tch::{Kind, Tensor};

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

/// Computes the flow of maps from the person to the article.
///
/// # Shapes
/// `map`: `[N, 2, 3]` or `[N, 3, 3]`, acting on (x, y, 1) in the coordinates of [`places`]; `like`: `[N, C, H, W]`.
/// Returns `[N, 2, H, W]`.
pub fn flow_of(map: &Tensor, like: &Tensor) -> Tensor {
    let (n, _, h, w) = like.size4().expect("[N, C, H, W]");
    let map = map.narrow(1, 0, 2);
    let places = places(like).reshape([1, 2, -1]).expand([n, 2, h * w], false);
    let flow = map.narrow(2, 0, 2).bmm(&places) + map.narrow(2, 2, 1);
    flow.reshape([n, 2, h, w])
}

/// Samples a region at the places of a flow. Beyond the edge of its picture there is none.
///
/// # Shapes
/// `region`: `[N, 1, H, W]`; `flow`: `[N, 2, h, w]`. Returns `[N, 1, h, w]`.
pub fn moved(region: &Tensor, flow: &Tensor) -> Tensor {
    const BILINEAR: i64 = 0;
    const ZEROS: i64 = 0;
    region.grid_sampler(&flow.permute([0, 2, 3, 1]), BILINEAR, ZEROS, false)
}

/// Warps an article without its background, which would show as a fringe: colours are averaged inside its region.
///
/// # Shapes
/// `article`: `[N, 3, H, W]`; `region`: `[N, 1, H, W]` in [0, 1]; `flow`: `[N, 2, h, w]`. Returns `[N, 3, h, w]`.
pub fn warped_inside(article: &Tensor, region: &Tensor, flow: &Tensor) -> Tensor {
    Inside::of(article, region).warped(flow)
}

/// An article to be warped without its background.
#[derive(Debug)]
pub struct Inside {
    /// The article's colours times their share.
    colours: Tensor,
    share: Tensor,
}

impl Inside {
    /// Takes an article and its region, of the shapes of [`warped_inside`].
    pub fn of(article: &Tensor, region: &Tensor) -> Inside {
        /// The share of the background, which remains where there is nothing else.
        const LEAST: f64 = 0.01;
        let share = region * (1.0 - LEAST) + LEAST;
        Inside { colours: article * &share, share }
    }

    /// Warps it as [`warped_inside`] does.
    pub fn warped(&self, flow: &Tensor) -> Tensor {
        warped(&self.colours, flow) / warped(&self.share, flow)
    }
}

/// Samples a picture, or a layer of one, at the places of a flow. Beyond the edge the border's values continue.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`; `flow`: `[N, 2, h, w]`. Returns `[N, C, h, w]`.
pub fn warped(xs: &Tensor, flow: &Tensor) -> Tensor {
    const BILINEAR: i64 = 0;
    const BORDER: i64 = 1;
    let grid = flow.permute([0, 2, 3, 1]).to_kind(Kind::Float); // [N, h, w, 2]
    // In float32 whatever the layer's format is: bfloat16's places near an edge are half a pixel of 256 apart.
    xs.to_kind(Kind::Float).grid_sampler(&grid, BILINEAR, BORDER, false).to_kind(xs.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

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
    fn a_bfloat16_layer_is_sampled_at_exact_places() {
        // Columns 0 to 255, moved by a quarter of a pixel: values that bfloat16 holds to half of its step, 1.
        let row = Tensor::arange(256, (Kind::Float, Device::Cpu)).reshape([1, 1, 1, 256]);
        let shift = Tensor::from_slice(&[0.25f32 * 2.0 / 256.0, 0.0]).reshape([1, 2, 1, 1]);
        let got = warped(&row.to_kind(Kind::BFloat16), &(places(&row) + shift));
        assert_eq!(got.kind(), Kind::BFloat16);
        let apart = (got.to_kind(Kind::Float) - &row - 0.25).abs();
        assert!(apart.narrow(3, 128, 127).max().double_value(&[]) < 0.51);
        // Places of bfloat16 would lie up to half a pixel off.
        assert!(apart.narrow(3, 16, 16).max().double_value(&[]) < 0.07);
    }

    #[test]
    fn no_flow_returns_the_picture() {
        let picture = Tensor::arange(48, (Kind::Float, Device::Cpu)).reshape([1, 3, 4, 4]);
        let same = warped(&picture, &places(&picture));
        assert!((same - picture).abs().max().double_value(&[]) < 1e-4);
    }
}
