//! Where an article is worn, by the votes of the locator, of the registered outline and of the colours near it.

use tch::{Kind, Tensor};

use super::mask::reach;

/// Colours that differ by less than this agree: a mean over the channels of values in [-1, 1].
const ALIKE: f64 = 0.08;
/// The pixels, for pictures of height 64, within which a colour of the registered article is looked for: cloth folds, and
/// sleeves bend.
const NEAR: i64 = 2;
/// No colour is as far as this.
const NONE: f64 = 9.0;

/// Returns the pixels for which two of three speak: the locator, the registered outline, and a colour of the registered
/// article near the pixel. A pixel follows the most of the 3 x 3 around it. The article's mean colour is first moved to
/// that of the photo where outline and locator agree: a photo has another light than a product picture.
///
/// # Shapes
/// `human`, `warped`: `[N, 3, H, W]` in [-1, 1], the photo and the worn article as registered; `outline`, `mask`:
/// `[N, 1, H, W]`, the registered outline in [0, 1] and the locator's mask, 0 or 1. Returns `[N, 1, H, W]`, 0 or 1.
pub fn agreed(human: &Tensor, warped: &Tensor, outline: &Tensor, mask: &Tensor) -> Tensor {
    let (_, _, height, width) = human.size4().expect("[N, 3, H, W]");
    let inside = outline.gt(0.5);
    let both = mask * &inside;
    let sum = |xs: Tensor| xs.sum_dim_intlist([2, 3].as_slice(), true, Kind::Float);
    let light = sum((human - warped) * &both) / (sum(both) + 1.0);
    let step = reach(1.0, height);
    let room = NEAR * step;
    let colours = (warped + light).where_scalarother(&inside, NONE);
    let colours = colours.pad([room; 4], "constant", NONE);
    let offsets = || (0..=2 * NEAR).map(|k| k * step);
    let mut apart: Option<Tensor> = None;
    for (down, right) in offsets().flat_map(|down| offsets().map(move |right| (down, right))) {
        let there = colours.narrow(2, down, height).narrow(3, right, width);
        let there = (human - there).abs().mean_dim([1].as_slice(), true, Kind::Float);
        apart = Some(match apart {
            None => there,
            Some(apart) => apart.minimum(&there),
        });
    }
    let alike = apart.expect("there are offsets").lt(ALIKE);
    let votes = mask + inside.to_kind(Kind::Float) + alike.to_kind(Kind::Float);
    let majority = votes.gt(1.5).to_kind(Kind::Float);
    majority.avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None).gt(0.5).to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).reshape([1, 1, 4, 6])
    }

    #[test]
    fn two_of_three_decide_in_another_light() {
        #[rustfmt::skip]
        let cloth = [
            0f32, 0., 0., 0., 0., 0.,
            0., 1., 1., 1., 1., 1.,
            0., 1., 1., 1., 1., 1.,
            0., 1., 1., 1., 1., 1.,
        ];
        // The photo is darker by .3 where the cloth is; the locator takes the left part and a corner for it.
        let human = (picture(&cloth) * 1.2 - 0.9).expand([1, 3, 4, 6], false);
        let warped = (picture(&cloth) * 0.0 + 0.6).expand([1, 3, 4, 6], false);
        #[rustfmt::skip]
        let mask = [
            0f32, 0., 0., 0., 0., 1.,
            1., 1., 1., 0., 0., 0.,
            1., 1., 1., 0., 0., 0.,
            1., 1., 1., 0., 0., 0.,
        ];
        #[rustfmt::skip]
        let outline = [
            0f32, 0., 0., 0., 0., 0.,
            0., 1., 1., 1., 0., 0.,
            0., 1., 1., 1., 0., 0.,
            0., 1., 1., 1., 0., 0.,
        ];
        // Columns 1 to 3 have the outline and the colour; 4 and 5 the colour alone, and 0 the locator alone. The corners
        // of a block have five of the nine pixels or less around them outside.
        let got = agreed(&human, &warped, &picture(&outline), &picture(&mask));
        #[rustfmt::skip]
        let wanted = [
            0f32, 0., 0., 0., 0., 0.,
            0., 0., 1., 0., 0., 0.,
            0., 1., 1., 1., 0., 0.,
            0., 0., 1., 0., 0., 0.,
        ];
        assert_eq!(got, picture(&wanted), "{got}");
    }
}
