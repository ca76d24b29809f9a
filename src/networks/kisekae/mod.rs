//! The networks of `kisekae`: the garment is where knowing the article helps.
//!
//! 1. *Paint.* The painter restores erased parts of a person, given the article that is worn there. The pairs alone
//!    supervise it.
//! 2. *Locate.* The article is worn where the painter restores better with it than with another one. The locator learns
//!    to predict this.
//! 3. *Place.* The placer learns from the locator where an article would sit on a person whose garment is erased.
//! 4. *Warp.* Matched moments and a learned residual flow bring the article to its place. The paint mixes the warped
//!    article with a rendered one.
//! 5. *Swap.* Locate the worn article, place the other, erase both regions and a small margin, paint, blend at a soft
//!    edge.
//! 6. *Judge.* A discriminator compares restorations and swaps of other articles with photos, given the warped article.
//!
//! [`Generator`] holds the painter, the locator and the placer. `training/kisekae.rs` has the objective.

mod blocks;
mod frame;
mod generator;
mod guided;
mod judge;
mod mask;
mod matcher;
mod painter;
mod palette;
mod region;
mod registration;
mod warp;

pub use frame::square;
pub use generator::Generator;
pub use region::outline;
pub use registration::Registered;
pub use guided::along;
pub use judge::Judge;
pub use mask::{enclosed, erased, reach, widened};
pub use painter::{Painter, Painting};
pub use warp::{flow_of, moved, warped, warped_inside};
