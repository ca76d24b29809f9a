//! L_cGAN (A, P): the discriminator tells matched pairs from swapped and mismatched ones. The printed "1 - log D" is read as
//! log(1 - D). On logits, -log D = softplus(-logit) and -log(1 - D) = softplus(logit).

use tch::{Kind, Tensor};

/// Sum over a picture's output positions, mean over the batch.
fn per_picture(values: Tensor) -> Tensor {
    let batch = values.size()[0] as f64;
    values.sum(Kind::Float) / batch
}

/// What D minimises: matched is real, swapped and mismatched are fake.
///
/// # Shapes
/// Logits `[N, ...]`, all three of one shape. Returns a scalar.
///
/// ```
/// // At logit 0 every pair costs log 2.
/// let zero = tch::Tensor::from_slice(&[0f32, 0.0]).reshape([2, 1]);
/// let loss = cagan::losses::discriminator(&zero, &zero, &zero).double_value(&[]);
/// assert!((loss - 3.0 * 2f64.ln()).abs() < 1e-6);
/// ```
pub fn discriminator(matched: &Tensor, swapped: &Tensor, mismatched: &Tensor) -> Tensor {
    per_picture((-matched).softplus())
        + per_picture(swapped.softplus())
        + per_picture(mismatched.softplus())
}

/// What G minimises: the non-saturating -log D(swapped), as every public implementation.
///
/// # Shapes
/// Logits `[N, ...]`. Returns a scalar.
pub fn generator(swapped: &Tensor) -> Tensor {
    per_picture((-swapped).softplus())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_summed_and_pictures_averaged() {
        let map = |v: f32| Tensor::from_slice(&[v; 6]).reshape([2, 1, 1, 3]);
        let softplus = |v: f64| v.exp().ln_1p();
        // Three positions a picture: 3 * (softplus(-2) + softplus(-1) + softplus(0.5)).
        let loss = discriminator(&map(2.0), &map(-1.0), &map(0.5)).double_value(&[]);
        let expected = 3.0 * (softplus(-2.0) + softplus(-1.0) + softplus(0.5));
        assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
        let loss = generator(&map(-1.0)).double_value(&[]);
        assert!((loss - 3.0 * softplus(1.0)).abs() < 1e-5);
    }
}
