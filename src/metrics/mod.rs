//! Measures of pictures without training state or downloaded weights.

mod colour;
mod patches;

pub use colour::colour_follows;
pub use patches::patch_distance;
