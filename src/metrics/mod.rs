//! Numbers about pictures that need no training state and no downloaded weights.

mod colour;
mod patches;

pub use colour::colour_follows;
pub use patches::patch_distance;
