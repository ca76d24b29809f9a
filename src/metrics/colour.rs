//! The share of a target article's colour that the swap shows.

use tch::{Kind, Tensor};

/// Returns the share of the difference between two targets' mean colours that their swaps of the same people show
/// inside the mask, by least squares: 1 = all of it, 0 = the swaps do not depend on the target's colour.
///
/// # Shapes
/// `composites`, `targets`: `[N, 3, H, W]` each; `mask`: `[N, 1, H, W]`; values in [0, 1].
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// let flat = |v: f64| Tensor::full([1, 3, 8, 8], v, (Kind::Float, Device::Cpu));
/// let article = |v: f64| {
///     let picture = flat(1.0);
///     let _ = picture.narrow(2, 2, 4).narrow(3, 2, 4).fill_(v); // on white
///     picture
/// };
/// let mask = Tensor::ones([1, 1, 8, 8], (Kind::Float, Device::Cpu));
/// // The targets differ by .6, the swaps by .3.
/// let share = cagan::metrics::colour_follows([&flat(0.7), &flat(0.4)], [&article(0.8), &article(0.2)], &mask);
/// assert!((share - 0.5).abs() < 1e-5);
/// ```
pub fn colour_follows(composites: [&Tensor; 2], targets: [&Tensor; 2], mask: &Tensor) -> f64 {
    let [one, two] = composites.map(|pictures| mean(pictures, mask));
    let [first, second] = targets.map(own_colour);
    let (got, wanted) = (one - two, first - second);
    let sum = |values: Tensor| values.sum(Kind::Float).double_value(&[]);
    sum(got * &wanted) / sum(wanted.square()).max(1e-6)
}

/// Returns the weighted mean colour, `[N, 3]`.
fn mean(pictures: &Tensor, weights: &Tensor) -> Tensor {
    let over = [2i64, 3].as_slice();
    let sum = (pictures * weights).sum_dim_intlist(over, false, Kind::Float);
    sum / (weights.sum_dim_intlist(over, false, Kind::Float) + 1e-6)
}

/// Returns the mean colour of an article without its background, `[N, 3]`: pixels weigh by their distance from the
/// corners' mean colour.
fn own_colour(article: &Tensor) -> Tensor {
    let (h, w) = (article.size()[2], article.size()[3]);
    let corner = |y: i64, x: i64| article.narrow(2, y, 1).narrow(3, x, 1);
    let background = (corner(0, 0) + corner(0, w - 1) + corner(h - 1, 0) + corner(h - 1, w - 1)) / 4.0;
    let own = (article - background).abs().mean_dim([1i64].as_slice(), true, Kind::Float);
    mean(article, &own)
}
