//! Masks: erasing by them, widening them, distances in pixels.

use tch::Tensor;

/// Sets `human` to 0 where `mask` is 1.
pub fn erased(human: &Tensor, mask: &Tensor) -> Tensor {
    human * (1.0 - mask)
}

/// Scales a distance in pixels from pictures of height 64 to pictures of another height, to at least one pixel.
pub fn reach(at_64: f64, height: i64) -> i64 {
    ((at_64 * height as f64 / 64.0).round() as i64).max(1)
}

/// Widens a mask by `reach` pixels, up, down and to the sides: the largest value within this distance.
pub fn widened(mask: &Tensor, reach: i64) -> Tensor {
    if reach == 0 {
        return mask.shallow_clone();
    }
    let k = 2 * reach + 1;
    // With one channel all layouts are the same in memory, but libtorch is slower if they are called channels last.
    let plain = mask.flatten(1, -1).view_as(mask);
    plain.max_pool2d([k, k], [1, 1], [reach, reach], [1, 1], false)
}

/// Returns the pixels outside a mask that it encloses nearly: gaps of up to `2 reach` pixels.
pub fn enclosed(mask: &Tensor, reach: i64) -> Tensor {
    let closed: Tensor = 1.0 - widened(&(1.0 - widened(mask, reach)), reach);
    (closed - mask).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn a_narrow_gap_is_enclosed_and_a_wide_one_is_not() {
        // Columns 4 to 7 and 10 to 11 of 20: a gap of two.
        let mask = Tensor::zeros([1, 1, 12, 20], (Kind::Float, Device::Cpu));
        let _ = mask.narrow(2, 4, 4).narrow(3, 4, 4).fill_(1.0);
        let _ = mask.narrow(2, 4, 4).narrow(3, 10, 2).fill_(1.0);
        let columns = |reach: i64| {
            let row = enclosed(&mask, reach).get(0).get(0).get(5);
            Vec::<f32>::try_from(row)
                .unwrap()
                .iter()
                .enumerate()
                .filter(|(_, v)| **v == 1.0)
                .map(|(x, _)| x)
                .collect::<Vec<_>>()
        };
        assert_eq!(columns(1), [8, 9]);
        let _ = mask.narrow(2, 4, 4).narrow(3, 8, 3).fill_(0.0);
        assert_eq!(columns(1), Vec::<usize>::new());
    }

    #[test]
    fn a_mask_grows_by_its_reach() {
        let mask = Tensor::zeros([1, 1, 5, 5], (Kind::Float, Device::Cpu));
        let _ = mask.get(0).get(0).get(0).get(2).fill_(1.0);
        let sum = |t: Tensor| t.sum(Kind::Float).double_value(&[]);
        // At the upper edge: 2 rows of 3.
        assert_eq!(sum(widened(&mask, 1)), 6.0);
        assert_eq!(sum(widened(&mask, 0)), 1.0);
    }
}
