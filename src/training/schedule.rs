//! Learning rates over the images seen.

use crate::config::{Config, Schedule};

/// Returns the factor of a learning rate in the step that begins at `images_seen`: 1 up to `schedule_start`, then down
/// to 0 at `schedule_end`, in a line or along half a cosine (Loshchilov & Hutter, arXiv 1608.03983, equation 5, without
/// restarts).
///
/// ```
/// use cagan::config::{Config, Preset};
/// use cagan::training::rate_factor;
/// let settings = serde_json::json!({"schedule": "linear", "schedule_start": 1000, "schedule_end": 2000});
/// let config = Config::with(Preset::Paper, settings)?;
/// assert_eq!([500, 1000, 1750, 9999].map(|seen| rate_factor(&config, seen)), [1.0, 1.0, 0.25, 0.0]);
/// # Ok::<(), cagan::Error>(())
/// ```
pub fn rate_factor(config: &Config, images_seen: u64) -> f64 {
    let (start, end) = (config.schedule_start.images(), config.schedule_end.images());
    let span = end.saturating_sub(start).max(1) as f64;
    let done = images_seen.saturating_sub(start) as f64 / span;
    let done = done.min(1.0);
    match config.schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => 1.0 - done,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Preset;

    #[test]
    fn a_cosine_is_flat_at_its_ends() {
        let settings = json!({"schedule": "cosine", "schedule_start": 100, "schedule_end": 500});
        let config = Config::with(Preset::Paper, settings).unwrap();
        let at = |seen| rate_factor(&config, seen);
        assert_eq!((at(0), at(100)), (1.0, 1.0));
        // cos(pi / 4) = .70711 a quarter of the way, 0 half way.
        assert!((at(200) - 0.853_553).abs() < 1e-6 && (at(300) - 0.5).abs() < 1e-12);
        assert!(at(500).abs() < 1e-12 && at(10_000).abs() < 1e-12);
    }
}
