//! Training: one step, its optimiser, what it writes, and the loop around it.

mod adam;
mod checkpoint;
mod ema;
mod log;
mod monitor;
mod run;
mod samples;
mod schedule;
mod step;
mod trainer;

pub use adam::Adam;
pub use ema::Ema;
pub use run::{Event, Outcome, Resume, train};
pub use schedule::rate_factor;
pub use step::{Models, Noise, Pass, TERMS};
pub use trainer::Trainer;
