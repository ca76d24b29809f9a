//! An article's region in its own picture, and the moments of masks.

use tch::{Kind, Tensor};

/// Distances of a pixel's colour from the background's, as shares of the range from black to white: from NEAR on the
/// pixel belongs to the article in part, from FAR on in full.
const NEAR: f64 = 0.03;
const FAR: f64 = 0.08;

/// Separates the article from a background of any colour. The background is the median of the picture's border, channel
/// by channel. The channel with the largest difference decides.
///
/// # Shapes
/// `article`: `[N, 3, H, W]` in [-1, 1]. Returns `[N, 1, H, W]` in [0, 1].
pub fn article_region(article: &Tensor) -> Tensor {
    let (n, c, h, w) = article.size4().expect("[N, 3, H, W]");
    let edge = |dim: i64, at: i64| article.select(dim, at);
    let border = Tensor::cat(&[edge(2, 0), edge(2, h - 1), edge(3, 0), edge(3, w - 1)], 2); // [N, 3, 2 (H + W)]
    let (background, _) = border.median_dim(2, false);
    let apart = (article - background.reshape([n, c, 1, 1])).abs_().amax([1], true) * 0.5;
    ((apart - NEAR) * (1.0 / (FAR - NEAR))).clamp(0.0, 1.0)
}

/// Fills a region: adds the pixels that have some of the region on all four sides. A white garment on white is mostly
/// outline, and its place is that of the outline's inside.
///
/// # Shapes
/// `region`: `[N, 1, H, W]` in [0, 1]. Returns the same.
pub fn filled(region: &Tensor) -> Tensor {
    let between = |dim: i64| {
        let (from_start, _) = region.cummax(dim);
        let (from_end, _) = region.flip([dim]).cummax(dim);
        from_start.minimum(&from_end.flip([dim]))
    };
    between(2).minimum(&between(3)).maximum(region)
}

/// Computes an article's region without holes: its outline.
///
/// # Shapes
/// As [`article_region`].
pub fn outline(article: &Tensor) -> Tensor {
    filled(&article_region(article))
}

/// The centres and the deviations of masks.
#[derive(Debug)]
pub struct Moments {
    /// x and y, `[N, 2, 1, 1]`, in the coordinates of [`super::blocks::places`].
    pub middle: Tensor,
    /// `[N, 2, 1, 1]`, at least [`Moments::LEAST`].
    pub spread: Tensor,
}

impl Moments {
    /// Keeps a mask of one pixel or none from causing a division by zero.
    const LEAST: f64 = 0.03;

    /// # Shapes
    /// `mask`: `[N, 1, H, W]`, 0 or more; `places`: `[1, 2, H, W]`.
    pub fn of(mask: &Tensor, places: &Tensor) -> Moments {
        let mask = mask + 1e-6;
        let sum = |values: Tensor| values.sum_dim_intlist([2, 3].as_slice(), true, Kind::Float);
        let total = sum(mask.shallow_clone());
        let middle = sum(&mask * places) / &total;
        let square = sum(&mask * (places - &middle).square()) / &total;
        Moments { spread: square.sqrt().clamp_min(Self::LEAST), middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::kisekae::blocks::places;
    use tch::Device;

    fn on(colour: f64) -> Tensor {
        // A 6 x 6 picture with a 2 x 2 article of another colour in it.
        let article = Tensor::full([1, 3, 6, 6], colour, (Kind::Float, Device::Cpu));
        let _ = article.narrow(2, 2, 2).narrow(3, 1, 2).fill_(-0.5);
        article
    }

    #[test]
    fn the_region_differs_from_the_border_on_any_background() {
        for background in [1.0, 0.3, -1.0] {
            let region = article_region(&on(background));
            assert_eq!(region.sum(Kind::Float).double_value(&[]), 4.0);
            assert_eq!(region.double_value(&[0, 0, 3, 2]), 1.0);
        }
        // Halfway between 3 % and 8 %: 5.5 % of the range of 2.
        let faint = on(-0.5 + 0.11);
        let value = article_region(&faint).double_value(&[0, 0, 2, 1]);
        assert!((value - 0.5).abs() < 1e-5, "{value}");
    }

    #[test]
    fn an_outline_is_filled_and_an_open_side_is_not() {
        #[rustfmt::skip]
        let ring = [
            0f32, 0., 0., 0., 0.,
            0., 1., 1., 1., 0.,
            0., 1., 0., 1., 0.,
            0., 1., 1., 1., 0.,
            0., 0., 0., 0., 1.,
        ];
        let got = filled(&Tensor::from_slice(&ring).reshape([1, 1, 5, 5]));
        assert_eq!(got.double_value(&[0, 0, 2, 2]), 1.0);
        assert_eq!(got.sum(Kind::Float).double_value(&[]), 10.0);
    }

    #[test]
    fn moments_by_hand() {
        // Pixels at x = -0.75 and 0.25 of a row of four: middle -0.25, deviation 0.5.
        let mask = Tensor::from_slice(&[1f32, 0., 1., 0.]).reshape([1, 1, 1, 4]);
        let moments = Moments::of(&mask, &places(&mask));
        assert!((moments.middle.double_value(&[0, 0, 0, 0]) + 0.25).abs() < 1e-5);
        assert!((moments.spread.double_value(&[0, 0, 0, 0]) - 0.5).abs() < 1e-5);
        assert_eq!(moments.spread.double_value(&[0, 1, 0, 0]), f64::from(0.03f32));
    }
}
