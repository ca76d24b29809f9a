//! Batches of the generator within a budget of memory.

use crate::config::{Architecture, Config};

/// The generator's memory for one swap, in float32 layers of the networks' size and of their outer width. Measured with
/// kisekae: 2 to 3.
const LAYERS: u64 = 4;

/// Returns how many swaps at once need at most `bytes` of memory without gradients; at least 1.
///
/// ```
/// use cagan::config::{Config, Preset};
/// // 4 layers of 4 bytes x 64 x 48 x 64 are 3 MiB.
/// let settings = serde_json::json!({"image_size": [64, 48], "width": 64});
/// let config = Config::with(Preset::Kisekae, settings)?;
/// assert_eq!(cagan::networks::batch_within(&config, 30 << 20), 10);
/// assert_eq!(cagan::networks::batch_within(&config, 1), 1);
/// # Ok::<(), cagan::Error>(())
/// ```
pub fn batch_within(config: &Config, bytes: u64) -> usize {
    let [height, width] = config.image_size.map(|side| side as u64);
    let channels = match config.architecture {
        Architecture::Kisekae => config.width,
        // `width` is of their innermost layers.
        Architecture::Paper | Architecture::Vasily => config.width / 8,
    };
    let one = 4 * LAYERS * height * width * channels.max(1) as u64;
    ((bytes / one) as usize).max(1)
}
