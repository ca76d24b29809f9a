//! What the painter has to restore: random blobs, and the locator's masks, widened.

use rand::RngExt;
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::networks::kisekae::{reach, widened};
use crate::random::rng;

/// Shapes of a picture's blob, at the most.
const SHAPES: usize = 3;
/// Middle, half sides (all in heights and widths of the picture), whether it is an ellipse, whether it is there.
const COLUMNS: usize = 6;
/// By how much masks are widened in a step, for pictures of height 64: mostly little, as in a swap.
const WIDENED: [f64; 4] = [1.0, 2.0, 3.0, 6.0];
/// The share of a batch that is erased by masks as soon as there are any; blobs alone show the locator what it does not
/// know yet.
const MASKED: f64 = 0.75;
/// How often a mask has a blob beside it.
const BESIDE: f64 = 0.25;
/// How often the painter gets the locator's mask for the placement, in place of the placer's.
const SHARP: f64 = 0.3;

/// What a step draws.
#[derive(Debug)]
pub struct Erasures {
    /// `[N, 1, H, W]`, 0 or 1.
    pub blobs: Tensor,
    /// `[N, 1, 1, 1]`: 1 where a mask is to be erased.
    pub masked: Tensor,
    /// `[N, 1, 1, 1]`: 1 where the blob is erased too.
    pub beside: Tensor,
    /// `[N, 1, 1, 1]`: 1 where the locator does not get to know the worn article.
    pub withheld: Tensor,
    /// Pixels that masks are widened by.
    pub widen: i64,
    pub sharp: bool,
}

impl Erasures {
    /// Draws for a step of a batch.
    pub fn draw(config: &Config, step: u64, device: Device) -> Erasures {
        let batch = config.batch_size;
        let [height, width] = config.image_size;
        let mut random = rng(config.seed, "erasure", step);
        let mut shapes = Vec::with_capacity(batch * SHAPES * COLUMNS);
        for _ in 0..batch {
            let count = random.random_range(1..=SHAPES);
            for k in 0..SHAPES {
                shapes.extend([
                    random.random_range(0.25f32..0.95),
                    random.random_range(0.2f32..0.8),
                    random.random_range(0.12f32..0.4),
                    random.random_range(0.12f32..0.4),
                    f32::from(random.random_bool(0.5)),
                    f32::from(k < count),
                ]);
            }
        }
        let shapes =
            Tensor::from_slice(&shapes).reshape([batch as i64, SHAPES as i64, COLUMNS as i64, 1, 1]).to_device(device);
        let mut coins = |p: f64| {
            let coins: Vec<f32> = (0..batch).map(|_| f32::from(random.random_bool(p))).collect();
            let coins = Tensor::from_slice(&coins).reshape([batch as i64, 1, 1, 1]);
            coins.to_device(device)
        };
        let (beside, withheld) = (coins(BESIDE), coins(config.withhold_worn));
        // Whole pictures, so that each step has some of both.
        let masked = Tensor::arange(batch as i64, (Kind::Float, device));
        let masked = masked.lt(MASKED * batch as f64).to_kind(Kind::Float);
        Erasures {
            blobs: rasterised(&shapes, [height, width]),
            masked: masked.reshape([batch as i64, 1, 1, 1]),
            beside,
            withheld,
            widen: reach(WIDENED[random.random_range(0..WIDENED.len())], height),
            sharp: random.random_bool(SHARP),
        }
    }

