//! The distance of two sets of pictures in their details.

use rand::RngExt;
use tch::{Device, Kind, Tensor};

use crate::random::{fill_normal, rng};

/// Side of a patch.
const SIDE: i64 = 5;
/// Patches of a picture.
const PATCHES: usize = 64;
/// Directions that patches are projected onto.
const DIRECTIONS: i64 = 48;
/// Scales, each half of the one before.
const SCALES: u64 = 3;

/// Returns the sliced Wasserstein distance of small patches of colour, averaged over three scales (Karras et al., arXiv
/// 1710.10196, section 5, with plain patches and directions). Places and directions are fixed: two calls can be
/// compared.
///
/// # Shapes
/// `a`, `b`: `[N, 3, H, W]`, values in [0, 1], of one shape, sides of at least 5 (smaller scales are left out). Returns
/// a distance in the same units; that of a set to itself is 0.
///
/// ```
/// let noise = tch::Tensor::rand([4, 3, 32, 32], (tch::Kind::Float, tch::Device::Cpu));
/// assert_eq!(cagan::metrics::patch_distance(&noise, &noise), 0.0);
/// assert!(cagan::metrics::patch_distance(&noise, &(&noise * 0.5)) > 0.1);
/// ```
pub fn patch_distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let mut directions = Tensor::zeros([3 * SIDE * SIDE, DIRECTIONS], (Kind::Float, Device::Cpu));
    fill_normal(&mut directions, 1.0, 0, "metrics/directions", 0);
    let length = directions.square().sum_dim_intlist(0, true, Kind::Float).sqrt();
    let directions = (directions / length).to_device(a.device());
    let mut distances = Vec::new();
    let (mut a, mut b) = (a.shallow_clone(), b.shallow_clone());
    let side = a.size()[2].min(a.size()[3]);
    for scale in (0..SCALES).take_while(|scale| side >> scale >= SIDE) {
        if scale > 0 {
            for t in [&mut a, &mut b] {
                *t = t.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
            }
        }
        let [a, b] = [&a, &b].map(|t| along(t, &directions, scale));
        distances.push((a - b).abs().mean(Kind::Float).double_value(&[]));
    }
    distances.iter().sum::<f64>() / distances.len() as f64
}

/// Projects the patches onto each direction and sorts: `[DIRECTIONS, N * PATCHES]`.
fn along(pictures: &Tensor, directions: &Tensor, scale: u64) -> Tensor {
    let size = pictures.size();
    let mut random = rng(0, "metrics/places", scale);
    let mut patches = Vec::with_capacity(PATCHES);
    for _ in 0..PATCHES {
        let mut at = |side: i64| random.random_range(0..=side - SIDE);
        let (top, left) = (at(size[2]), at(size[3]));
        let patch = pictures.narrow(2, top, SIDE).narrow(3, left, SIDE);
        patches.push(patch.reshape([size[0], -1]));
    }
    let lengths = Tensor::cat(&patches, 0).matmul(directions);
    lengths.transpose(0, 1).sort(1, false).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brighter_by_a_tenth_is_a_known_distance() {
        let grey = Tensor::full([3, 3, 24, 20], 0.4, (Kind::Float, Device::Cpu));
        let distance = patch_distance(&grey, &(&grey + 0.1));
        // A constant shift of .1 in 75 values moves a patch by .1 * |sum of a unit direction|. That sum is nearly
        // N(0, 1), whose absolute value has the mean .798; 48 directions leave a standard error of 11 %.
        assert!((distance - 0.0798).abs() < 0.02, "{distance}");
        let noise = Tensor::zeros([3, 3, 24, 20], (Kind::Float, Device::Cpu)).uniform(0.0, 1.0);
        let other = noise.flip([0]);
        // The order of a set changes nothing.
        assert!(patch_distance(&noise, &other) < 1e-6);
    }
}
