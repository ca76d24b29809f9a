//! The guided filter (He, Sun & Tang 2010, "Guided Image Filtering", algorithm 1 with a grey guide): a mask that follows the
//! photo's edges.

use tch::{Kind, Tensor};

/// # Shapes
/// `mask`: `[N, 1, H, W]`; `guide`: `[N, 3, H, W]` in [-1, 1]. Windows of `2 reach + 1` pixels; `eps` is of the guide's variance in
/// [0, 1]. Returns `[N, 1, H, W]`, clipped to [0, 1].
pub fn guided(mask: &Tensor, guide: &Tensor, reach: i64, eps: f64) -> Tensor {
    let grey = (guide.mean_dim([1].as_slice(), true, Kind::Float) + 1.0) * 0.5;
    let k = 2 * reach + 1;
    // What lies outside is not counted.
    let mean = |xs: &Tensor| xs.avg_pool2d([k, k], [1, 1], [reach, reach], false, false, None);
    let (mean_grey, mean_mask) = (mean(&grey), mean(mask));
    let covariance = mean(&(&grey * mask)) - &mean_grey * &mean_mask;
    let variance = mean(&grey.square()) - mean_grey.square();
    let slope = covariance / (variance + eps);
    let offset = mean_mask - &slope * mean_grey;
    (mean(&slope) * grey + mean(&offset)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn a_mask_moves_to_the_photos_edge() {
        let options = (Kind::Float, Device::Cpu);
        // The photo's edge is at column 8, the mask's at 10.
        let (photo, mask) = (
            Tensor::full([1, 3, 16, 16], -1.0, options),
            Tensor::zeros([1, 1, 16, 16], options),
        );
        let _ = photo.narrow(3, 8, 8).fill_(1.0);
        let _ = mask.narrow(3, 10, 6).fill_(1.0);
        let got = guided(&mask, &photo, 3, 1e-4);
        let at = |x: i64| got.double_value(&[0, 0, 8, x]);
        assert!(at(7) < 0.1 && at(8) > 0.3, "{} {}", at(7), at(8));
        // A flat mask stays as it is.
        let flat = guided(&Tensor::full([1, 1, 16, 16], 0.4, options), &photo, 3, 1e-4);
        assert!((flat - 0.4).abs().max().double_value(&[]) < 1e-5);
    }
}
