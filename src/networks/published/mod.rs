//! The networks of the paper (P) and of the article (A): an encoder-decoder, and a discriminator of pairs.

mod blocks;
mod pairs;
pub mod paper;
pub mod vasily;

pub use pairs::{PairDiscriminator, noise_shapes};
