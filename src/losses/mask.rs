//! Two penalties on the mask beside its area: on many pieces, and on values between 0 and 1.

use tch::{Kind, Tensor};

/// Total variation (Rudin, Osher & Fatemi 1992) in its anisotropic form: the mean |difference| of neighbours in a
/// column plus that of neighbours in a row. GANimation (Pumarola et al. 2018, arXiv 1807.09251) smooths its masks with
/// the squared form.
///
/// # Shapes
/// `mask`: `[N, 1, H, W]`. Returns a scalar.
pub fn total_variation(mask: &Tensor) -> Tensor {
    let variation = |dim: i64| {
        let pairs = mask.size()[dim as usize] - 1;
        (mask.narrow(dim, 1, pairs) - mask.narrow(dim, 0, pairs)).abs().mean(Kind::Float)
    };
    variation(2) + variation(3)
}

/// Returns the mean of 4 mask (1 - mask): 1 for a mask of 1/2, 0 for one of 0 or 1. It is 4 times the variance of a
/// coin with the mask's probability. Our choice: the gradient of the entropy would be infinite at 0 and 1.
///
/// # Shapes
/// `mask`: `[N, 1, H, W]` in [0, 1]. Returns a scalar.
pub fn binary(mask: &Tensor) -> Tensor {
    (mask - mask.square()).mean(Kind::Float) * 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_by_hand() {
        let mask = Tensor::from_slice(&[0f32, 0.5, 1.0, 1.0, 0.25, 0.0]).reshape([1, 1, 2, 3]);
        // Down: |1 - 0|, |0.25 - 0.5|, |0 - 1|, mean 0.75. Across: 0.5, 0.5, 0.75, 0.25, mean 0.5.
        assert_eq!(total_variation(&mask).double_value(&[]), 1.25);
        // m (1 - m): 0, 1/4, 0, 0, 3/16, 0; 4 * (7/16) / 6
        let value = binary(&mask).double_value(&[]);
        assert!((value - 7.0 / 24.0).abs() < 1e-7, "{value}");
        for end in [mask.zeros_like(), mask.ones_like()] {
            assert_eq!(binary(&end).double_value(&[]), 0.0);
            assert_eq!(total_variation(&end).double_value(&[]), 0.0);
        }
    }
}
