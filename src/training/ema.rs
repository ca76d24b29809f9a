//! The generator's exponential moving average, which snapshots hold: it averages the weights over thousands of images
//! and so removes the jitter of single steps.

use tch::Tensor;

use crate::config::Config;

/// Steps between updates. One update for several steps is cheaper and, with a half-life in images, nearly the same.
const EVERY: u64 = 8;

/// An average of a flat buffer.
#[derive(Debug)]
pub struct Ema {
    /// The averaged values.
    pub values: Tensor,
    half_life_images: f64,
    rampup: f64,
    batch: u64,
}

impl Ema {
    /// Begins at `values`. Returns `None` if the config has no average.
    pub fn new(values: &Tensor, config: &Config) -> Option<Ema> {
        (config.ema_images > 0).then(|| Ema {
            values: values.copy(),
            half_life_images: config.ema_images as f64,
            rampup: config.ema_rampup,
            batch: config.batch_size as u64,
        })
    }

    /// Returns the weight of the old average after `steps` more steps up to `step`. The half-life grows with the images
    /// seen up to its full length (Karras et al., arXiv 2006.06676, `ema_rampup`), so that the start is forgotten.
    fn keep(&self, step: u64, steps: u64) -> f64 {
        let seen = (step * self.batch) as f64;
        let half_life = match self.rampup {
            0.0 => self.half_life_images,
            rampup => self.half_life_images.min(seen * rampup),
        };
        0.5f64.powf((steps * self.batch) as f64 / half_life)
    }

    /// Updates the average, every eighth step. Call it after each step with its number.
    pub fn update(&mut self, values: &Tensor, step: u64) {
        if step.is_multiple_of(EVERY) {
            let keep = self.keep(step, EVERY);
            tch::no_grad(|| {
                let _ = self.values.lerp_(values, 1.0 - keep);
            });
        }
    }

    /// Returns the average after `step`, including the steps since the last update.
    pub fn current(&self, values: &Tensor, step: u64) -> Tensor {
        match step % EVERY {
            0 => self.values.shallow_clone(),
            since => tch::no_grad(|| self.values.lerp(values, 1.0 - self.keep(step, since))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Preset;

    fn config(ema_images: u64, ema_rampup: f64) -> Config {
        let settings = json!({"ema_images": ema_images, "ema_rampup": ema_rampup, "batch_size": 4});
        Config::with(Preset::Paper, settings).unwrap()
    }

    #[test]
    fn half_of_the_old_stays_after_the_half_life() {
        assert!(Ema::new(&Tensor::from(0.0f32), &config(0, 0.0)).is_none());
        // 64 images are 16 steps of 4: after them 0 is half way to 1.
        let (start, one) = (Tensor::from_slice(&[0f32]), Tensor::from_slice(&[1f32]));
        let mut ema = Ema::new(&start, &config(64, 0.0)).unwrap();
        let mut met = Vec::new();
        for step in 1..=16 {
            ema.update(&one, step);
            met.push(ema.current(&one, step).double_value(&[0]));
        }
        assert!((met[15] - 0.5).abs() < 1e-6, "{met:?}");
        // Between updates it equals an update at each step: 1 - .5 ** (12 / 64) after 3 steps, and so 5 after the 8th.
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
        // The half-life is 5 % of the images seen: at step 8 the start weighs .5 ** (32 / 1.6), next to nothing.
        assert!(ema.values.double_value(&[0]) > 0.999_999);
    }
}
