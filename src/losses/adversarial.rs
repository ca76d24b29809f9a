//! L_cGAN (A, P): the discriminator separates matched pairs from swapped and mismatched ones. The printed "1 - log D"
//! is read as log(1 - D). On logits, -log D = softplus(-logit) and -log(1 - D) = softplus(logit).
//!
//! Two other forms on the same logits: the hinge (Lim & Ye 2017, arXiv 1705.02894) and least squares with the targets 1
//! for real and 0 for fake (Mao et al. 2017, arXiv 1611.04076). All three are summed over a picture's output positions
//! and averaged over the batch, as the paper writes its own. Their sources have one output for each picture or average
//! a map: multiply a weight from there by the number of positions.

use tch::{Kind, Tensor};

use crate::config::AdversarialLoss;

/// Sums over a picture's output positions and averages over the batch.
fn per_picture(values: Tensor) -> Tensor {
    let batch = values.size()[0] as f64;
    values.sum(Kind::Float) / batch
}

/// The loss of D: matched is real, swapped and mismatched are fake.
///
/// # Shapes
/// Logits `[N, ...]`, all three of one shape. Returns a scalar.
///
/// ```
/// // At logit 0 every pair costs log 2.
/// use cagan::config::AdversarialLoss::Logistic;
/// let zero = tch::Tensor::from_slice(&[0f32, 0.0]).reshape([2, 1]);
/// let loss = cagan::losses::discriminator(Logistic, &zero, &zero, &zero).double_value(&[]);
/// assert!((loss - 3.0 * 2f64.ln()).abs() < 1e-6);
/// ```
pub fn discriminator(form: AdversarialLoss, matched: &Tensor, swapped: &Tensor, mismatched: &Tensor) -> Tensor {
    let fakes = per_picture(fake(form, swapped)) + per_picture(fake(form, mismatched));
    per_picture(real(form, matched)) + fakes
}

/// D's loss of each logit of a real picture.
///
/// # Shapes
/// Any. Returns the same.
pub fn real(form: AdversarialLoss, logits: &Tensor) -> Tensor {
    match form {
        AdversarialLoss::Logistic => (-logits).softplus(),
        AdversarialLoss::Hinge => (-logits + 1.0).relu(),
        AdversarialLoss::LeastSquares => (logits - 1.0).square() * 0.5,
    }
}

/// D's loss of each logit of a fake picture.
///
/// # Shapes
/// Any. Returns the same.
pub fn fake(form: AdversarialLoss, logits: &Tensor) -> Tensor {
    match form {
        AdversarialLoss::Logistic => logits.softplus(),
        AdversarialLoss::Hinge => (logits + 1.0).relu(),
        AdversarialLoss::LeastSquares => logits.square() * 0.5,
    }
}

/// The loss of G: the non-saturating -log D(swapped), as in every public implementation; -D(swapped) for the hinge;
/// half the squared distance to 1 for least squares.
///
/// # Shapes
/// Logits `[N, ...]`. Returns a scalar.
pub fn generator(form: AdversarialLoss, swapped: &Tensor) -> Tensor {
    per_picture(fooled(form, swapped))
}

/// G's loss of each logit of a swapped picture.
///
/// # Shapes
/// Any. Returns the same.
pub fn fooled(form: AdversarialLoss, logits: &Tensor) -> Tensor {
    match form {
        AdversarialLoss::Logistic | AdversarialLoss::LeastSquares => real(form, logits),
        AdversarialLoss::Hinge => -logits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(v: f32) -> Tensor {
        Tensor::from_slice(&[v; 6]).reshape([2, 1, 1, 3])
    }

    #[test]
    fn positions_are_summed_and_pictures_averaged() {
        let softplus = |v: f64| v.exp().ln_1p();
        // Three positions a picture: 3 * (softplus(-2) + softplus(-1) + softplus(0.5)).
        let form = AdversarialLoss::Logistic;
        let loss = discriminator(form, &map(2.0), &map(-1.0), &map(0.5)).double_value(&[]);
        let expected = 3.0 * (softplus(-2.0) + softplus(-1.0) + softplus(0.5));
        assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
        let loss = generator(form, &map(-1.0)).double_value(&[]);
        assert!((loss - 3.0 * softplus(1.0)).abs() < 1e-5);
    }

    #[test]
    fn the_other_forms_by_hand() {
        let value = |t: Tensor| t.double_value(&[]);
        let form = AdversarialLoss::Hinge;
        // Matched 0.5 lacks 0.5 to the margin, swapped -3 is beyond it, mismatched 0.25 lacks 1.25:
        // 3 * (0.5 + 0 + 1.25).
        let loss = discriminator(form, &map(0.5), &map(-3.0), &map(0.25));
        assert_eq!(value(loss), 5.25);
        // Matched 2 is beyond the margin.
        let loss = discriminator(form, &map(2.0), &map(-3.0), &map(-1.0));
        assert_eq!(value(loss), 0.0);
        assert_eq!(value(generator(form, &map(-0.5))), 1.5);
        let form = AdversarialLoss::LeastSquares;
        // 3 * ((3 - 1)^2 + (-1)^2 + 0.5^2) / 2
        let loss = discriminator(form, &map(3.0), &map(-1.0), &map(0.5));
        assert_eq!(value(loss), 7.875);
        // 3 * (-1 - 1)^2 / 2
        assert_eq!(value(generator(form, &map(-1.0))), 6.0);
    }
}
