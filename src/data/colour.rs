//! Colour jitter as one linear map of each triplet's pixels.

use tch::{Device, Kind, Tensor};

use super::draw::ColourDraw;

/// The weights of Rec. 601, as in most photo software.
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// Jitters levels of 0 to 255: saturation, then contrast about the middle grey, then brightness, clipped.
///
/// Contrast pivots on the middle of the range, not on a picture's mean: a triplet's pictures differ in their means, and
/// an article must change as it does on the body.
///
/// # Shapes
/// `levels`: `[N, 3, H, W]`, with N draws. Returns the same.
pub fn jitter(levels: &Tensor, draws: &[ColourDraw]) -> Tensor {
    let size = levels.size();
    let n = draws.len() as i64;
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
    let on =
        |values: &[f32], shape: [i64; 3], device: Device| Tensor::from_slice(values).reshape(shape).to_device(device);
    let device = levels.device();
    let (matrices, offsets) = (on(&matrices, [n, 3, 3], device), on(&offsets, [n, 3, 1], device));
    let flat = levels.to_kind(Kind::Float).reshape([n, 3, -1]);
    offsets.baddbmm(&matrices, &flat, 1.0, 1.0).clamp(0.0, 255.0).reshape(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pixel_by_hand() {
        let pixel = Tensor::from_slice(&[200f32, 100.0, 40.0]).reshape([1, 3, 1, 1]);
        let taken = |brightness, contrast, saturation| {
            let draw = ColourDraw { brightness, contrast, saturation };
            let out = jitter(&pixel, &[draw]).reshape([-1]);
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
