//! The guided filter (He, Sun & Tang 2010, "Guided Image Filtering", algorithm 1 with a grey guide): a mask that
//! follows the photo's edges.

use tch::{Kind, Tensor};

/// Filters `mask` along `guide`, in windows of `2 reach + 1` pixels. `eps` is added to the guide's variance, in [0, 1].
///
/// # Shapes
/// `mask`: `[N, 1, H, W]`; `guide`: `[N, 3, H, W]` in [-1, 1]. Returns `[N, 1, H, W]`, clipped to [0, 1].
pub fn guided(mask: &Tensor, guide: &Tensor, reach: i64, eps: f64) -> Tensor {
    let [slope, offset] = lines(mask, guide, reach, eps);
    along(&slope, &offset, guide)
}

/// Computes the mask around each pixel as a linear function of the guide's grey: slope and offset. Enlarged, and
/// applied [`along`] a larger guide, they are the fast guided filter (He & Sun 2015, arXiv 1505.00996).
///
/// # Shapes
/// As [`guided`]; returns two `[N, 1, H, W]`.
pub fn lines(mask: &Tensor, guide: &Tensor, reach: i64, eps: f64) -> [Tensor; 2] {
    let grey = grey(guide);
    let k = 2 * reach + 1;
    // Averages without the pixels outside: of columns, then of rows, which takes 2 k additions a pixel in place of k^2.
    let columns = |xs: &Tensor| xs.avg_pool2d([k, 1], [1, 1], [reach, 0], false, false, None);
    let mean = |xs: &Tensor| columns(xs).avg_pool2d([1, k], [1, 1], [0, reach], false, false, None);
    let (mean_grey, mean_mask) = (mean(&grey), mean(mask));
    let covariance = mean(&(&grey * mask)) - &mean_grey * &mean_mask;
    let variance = mean(&grey.square()) - mean_grey.square();
    let slope = covariance / (variance + eps);
    let offset = mean_mask - &slope * mean_grey;
    [mean(&slope), mean(&offset)]
}

/// Applies slopes and offsets to a guide of their size. Returns the mask.
pub fn along(slope: &Tensor, offset: &Tensor, guide: &Tensor) -> Tensor {
    (slope * grey(guide) + offset).clamp(0.0, 1.0)
}

/// The mean of the channels, in [0, 1].
fn grey(guide: &Tensor) -> Tensor {
    (guide.mean_dim([1].as_slice(), true, Kind::Float) + 1.0) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn a_mask_moves_to_the_photos_edge() {
        let options = (Kind::Float, Device::Cpu);
        // The photo's edge is at column 8, the mask's at 10.
        let (photo, mask) = (Tensor::full([1, 3, 16, 16], -1.0, options), Tensor::zeros([1, 1, 16, 16], options));
        let _ = photo.narrow(3, 8, 8).fill_(1.0);
        let _ = mask.narrow(3, 10, 6).fill_(1.0);
        let got = guided(&mask, &photo, 3, 1e-4);
        let at = |x: i64| got.double_value(&[0, 0, 8, x]);
        assert!(at(7) < 0.1 && at(8) > 0.3, "{} {}", at(7), at(8));
        // A mask of a quarter of the size follows the large photo's edge, at column 30 of 64, which is within column 7
        // of the small photo.
        let large = Tensor::full([1, 3, 64, 64], -1.0, options);
        let _ = large.narrow(3, 30, 34).fill_(1.0);
        let small = large.avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None);
        let wide = |xs: &Tensor| xs.upsample_bilinear2d([64, 64], false, None, None);
        let [slope, offset] = lines(&mask, &small, 3, 1e-4).map(|xs| wide(&xs));
        let got = along(&slope, &offset, &large);
        let at = |x: i64| got.double_value(&[0, 0, 32, x]);
        assert!(at(30) - at(29) > 0.25, "{} {}", at(29), at(30));
        assert!(wide(&mask).diff::<Tensor>(1, 3, None, None).max().double_value(&[]) < 0.26);
        // A flat mask stays as it is.
        let flat = guided(&Tensor::full([1, 1, 16, 16], 0.4, options), &photo, 3, 1e-4);
        assert!((flat - 0.4).abs().max().double_value(&[]) < 1e-5);
    }
}
