//! From folders of pictures to triplets on the training device.

mod batch;
mod colour;
mod disjoint;
mod draw;
pub mod layouts;
mod listing;
mod loader;
mod look;
mod names;
mod pairs;
mod pattern;
mod plan;
mod resident;
mod row;
mod set;
mod sets;
mod share;
mod source;
mod split;
mod streaming;
mod table;
mod texts;

pub use disjoint::DisjointSets;
pub use draw::{ColourDraw, Draw, PictureDraw, Targets};
pub use listing::{Listing, flag as read_flag, parse as parse_csv};
pub use loader::{Loader, Triplet};
pub use pairs::{Article, LeftOut, OnError, Options, Pair, Pairs};
pub use plan::Plan;
pub use row::Row;
pub use sets::{Note, PassedOver};
pub use share::{Alone, Crew, Share, agreed};
pub use source::{Bytes, Source};
