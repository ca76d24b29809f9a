//! A trained generator in use: takes pictures of any size, returns swaps of the photo's size.

mod render;
mod swapper;

pub use render::{Flow, PAINTED, Swapped};
pub use swapper::{Painted, Request, Swapper, Which};
