//! Colour jitter as one linear map of each triplet's pixels.

use tch::{Device, Kind, Tensor};

use super::draw::ColourDraw;
use crate::native::sent;

/// The weights of Rec. 601, as in most photo software.
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// Jitters levels of 0 to 255: saturation, then contrast about the middle grey, then brightness, clipped.
///
/// Contrast pivots on the middle of the range, not on a picture's mean: a triplet's pictures differ in their means, and
/// an article must change as it does on the body.
#[derive(Debug)]
pub struct Jitter {
    /// `[N, 3, 3]`.
    matrices: Tensor,
    /// `[N, 3, 1]`.
    offsets: Tensor,
}

impl Jitter {
    /// Takes the draws of a batch to a device, as one table.
    pub fn new(draws: &[ColourDraw], device: Device) -> Jitter {
        let n = draws.len() as i64;
        let (matrices, offsets) = numbers(draws);
        let table = sent(&Tensor::from_slice(&[matrices, offsets].concat()), device);
        let part = |first: i64, columns: i64| table.narrow(0, first, 3 * n * columns).reshape([n, 3, columns]);
        Jitter { matrices: part(0, 3), offsets: part(9 * n, 1) }
    }

    /// # Shapes
    /// `levels`: `[N, 3, H, W]`, with N draws. Returns the same.
    pub fn apply(&self, levels: &Tensor) -> Tensor {
        let size = levels.size();
        let flat = levels.to_kind(Kind::Float).reshape([size[0], 3, -1]);
        self.offsets.baddbmm(&self.matrices, &flat, 1.0, 1.0).clamp(0.0, 255.0).reshape(size)
    }
}

/// The matrices and the offsets of draws, row by row.
fn numbers(draws: &[ColourDraw]) -> (Vec<f32>, Vec<f32>) {
    let (mut matrices, mut offsets) = (Vec::new(), Vec::new());
    for draw in draws {
        let gain = draw.brightness * draw.contrast;
        for row in 0..3 {
            for (column, luma) in LUMA.iter().enumerate() {
                let own = if row == column { draw.saturation } else { 0.0 };
                matrices.push((gain * (own + (1.0 - draw.saturation) * luma)) as f32);
            }
            offsets.push((draw.brightness * (1.0 - draw.contrast) * 127.5) as f32);
        }
    }
    (matrices, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pixel_by_hand() {
        let pixel = Tensor::from_slice(&[200f32, 100.0, 40.0]).reshape([1, 3, 1, 1]);
        let taken = |brightness, contrast, saturation| {
            let draw = ColourDraw { brightness, contrast, saturation };
            let out = Jitter::new(&[draw], Device::Cpu).apply(&pixel).reshape([-1]);
            Vec::<f32>::try_from(out).unwrap().iter().map(|v| v.round() as i32).collect::<Vec<_>>()
        };
        assert_eq!(taken(1.0, 1.0, 1.0), [200, 100, 40]);
        assert_eq!(taken(0.5, 1.0, 1.0), [100, 50, 20]);
        assert_eq!(taken(1.5, 1.0, 1.0), [255, 150, 60]);
        // 127.5 + 1.2 * (72.5, -27.5, -87.5)
        assert_eq!(taken(1.0, 1.2, 1.0), [215, 95, 23]);
        // Half way to the luma .299 * 200 + .587 * 100 + .114 * 40 = 123.06.
        assert_eq!(taken(1.0, 1.0, 0.5), [162, 112, 82]);
    }
}
