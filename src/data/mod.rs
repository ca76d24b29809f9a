//! From folders of pictures to triplets on the training device.

mod draw;
mod pairs;
mod resident;

pub use draw::{Draw, PictureDraw};
pub use pairs::{Pair, Pairs};
pub use resident::{Resident, Triplet};
