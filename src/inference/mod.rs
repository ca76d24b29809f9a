//! A trained generator in use: takes pictures of any size, returns swaps of the photo's size.

mod look;
mod render;
mod swapper;

pub use look::{Look, LookParts};
pub use render::{Flow, PAINTED, Swapped, TOGETHER};
pub use swapper::{Painted, Person, Request, Swapper, Which};
