//! The losses of both sources as pure functions of tensors.

mod adversarial;
mod cycle;
mod identity;
mod objective;

pub use adversarial::{discriminator, generator};
pub use cycle::cycle;
pub use identity::identity;
pub use objective::{Objective, objective};
