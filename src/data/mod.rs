//! From folders of pictures to triplets on the training device.

mod colour;
mod draw;
pub mod layouts;
mod listing;
mod loader;
mod pairs;
mod plan;
mod resident;
mod set;
mod streaming;

pub use draw::{ColourDraw, Draw, PictureDraw, Targets};
pub use layouts::Row;
pub use listing::{parse as parse_csv, read as read_csv};
pub use loader::{Loader, Triplet};
pub use pairs::{Article, LeftOut, OnError, Options, Pair, Pairs};
pub use plan::Plan;