    /// Every field by its name, numbers as `[1]`.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let number = |value: f32| Tensor::from_slice(&[value]);
        [
            ("blobs", self.blobs.shallow_clone()),
            ("masked", self.masked.shallow_clone()),
            ("beside", self.beside.shallow_clone()),
            ("withheld", self.withheld.shallow_clone()),
            ("widen", number(self.widen as f32)),
            ("sharp", number(f32::from(self.sharp))),
        ]
        .map(|(name, values)| (name.into(), values))
        .into()
    }

    /// The erasure where the locator's masks (`[N, 1, H, W]`, 0 or 1) are used; the blobs where they are not yet.
    pub fn with(&self, mask: Option<&Tensor>) -> Tensor {
        match mask {
            None => self.blobs.shallow_clone(),
            Some(mask) => {
                let wide = widened(mask, self.widen).maximum(&(&self.blobs * &self.beside));
                self.blobs.lerp_tensor(&wide, &self.masked.expand_as(&wide))
            }
        }
    }

    /// What a pixel's gain counts for the locator: less where its own mask was erased, or it would confirm itself and
    /// grow.
    pub fn trust(&self, erasure: &Tensor, located: bool) -> Tensor {
        if located { erasure * (1.0 - &self.masked * 0.75) } else { erasure.shallow_clone() }
    }
}

/// # Shapes
/// `shapes`: `[N, K, 6, 1, 1]`. Returns `[N, 1, H, W]`, 1 inside any of a picture's shapes.
fn rasterised(shapes: &Tensor, [height, width]: [i64; 2]) -> Tensor {
    let column = |k: i64| shapes.select(2, k); // [N, K, 1, 1]
    let axis = |length: i64| (Tensor::arange(length, (Kind::Float, shapes.device())) + 0.5) * (1.0 / length as f64);
    let down = (axis(height).reshape([1, 1, height, 1]) - column(0)) / column(2); // [N, K, H, 1]
    let across = (axis(width).reshape([1, 1, 1, width]) - column(1)) / column(3); // [N, K, 1, W]
    let ellipse = (down.square() + across.square()).lt(1.0).to_kind(Kind::Float);
    let bounds = down.abs().maximum(&across.abs()).lt(1.0).to_kind(Kind::Float);
    let inside = bounds.lerp_tensor(&ellipse, &column(4).expand_as(&ellipse)) * column(5);
    inside.amax([1], true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use serde_json::json;

    #[test]
    fn shapes_by_hand() {
        // A box of half sides 0.25 in the middle of 4 x 8, and an ellipse that is not there.
        let shapes = [0.5f32, 0.5, 0.25, 0.25, 0., 1., 0.5, 0.5, 0.5, 0.5, 1., 0.];
        let shapes = Tensor::from_slice(&shapes).reshape([1, 2, 6, 1, 1]);
        let mask = rasterised(&shapes, [4, 8]);
        assert_eq!(mask.sum(Kind::Float).double_value(&[]), 2.0 * 4.0);
        assert_eq!(mask.double_value(&[0, 0, 1, 2]), 1.0);
        assert_eq!(mask.double_value(&[0, 0, 1, 1]), 0.0);
    }

    #[test]
    fn draws_come_from_seed_and_step_and_masks_take_their_share() {
        let config = Config::with(Preset::Kisekae, json!({"batch_size": 8, "withhold_worn": 0.5})).unwrap();
        let draw = |step| Erasures::draw(&config, step, Device::Cpu);
        assert_eq!(draw(3).blobs, draw(3).blobs);
        assert_ne!(draw(3).blobs, draw(4).blobs);
        let erasures = draw(3);
        let [h, w] = config.image_size;
        let mask = Tensor::zeros([8, 1, h, w], (Kind::Float, Device::Cpu));
        let _ = mask.narrow(2, 40, 2).narrow(3, 40, 2).fill_(1.0);
        let got = erasures.with(Some(&mask));
        // The last two pictures have their blobs, the first six masks of 2 x 2, widened, and perhaps blobs.
        assert_eq!(got.narrow(0, 6, 2), erasures.blobs.narrow(0, 6, 2));
        let side = (2 + 2 * erasures.widen) as f64;
        let areas = got.sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Float);
        let beside = Vec::<f32>::try_from(erasures.beside.reshape([-1])).unwrap();
        for (i, beside) in beside.iter().enumerate().take(6) {
            let area = areas.double_value(&[i as i64]);
            assert!(if *beside == 0.0 { area == side * side } else { area > side * side });
        }
    }
}
