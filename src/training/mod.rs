//! Training: one step, its optimiser, what it writes, and the loop around it.

mod adam;
mod augment;
mod checkpoint;
mod ema;
mod erasure;
mod graph;
mod kisekae;
mod log;
mod monitor;
mod noise;
mod run;
mod samples;
mod schedule;
mod step;
mod trainer;

pub use adam::Adam;
pub use ema::Ema;
pub use graph::{Capture, set_capture};
pub use noise::{Noise, Pass, reverse_noise};
pub use run::{Event, Outcome, Resume, train};
pub use schedule::rate_factor;
pub use step::{Models, Terms};
pub use trainer::Trainer;
