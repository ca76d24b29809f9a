//! Finds the faults of a folder of pairs: unreadable, tiny, blank and repeated pictures, articles without a plain
//! background, pairs that do not belong together. It changes the list of the pairs, never a picture.

mod align;
mod colour;
mod curate;
mod duplicates;
mod finding;
mod inspect;
mod measure;
mod options;
mod reason;
mod repeats;
mod show;
mod sieve;

pub use curate::curate;
pub use duplicates::{Likeness, Link, links};
pub use finding::{Finding, Standing};
pub use inspect::inspect;
pub use measure::{Kind, Measured, measure};
pub use options::{OPTIONS, Options};
pub use reason::Reason;
pub use show::{as_png, thumbnail};
