//! Training: one step, its optimiser, what it writes, and the loop around it.

mod adam;
mod augment;
mod checkpoint;
mod log;
mod noise;
mod run;
mod samples;
mod step;
mod trainer;

pub use adam::Adam;
pub use noise::{Noise, Pass, reverse_noise};
pub use run::{Event, Outcome, Resume, train};
pub use step::{Models, Terms};
pub use trainer::Trainer;
