//! The terms of the preset `kisekae`: restoration inside a region, the gain of knowing the article, its place, and the
//! flow's bending.

use tch::{Kind, Tensor};

/// The gain, of values in [-1, 1], above which a pixel is labelled as the article. It is also the width of the label's
/// sigmoid.
const GAIN: f64 = 0.04;
/// The distance from [`GAIN`] at which a pixel has its full weight.
const SURE: f64 = 0.1;
/// The weight of a pixel whose gain is [`GAIN`].
const LEAST: f64 = 0.02;

/// Turns a sum over the given pictures into the part of the whole batch's that belongs to them, if several processes
/// share the batch; else returns it. The mean of what the processes get is then that of the whole batch.
pub type Whole<'a> = &'a dyn Fn(Tensor) -> Tensor;

/// Returns the mean of |wanted - got| over a region and all channels; 0 for an empty region.
///
/// # Shapes
/// `wanted`, `got`: `[N, C, H, W]`; `region`: `[N, 1, H, W]`, weights of 0 or more. Returns a scalar.
///
/// ```
/// use tch::Tensor;
/// let picture = |v: &[f32]| Tensor::from_slice(v).reshape([1, 1, 1, 3]);
/// let region = picture(&[1.0, 1.0, 0.0]);
/// let apart = cagan::losses::within(&picture(&[1.0, 2.0, 9.0]), &picture(&[1.0, 5.0, 0.0]), &region, &|sum| sum);
/// // (0 + 3) / 2
/// assert!((apart.double_value(&[]) - 1.5).abs() < 1e-5);
/// ```
pub fn within(wanted: &Tensor, got: &Tensor, region: &Tensor, whole: Whole) -> Tensor {
    let channels = wanted.size()[1] as f64;
    let sum = ((wanted - got).abs() * region).sum(Kind::Float);
    sum / (whole(region.sum(Kind::Float)) * channels + 1e-6)
}

/// Returns how much closer each pixel gets to the photo with the worn article than with another, averaged over 3 x 3
/// pixels.
///
/// # Shapes
/// All `[N, 3, H, W]` in [-1, 1]: the photo, and its erased part painted with the worn article and with another.
/// Returns `[N, 1, H, W]` without a gradient.
pub fn gain(human: &Tensor, with_worn: &Tensor, with_other: &Tensor) -> Tensor {
    tch::no_grad(|| {
        let missed = |paint: &Tensor| (human - paint).abs().mean_dim([1].as_slice(), true, Kind::Float);
        let gain = missed(with_other) - missed(with_worn);
        gain.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)
    })
}

/// Returns the cross-entropy of the locator to the pixels with a gain, weighted by the distance of the gain from its
/// threshold.
///
/// # Shapes
/// `logits`, `gain`, `trust`: `[N, 1, H, W]`; `trust` is 0 outside the erasure, which is not painted. Returns a scalar.
pub fn location(logits: &Tensor, gain: &Tensor, trust: &Tensor, whole: Whole) -> Tensor {
    let (label, weight) = tch::no_grad(|| {
        let apart = gain - GAIN;
        let label = (&apart * (1.0 / GAIN)).sigmoid();
        let clear = (apart.abs() * (1.0 / SURE)).clamp_max(1.0) + LEAST;
        (label, clear * trust)
    });
    let entropy = cross_entropy(logits, &label) * &weight;
    entropy.sum(Kind::Float) / (whole(weight.sum(Kind::Float)) + 1e-6)
}

/// Returns the cross-entropy of the placer to the locator's mask: weight 1.1 inside the erasure, 0.1 outside.
///
/// # Shapes
/// All `[N, 1, H, W]`. Returns a scalar.
pub fn placement(logits: &Tensor, mask: &Tensor, erasure: &Tensor) -> Tensor {
    (cross_entropy(logits, mask) * (erasure + 0.1)).mean(Kind::Float)
}

/// Returns the cross-entropy of the locator to masks that the registration corrected, over the pictures of a sure
/// registration; the others count as 0.
///
/// # Shapes
/// `logits`, `mask`: `[N, 1, H, W]`; `sure`: `[N]`, true or false. Returns a scalar.
pub fn agreement(logits: &Tensor, mask: &Tensor, sure: &Tensor) -> Tensor {
    (cross_entropy(logits, mask) * sure.reshape([-1, 1, 1, 1])).mean(Kind::Float)
}

/// Returns the bending of a flow: the mean |difference| of neighbours, down and to the right.
///
/// # Shapes
/// `[N, 2, H, W]`. Returns a scalar.
pub fn bending(flow: &Tensor) -> Tensor {
    let along = |dim: i64| flow.diff(1, dim, None::<Tensor>, None::<Tensor>).abs().mean(Kind::Float);
    along(2) + along(3)
}

/// Returns the mean distance of two flows inside the mask, |x| + |y|, a mean over the pictures weighted by their
/// confidence.
///
/// # Shapes
/// `got`, `wanted`: `[N, 2, H, W]`; `mask`: `[N, 1, H, W]`; `confidence`: `[N]`. Returns a scalar.
pub fn framed(got: &Tensor, wanted: &Tensor, mask: &Tensor, confidence: &Tensor) -> Tensor {
    let sum = |xs: &Tensor| xs.sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Float);
    let apart = sum(&((got - wanted).abs() * mask)) / (sum(mask) + 1.0);
    (apart * confidence).mean(Kind::Float)
}

