//! The processes of a run beside the first one: they step with it, and write nothing. Each call that waits for the
//! others has its counterpart in `run.rs`, in the same order.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::event::{Event, Outcome};
use super::log::Log;
use super::team::Team;
use super::trainer::Trainer;
use super::turn::{Standing, ends, pauses};
use crate::config::Config;
use crate::data::{Pairs, Plan};
use crate::error::{Error, Result};
use crate::native::{isolated, use_threads};

/// Trains with the first process. `observer` gets the events of loading and of steps, so that it can hear signals.
///
/// # Errors
/// As [`super::train_together`].
pub fn follow(team: &Team, pairs: &Pairs, config: Config, observer: &mut dyn FnMut(Event) -> bool) -> Result<Outcome> {
    let began = Instant::now();
    let _threads = use_threads(team.threads(&config));
    // The folder is open.
    team.agreed(Ok(()))?;
    let config = team.first_config(config)?;
    let mut load = |plan: &Plan, done| observer(Event::Load { plan, done });
    let Some(mut trainer) = Trainer::beginning(team, pairs, config, None, &mut load)? else {
        return Ok(Outcome::Stopped);
    };
    // The run there is read.
    team.agreed(Ok(()))?;
    trainer.share()?;
    let log = Log::new(PathBuf::new());
    let follower = Follower { trainer, log, observer, began, go_on: true, error: None };
    let outcome = follower.finish();
    team.agreed(outcome)
}

struct Follower<'a> {
    trainer: Trainer,
    log: Log,
    observer: &'a mut dyn FnMut(Event) -> bool,
    began: Instant,
    go_on: bool,
    error: Option<Error>,
}

impl Follower<'_> {
    fn finish(mut self) -> Result<Outcome> {
        loop {
            let end = self.ends();
            let pauses = end.is_some() || pauses(&self.trainer.config, self.trainer.step);
            if pauses {
                match self.healthy() {
                    Ok(()) => {}
                    Err(diverged @ Error::NonFinite { .. }) if !self.trainer.team().is_lost() => {
                        self.go_back(diverged)?;
                        continue;
                    }
                    Err(error) => drop(self.error.get_or_insert(error)),
                }
            }
            if let Some(outcome) = end {
                return self.error.map_or(Ok(outcome), Err);
            }
            if !pauses || self.ends().is_none() {
                self.step();
            }
        }
    }

    fn ends(&mut self) -> Option<Outcome> {
        let Follower { trainer, began, go_on, error, .. } = self;
        let own = Standing { began: *began, no_better: false, go_on: *go_on, error: error.as_ref() };
        let (outcome, others) = ends(trainer, own);
        if let Some(others) = others {
            self.error.get_or_insert(others);
        }
        outcome
    }

    /// As in the first process, which checks the same numbers.
    fn healthy(&mut self) -> Result<()> {
        let team = self.trainer.team();
        isolated(|| self.log.gather(team)).inspect_err(|error| team.leave(&error.to_string()))?;
        isolated(|| {
            drop(self.log.checked(self.trainer.step)?);
            self.log.clear();
            self.trainer.healthy()
        })
    }

    /// Takes the state that the first process goes back to, if it does.
    fn go_back(&mut self, diverged: Error) -> Result<()> {
        match self.trainer.team().first_numbers([0.0])? {
            [0.0] => Err(diverged),
            _ => {
                self.log.clear();
                self.trainer.share()
            }
        }
    }

    fn step(&mut self) {
        match isolated(|| self.trainer.step()) {
            Ok(terms) => {
                self.log.note(terms, Duration::ZERO);
                self.go_on &= (self.observer)(Event::Step { step: self.trainer.step });
            }
            Err(error) => drop(self.error.get_or_insert(error)),
        }
    }
}
