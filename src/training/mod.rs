//! Training: one step of either method, the loop around it, and the files of a run.

mod adam;
mod augment;
mod begin;
mod checkpoint;
mod ema;
mod erasure;
mod extras;
mod folder;
mod follow;
mod graph;
mod jsonl;
mod kisekae;
mod log;
mod models;
mod monitor;
mod noise;
mod published;
mod run;
mod samples;
mod schedule;
mod step;
mod team;
mod trainer;
mod turn;
mod undo;

pub use adam::Adam;
pub use ema::Ema;
pub use graph::{Capture, set_capture};
pub use jsonl::{kept_lines, last_step_of};
pub use models::{Learner, Method, Models, Terms};
pub use noise::{Noise, Pass, reverse_noise};
pub use run::{Event, Outcome, Resume, train, train_together};
pub use schedule::rate_factor;
pub use team::{Seat, Team};
pub use trainer::Trainer;
