//! What a run tells its observer, and how it ends.

use std::path::Path;

use serde_json::{Map, Value};
use tch::Device;

use crate::config::Config;
use crate::data::{LeftOut, Plan};

/// An event of a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// `done` pictures are decoded. The first event has 0, before any memory is taken.
    Load {
        /// The files and where their pictures are kept.
        plan: &'a Plan,
        /// Files looked at so far.
        done: usize,
    },
    /// The run begins or goes on at `step` of `total`.
    Start {
        /// Steps done so far.
        step: u64,
        /// Steps of the whole run.
        total: u64,
        /// Triplets in a step.
        batch_size: usize,
        /// Pairs in use.
        pairs: usize,
        /// The settings, resolved.
        config: &'a Config,
        /// The sizes of generator and discriminator in parameters.
        parameters: [usize; 2],
        /// Where the networks are.
        device: Device,
        /// Articles in use, with and without a human.
        articles: usize,
        /// Pairs that could not be read.
        skipped: &'a [LeftOut],
        /// The size of each checkpoint on disk.
        checkpoint_bytes: u64,
    },
    /// Trouble that the run survives.
    Warning(&'a str),
    /// A step is done.
    Step {
        /// Steps done so far.
        step: u64,
    },
    /// A line of `stats.jsonl`.
    Report(&'a Map<String, Value>),
    /// A line of `monitor.jsonl`.
    Look(&'a Map<String, Value>),
    /// A sample grid is written.
    Sample(&'a Path),
    /// A snapshot is written.
    Snapshot(&'a Path),
    /// A checkpoint is written.
    Checkpoint(&'a Path),
}

/// The reason why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// The time limit was reached; a checkpoint was written.
    OutOfTime,
    /// The monitor's score did not improve for `early_stop` looks.
    NoBetter,
    /// The observer answered no; a checkpoint was written unless no step was made.
    Stopped,
}
