//! How much of a target article's colour has not arrived.

use tch::{Kind, Tensor};

/// The way that is left from what was painted to the target's mean colour, as a share of the whole way from the untouched photo: 1 =
/// nothing arrived, 0 = all of it. The painted region is where the mask is; an article's own pixels are those unlike its corners.
///
/// # Shapes
/// `human`, `composite`, `target`: `[N, 3, H, W]`; `mask`: `[N, 1, H, W]`; values in [0, 1]. Returns a ratio of sums over the N.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// let flat = |v: f64| Tensor::full([1, 3, 8, 8], v, (Kind::Float, Device::Cpu));
/// let target = flat(1.0);
/// let _ = target.narrow(2, 2, 4).narrow(3, 2, 4).fill_(0.2); // an article of .2 on white
/// let mask = Tensor::ones([1, 1, 8, 8], (Kind::Float, Device::Cpu));
/// // From .8 the way to .2 is .6 long; .5 has .3 to go.
/// let left = cagan::metrics::colour_left(&flat(0.8), &flat(0.5), &target, &mask);
/// assert!((left - 0.5).abs() < 1e-5);
/// ```
pub fn colour_left(human: &Tensor, composite: &Tensor, target: &Tensor, mask: &Tensor) -> f64 {
    let mean = |pictures: &Tensor, weights: &Tensor| {
        let over = [2i64, 3].as_slice();
        let sum = (pictures * weights).sum_dim_intlist(over, false, Kind::Float);
        sum / (weights.sum_dim_intlist(over, false, Kind::Float) + 1e-6)
    };
    let (h, w) = (target.size()[2], target.size()[3]);
    let corner = |y: i64, x: i64| target.narrow(2, y, 1).narrow(3, x, 1);
    let background =
        (corner(0, 0) + corner(0, w - 1) + corner(h - 1, 0) + corner(h - 1, w - 1)) / 4.0;
    let own = (target - background)
        .abs()
        .mean_dim([1i64].as_slice(), true, Kind::Float);
    let wanted = mean(target, &own);
    let way = |pictures: &Tensor| {
        let left = mean(pictures, mask) - &wanted;
        let length = left.square().sum_dim_intlist(1, false, Kind::Float).sqrt();
        length.sum(Kind::Float).double_value(&[])
    };
    way(composite) / way(human).max(1e-6)
}
