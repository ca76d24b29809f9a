//! What the generator minimises: L_cGAN + identity_weight * L_id + cycle_weight * L_cyc (A, P: 1 : 0.1 : 1).

use tch::Tensor;

use super::{cycle, generator, identity};
use crate::config::Config;

/// The generator's loss and its terms, unweighted. All scalars on the device.
#[derive(Debug)]
pub struct Objective {
    pub total: Tensor,
    pub adversarial: Tensor,
    pub identity: Tensor,
    pub cycle: Tensor,
}

/// # Shapes
/// `swapped`: logits `[N, ...]`; `mask`: `[N, 1, H, W]`; `human`, `restored`: `[N, 3, H, W]`.
pub fn objective(
    config: &Config,
    swapped: &Tensor,
    mask: &Tensor,
    human: &Tensor,
    restored: &Tensor,
) -> Objective {
    let adversarial = generator(swapped);
    let identity = identity(mask);
    let cycle = cycle(human, restored);
    let total = &adversarial + config.identity_weight * &identity + config.cycle_weight * &cycle;
    Objective {
        total,
        adversarial,
        identity,
        cycle,
    }
}