/// Returns the mean of |outline - mask| within two pixels of the first outline's edge.
///
/// # Shapes
/// All `[N, 1, H, W]` in [0, 1]: the outline of the warped article, the outline before the flow was refined, the mask,
/// and the erasure, outside of which nothing counts. Returns a scalar.
pub fn edge(outline: &Tensor, first: &Tensor, mask: &Tensor, erasure: &Tensor, whole: Whole) -> Tensor {
    let near = tch::no_grad(|| {
        let wide = |xs: &Tensor| xs.max_pool2d([5, 5], [1, 1], [2, 2], [1, 1], false);
        (wide(first) + wide(&(1.0 - first)) - 1.0) * erasure
    });
    within(mask, outline, &near, whole)
}

/// Returns the cross-entropy of each pixel, softplus(logit) - logit * label.
fn cross_entropy(logits: &Tensor, label: &Tensor) -> Tensor {
    logits.softplus() - logits * label
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).reshape([1, 1, 1, -1])
    }

    #[test]
    fn the_gain_is_the_larger_error_with_the_other_article() {
        let picture = |v: f32| Tensor::from_slice(&[v; 27]).reshape([1, 3, 3, 3]);
        // |0 - 0.5| - |0 - 0.2|
        let gain = gain(&picture(0.0), &picture(0.2), &picture(-0.5));
        assert_eq!(gain.size(), [1, 1, 3, 3]);
        assert!((gain - 0.3).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn maps_are_compared_inside_the_mask_and_by_confidence() {
        let flow = |v: &[f32]| Tensor::from_slice(v).reshape([2, 2, 1, 2]);
        let got = flow(&[0.0, 9.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0]);
        let wanted = flow(&[0.1, 0.0, -0.3, 0.0, 1.0, 1.0, 1.0, 1.0]);
        let mask = Tensor::from_slice(&[1f32, 0.0, 1.0, 1.0]).reshape([2, 1, 1, 2]);
        let loss = framed(&got, &wanted, &mask, &Tensor::from_slice(&[1f32, 0.0]));
        // The first picture: (0.1 + 0.3) / (1 + 1); the second has no confidence; the mean of two.
        assert!((loss.double_value(&[]) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn an_outline_counts_near_where_it_was_first_and_inside_the_erasure() {
        let first = row(&[0., 0., 0., 0., 0., 0., 0., 1., 1., 1.]);
        let mask = row(&[1., 1., 1., 1., 1., 1., 0., 0., 1., 1.]);
        let outline = row(&[0., 0., 0., 0., 0., 1., 1., 1., 1., 1.]);
        // Columns 5 to 8 are near; the erasure leaves 6 to 8, of which 6 and 7 differ.
        let erasure = row(&[1., 1., 1., 1., 1., 0., 1., 1., 1., 1.]);
        let loss = edge(&outline, &first, &mask, &erasure, &|sum| sum);
        assert!((loss.double_value(&[]) - 2.0 / 3.0).abs() < 1e-5);
    }

    #[test]
    fn a_clear_gain_moves_the_locator_and_a_doubtful_one_hardly() {
        let logits = row(&[0.0, 0.0, 0.0]).set_requires_grad(true);
        // A clear gain, a gain of exactly `GAIN`, and a clear loss outside the erasure.
        let loss = location(&logits, &row(&[0.34, 0.04, -1.0]), &row(&[1.0, 1.0, 0.0]), &|sum| sum);
        // All three have the loss log 2 at logit 0.
        assert!((loss.double_value(&[]) - 2f64.ln()).abs() < 1e-5);
        loss.backward();
        let slope = Vec::<f32>::try_from(logits.grad().reshape([-1])).unwrap();
        // (sigmoid(0) - label) * weight / sum of weights: label sigmoid(7.5), weights 1.02 and 0.02.
        let label = 1.0 / (1.0 + (-7.5f32).exp());
        assert!((slope[0] - (0.5 - label) * 1.02 / 1.04).abs() < 1e-4, "{slope:?}");
        assert!(slope[1].abs() < 1e-4 && slope[2] == 0.0, "{slope:?}");
    }

    #[test]
    fn placement_and_bending_by_hand() {
        let (logits, mask) = (row(&[0.0, 2.0]), row(&[1.0, 0.0]));
        // (log 2 * 1.1 + softplus(2) * 0.1) / 2
        let expected = (2f64.ln() * 1.1 + 2f64.exp().ln_1p() * 0.1) / 2.0;
        let got = placement(&logits, &mask, &row(&[1.0, 0.0])).double_value(&[]);
        assert!((got - expected).abs() < 1e-6);
        // Of two pictures, the second one's registration is sure: softplus(2), over both.
        let pictures = |xs: &Tensor| xs.reshape([2, 1, 1, 1]);
        let sure = Tensor::from_slice(&[false, true]);
        let got = agreement(&pictures(&logits), &pictures(&mask), &sure).double_value(&[]);
        assert!((got - 2f64.exp().ln_1p() / 2.0).abs() < 1e-6);
        // Down: |2 - 0|, |3 - 1|; right: |1 - 0|, |3 - 2|.
        let flow = Tensor::from_slice(&[0f32, 1., 2., 3.]).reshape([1, 1, 2, 2]);
        assert_eq!(bending(&flow).double_value(&[]), 3.0);
    }
}
