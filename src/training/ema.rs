//! The generator's exponential moving average, which snapshots hold: what the last thousands of images agree on,
//! without the steps' jitter.

use tch::Tensor;

use crate::config::Config;

/// Steps between updates. With a half-life in images, one update for several steps costs a part and differs by next to
/// nothing.
const EVERY: u64 = 8;

/// An average of a flat buffer.
#[derive(Debug)]
pub struct Ema {
    pub values: Tensor,
    half_life_images: f64,
    rampup: f64,
    batch: u64,
}

impl Ema {
    /// Begins at `values`; none where the config has no average.
    pub fn new(values: &Tensor, config: &Config) -> Option<Ema> {
        (config.ema_images > 0).then(|| Ema {
            values: values.copy(),
            half_life_images: config.ema_images as f64,
            rampup: config.ema_rampup,
            batch: config.batch_size as u64,
        })
    }

    /// How much of the old average stays after `steps` more steps up to `step`. The half-life grows with the images
    /// seen up to its full length (Karras et al., arXiv 2006.06676, `ema_rampup`), so that the start is forgotten.
    fn keep(&self, step: u64, steps: u64) -> f64 {
        let seen = (step * self.batch) as f64;
        let half_life = match self.rampup {
            0.0 => self.half_life_images,
            rampup => self.half_life_images.min(seen * rampup),
        };
        0.5f64.powf((steps * self.batch) as f64 / half_life)
    }

    /// To be called after each step with its number.
    pub fn update(&mut self, values: &Tensor, step: u64) {
        if step.is_multiple_of(EVERY) {
            let keep = self.keep(step, EVERY);
            tch::no_grad(|| {
                let _ = self.values.lerp_(values, 1.0 - keep);
            });
        }
    }

    /// The average after `step`, the steps since the last update included.
    pub fn current(&self, values: &Tensor, step: u64) -> Tensor {
        match step % EVERY {
            0 => self.values.shallow_clone(),
            since => tch::no_grad(|| self.values.lerp(values, 1.0 - self.keep(step, since))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use serde_json::json;

    fn config(ema_images: u64, ema_rampup: f64) -> Config {
        let overrides = json!({"ema_images": ema_images, "ema_rampup": ema_rampup, "batch_size": 4});
        Config::with(Preset::Paper, overrides).unwrap()
    }

    #[test]
    fn half_of_the_old_stays_after_the_half_life() {
        assert!(Ema::new(&Tensor::from(0.0f32), &config(0, 0.0)).is_none());
        // 64 images of 4 a step are 16 steps: after them 0 is half way to 1.
        let (start, one) = (Tensor::from_slice(&[0f32]), Tensor::from_slice(&[1f32]));
        let mut ema = Ema::new(&start, &config(64, 0.0)).unwrap();
        let mut met = Vec::new();
        for step in 1..=16 {
            ema.update(&one, step);
            met.push(ema.current(&one, step).double_value(&[0]));
        }
        assert!((met[15] - 0.5).abs() < 1e-6, "{met:?}");
        // In between it is as if it had been updated at each step: 1 - .5 ** (12 / 64) after 3, the same as 5 after 8.
        assert!((met[2] - (1.0 - 0.5f64.powf(12.0 / 64.0))).abs() < 1e-6);
        assert!((met[12] - (1.0 - 0.5f64.powf(52.0 / 64.0))).abs() < 1e-6);
    }

    #[test]
    fn the_start_is_forgotten_by_the_ramp_up() {
        let (start, one) = (Tensor::from_slice(&[0f32]), Tensor::from_slice(&[1f32]));
        let mut ema = Ema::new(&start, &config(1_000_000, 0.05)).unwrap();
        for step in 1..=64 {
            ema.update(&one, step);
        }
        // 5 % of the images seen are a half-life: at step 8 already .5 ** (32 / 1.6) is nothing.
        assert!(ema.values.double_value(&[0]) > 0.999_999);
    }
}
