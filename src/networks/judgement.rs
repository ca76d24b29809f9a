//! The result of a discriminator call.

use tch::Tensor;

/// One discriminator call.
#[derive(Debug)]
pub struct Judgement {
    /// The scores before any sigmoid.
    pub logits: Tensor,
    /// Every layer after its activation, `[N, C, H / 2^k, W / 2^k]`.
    pub features: Vec<Tensor>,
}
