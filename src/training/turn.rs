//! A turn of a run's loop, in which all processes agree whether to go on.

use std::time::{Duration, Instant};

use super::event::Outcome;
use super::team::Signs;
use super::trainer::Trainer;
use crate::config::Config;
use crate::data::Crew;
use crate::error::Error;

/// What a process knows at the beginning of a turn.
pub struct Standing<'a> {
    /// When the run began.
    pub began: Instant,
    /// Whether the score did not improve for too long.
    pub no_better: bool,
    /// Whether the observer has always answered yes.
    pub go_on: bool,
    /// The error that ends the run.
    pub error: Option<&'a Error>,
}

/// Returns the reason to end at this step, if any process has one, and the error of another process.
pub fn ends(trainer: &Trainer, own: Standing) -> (Option<Outcome>, Option<Error>) {
    let limit = trainer.config.time_limit_s.map(Duration::from_secs_f64);
    let late = limit.is_some_and(|limit| own.began.elapsed() >= limit);
    let signs = Signs { late, no_better: own.no_better };
    let stops = own.error.is_some() || !own.go_on;
    let trouble = match own.error {
        Some(error) => (!error.is_of_others()).then(|| error.to_string()),
        None => stops.then(|| trainer.team().why_stopped()),
    };
    let (signs, others) = match trainer.team().turn(signs, trouble.as_deref()) {
        Ok(signs) => (signs, None),
        Err(error) => (signs, (!stops).then_some(error)),
    };
    let outcome = if trainer.step >= trainer.total_steps() {
        Some(Outcome::Finished)
    } else if signs.no_better {
        Some(Outcome::NoBetter)
    } else if signs.late {
        Some(Outcome::OutOfTime)
    } else if stops || others.is_some() {
        Some(Outcome::Stopped)
    } else {
        None
    };
    (outcome, others)
}

/// Whether files may be due at a step that is not the last. Then all processes look at the terms, and agree once more
/// before the next step: writing may stop the run.
pub fn pauses(config: &Config, step: u64) -> bool {
    let every =
        [config.log_every, config.sample_every, config.snapshot_every, config.checkpoint_every, config.monitor_every];
    every.into_iter().any(|every| step.is_multiple_of(every))
}
