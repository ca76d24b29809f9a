//! From folders of pictures to triplets on the training device.

mod batch;
mod colour;
mod disjoint;
mod draw;
pub mod layouts;
mod listing;
mod loader;
mod pairs;
mod plan;
mod resident;
mod row;
mod set;
mod split;
mod streaming;
mod table;

pub use disjoint::DisjointSets;
pub use draw::{ColourDraw, Draw, PictureDraw, Targets};
pub use listing::{Listing, parse as parse_csv};
pub use loader::{Loader, Triplet};
pub use pairs::{Article, LeftOut, OnError, Options, Pair, Pairs};
pub use plan::Plan;
pub use row::Row;
