//! The networks of `kisekae`: the garment is where knowing the article helps.
//!
//! 1. *Paint.* The painter restores erased parts of a person, given the article that is worn there. The pairs alone
//!    supervise it.
//! 2. *Locate.* The article is worn where the painter restores better with it than with another one. The locator learns
//!    to predict this.
//! 3. *Register.* A search finds the affine map from the photo to the article's picture inside the locator's mask. The
//!    registered outline and the colours near it correct the mask, and so the locator.
//! 4. *Frame.* A map is the product of an article's frame, which sees no person, and a body's frame, which sees the
//!    person in another article, as the networks paint it. So a pair teaches about swaps: any article's outline can be
//!    moved onto any person. Where the worn article is known, it corrects the body's frame.
//! 5. *Place.* The placer learns from the locator which part of the moved outline is seen: arms, hair and bags stand
//!    before it.
//! 6. *Warp.* A learned residual flow refines the map. The paint mixes the warped article, inside its own outline, with
//!    a rendered one.
//! 7. *Swap.* Locate the worn article, move the other's outline onto the person, erase both regions, paint, blend at a
//!    soft edge.
//! 8. *Judge.* A discriminator compares restorations and swaps of other articles with photos, given the warped article.
//!
//! Pictures larger than about 64 x 48 have finer levels, which training adds one after the other: `finer.rs`.
//!
//! [`Generator`] holds the painter, the locator, the placer and the frames. `training/kisekae.rs` has the objective.

mod agreement;
mod blocks;
mod finer;
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
pub use generator::{Generator, Look};
pub use guided::along;
pub use judge::Judge;
pub use mask::{enclosed, erased, reach, widened};
pub use painter::{Painter, Painting};
pub use region::outline;
pub use registration::Registered;
pub use warp::{Inside, flow_of, moved, warped, warped_inside};
