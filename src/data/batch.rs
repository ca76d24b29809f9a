//! A batch of pictures on its way to the networks.

use tch::Tensor;

/// Humans, worn articles and targets.
///
/// # Shapes
/// Each `[N, 3, H, W]`.
#[derive(Debug)]
pub enum Batch {
    /// float32 in the networks' range, on the loader's device.
    Values([Tensor; 3]),
    /// uint8 on any device: to be moved, jittered and scaled.
    Bytes([Tensor; 3]),
}
