//! The losses as pure functions of tensors: those of both sources, of kisekae, and those that a config may add.

mod adversarial;
mod cycle;
mod features;
mod identity;
mod mask;
mod objective;
mod r1;
mod region;
mod self_swap;

pub use adversarial::{discriminator, fake, fooled, generator, real};
pub use cycle::cycle;
pub use features::features;
pub use identity::identity;
pub use mask::{binary, total_variation};
pub use objective::Objective;
pub use r1::r1;
pub use region::{agreement, bending, edge, framed, gain, location, placement, within};
pub use self_swap::self_swap;
