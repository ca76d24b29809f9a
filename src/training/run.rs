//! A run: a trainer and its folder, from the first step or the newest checkpoint to the end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::event::{Event, Outcome};
use super::folder::{Folder, checkpoints};
use super::follow::follow;
use super::log::Log;
use super::monitor::Monitor;
use super::team::Team;
use super::trainer::Trainer;
use super::turn::{Standing, ends, pauses};
use super::{begin, checkpoint, jsonl, samples};
use crate::config::{Config, OnNonFinite};
use crate::data::{Crew, Pairs, Plan};
use crate::error::{Error, Result};
use crate::native::{isolated, use_threads};
use crate::storage::{Snapshot, lacking};

/// The least factor of the rates that a run goes back to: the rate is not the cause if it diverges there.
const SLOWEST: f64 = 1.0 / 8.0;

/// Whether to go on with the run that the folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Goes on from a checkpoint if the folder has one, begins otherwise.
    #[default]
    Auto,
    /// Begins; fails if the folder has checkpoints.
    Never,
    /// Goes on; fails if the folder has no checkpoint.
    Must,
}

impl Resume {
    fn allows(self, run_dir: &Path, checkpoints: &[PathBuf]) -> Result<()> {
        match (self, checkpoints.first()) {
            (Resume::Never, Some(path)) => Err(Error::content(path, "expected no checkpoint, as resume is never")),
            (Resume::Must, None) => {
                let text = "expected a checkpoint to go on from, as resume is must, got none";
                Err(Error::content(run_dir, text))
            }
            _ => Ok(()),
        }
    }
}

/// Trains in `run_dir`, or goes on from its newest whole checkpoint. `observer` gets every event and answers whether to
/// go on; a no ends the run after the step.
///
/// The folder, `resume` and the settings are checked before any picture is decoded. A damaged checkpoint is skipped with
/// a warning if an older one is whole. Files of later steps than the checkpoint, and all files of a run without one, are
/// set aside in `old`. A file that cannot be written before the end is a warning, and the next interval tries again. At
/// the end the first such error is returned, after all other files were tried. A step or a look that fails ends the run
/// with its error, after a checkpoint. A folder that goes away is made again.
///
/// # Errors
/// The errors of [`Trainer::new`]; a folder in use; a checkpoint with other settings; a loss that is not finite; a file
/// that cannot be written at the start or at the end; a folder that went away and cannot be made again.
pub fn train(
    pairs: &Pairs,
    run_dir: &Path,
    config: Config,
    resume: Resume,
    observer: &mut dyn FnMut(Event) -> bool,
) -> Result<Outcome> {
    train_together(&Team::alone(), pairs, run_dir, config, resume, observer)
}

/// As [`train`], in one of several processes that train one run together. The first one alone reads and writes the
/// folder, its settings stand for all, and its observer gets every event; those of the others get
/// [`Event::Load`] and [`Event::Step`]. All end at the same step, whichever has the reason. What happened to one of them is
/// the error of the others.
///
/// # Errors
/// As [`train`]; [`Error::Peer`] with the message of a process that stopped or failed; [`Error::Lost`] for one that is
/// gone: the first process then saves the state of its step.
pub fn train_together(
    team: &Team,
    pairs: &Pairs,
    run_dir: &Path,
    config: Config,
    resume: Resume,
    observer: &mut dyn FnMut(Event) -> bool,
) -> Result<Outcome> {
    match team.is_first() {
        true => lead(team, pairs, run_dir, config, resume, observer),
        false => follow(team, pairs, config, observer),
    }
}

/// The first process, or the only one.
fn lead(
    team: &Team,
    pairs: &Pairs,
    run_dir: &Path,
    config: Config,
    resume: Resume,
    observer: &mut dyn FnMut(Event) -> bool,
) -> Result<Outcome> {
    let began = Instant::now();
    let opened = checkpoints(run_dir).and_then(|found| resume.allows(run_dir, &found));
    let folder = match opened.and_then(|()| Folder::open(run_dir)) {
        Ok(folder) => folder,
        Err(error) => return team.agreed(Err(error)),
    };
    let _threads = use_threads(team.threads(&config));
    let mut load = |plan: &Plan, done| observer(Event::Load { plan, done });
    let given = config.clone();
    let begun = settled(&folder, config).and_then(|config| Ok((source(&folder, &config)?, config)));
    let begun = team.agreed(begun).and_then(|(from, config)| Ok((from, team.first_config(config)?)));
    let begin =
        |(from, config): (Option<PathBuf>, _)| Trainer::beginning(team, pairs, config, from.as_deref(), &mut load);
    let trainer = match begun.and_then(begin) {
        Ok(Some(trainer)) => trainer,
        none => {
            folder.withdraw();
            return none.map(|_| Outcome::Stopped);
        }
    };
    let mut run = Run {
        began,
        monitor: (trainer.config.monitor_every > 0).then(|| Monitor::new(&trainer)),
        log: Log::new(folder.stats()),
        trainer,
        folder,
        observer,
        saved: None,
        looked_every: 0,
        began_at: 0,
        go_on: true,
        no_better: false,
        end: None,
        error: None,
    };
    team.agreed(run.begin(resume, &given))?;
    run.trainer.share()?;
    team.agreed(run.finish())
}

/// Checks the folder and its run. Returns the settings to go on with.
fn settled(folder: &Folder, config: Config) -> Result<Config> {
    folder.prepare()?;
    checkpoint::check_settings(folder.path(), config)
}

/// Returns the file that a new run begins from, if the config names one.
fn source(folder: &Folder, config: &Config) -> Result<Option<PathBuf>> {
    match folder.checkpoints()?.is_empty() {
        true => begin::source(config),
        false => Ok(None),
    }
}

/// A run under way.
struct Run<'a> {
    trainer: Trainer,
    monitor: Option<Monitor>,
    folder: Folder,
    log: Log,
    observer: &'a mut dyn FnMut(Event) -> bool,
    began: Instant,
    /// The step of the checkpoint that this call goes on from: an earlier call has written its files.
    saved: Option<u64>,
    /// The steps between two looks of the run that this call goes on with.
    looked_every: u64,
    /// The step at which this call begins.
    began_at: u64,
    /// Whether the observer has always answered yes.
    go_on: bool,
    /// Whether the score did not improve for too long.
    no_better: bool,
    /// Set when this round of the loop is the last.
    end: Option<Outcome>,
    /// The first error that ends the run, or that the last round met.
    error: Option<Error>,
}

/// The files that are due at a step.
#[derive(Default)]
struct Due {
    report: bool,
    look: bool,
    checkpoint: bool,
    sample: bool,
    snapshot: bool,
}

impl Run<'_> {
    /// Restores the newest checkpoint, if there is one, and sets aside what is not of its history.
    fn begin(&mut self, resume: Resume, given: &Config) -> Result<()> {
        resume.allows(self.folder.path(), &self.folder.checkpoints()?)?;
        self.saved = self.resume()?.then_some(self.trainer.step);
        self.began_at = self.trainer.step;
        match self.saved {
            Some(step) => {
                self.folder.set_aside(step + 1)?;
                self.bring_best_back()?;
            }
            None => self.set_leftovers_aside()?,
        }
        self.folder.describe(&self.trainer.config, &self.trainer.data.skipped)?;
        self.cut_lines()?;
        if let Some(text) = lacking() {
            self.say(Event::Warning(&text));
        }
        self.stay_ended();
        if self.saved.is_none() {
            for text in given.never(self.trainer.data.len()) {
                self.say(Event::Warning(&text));
            }
        }
        let trainer = &self.trainer;
        if self.saved.is_some() && trainer.step < trainer.total_steps() {
            self.folder.note_resume(trainer.step, trainer.team().share().world)?;
        }
        self.go_on &= (self.observer)(Event::Start {
            step: trainer.step,
            total: trainer.total_steps(),
            batch_size: trainer.config.batch_size,
            pairs: trainer.data.len(),
            config: &trainer.config,
            parameters: [&trainer.models.generator, &trainer.models.discriminator]
                .map(|learner| learner.parameters.count() as usize),
            device: trainer.device,
            articles: trainer.data.articles(),
            skipped: &trainer.data.skipped,
            checkpoint_bytes: checkpoint::bytes(trainer),
        });
        Ok(())
    }

    /// Puts the best snapshot of the checkpoint back, or says that it is gone.
    fn bring_best_back(&mut self) -> Result<()> {
        let step = self.monitor.as_ref().map_or(0, |monitor| monitor.memory.best_step);
        if step > 0 && !self.folder.bring_best_back(step)? {
            let best = self.folder.best();
            let text = format!("{}: the best look was at step {step}, whose generator is gone", best.display());
            self.say(Event::Warning(&text));
        }
        Ok(())
    }

    /// Sets aside what a run without checkpoints left, with a word if it is worth one.
    fn set_leftovers_aside(&mut self) -> Result<()> {
        let Some(reached) = self.folder.reached(self.trainer.data.len()) else {
            return self.folder.set_aside(0);
        };
        let old = self.folder.set_all_aside()?;
        let run = self.folder.path().display();
        let text = format!(
            "{run}: the run there reached step {reached} and has no checkpoint to go on from; this one begins anew, and \
             the files of the other are in {}",
            old.display()
        );
        self.say(Event::Warning(&text));
        Ok(())
    }

    /// A run that ended as it got no better does not go on unless `early_stop` was raised.
    fn stay_ended(&mut self) {
        let (config, step) = (&self.trainer.config, self.trainer.step);
        let patience = config.early_stop;
        let since = self.monitor.as_ref().map_or(0, |monitor| monitor.memory.since_best);
        if self.saved.is_some() && patience > 0 && since >= patience && step < self.trainer.total_steps() {
            self.no_better = true;
            let text = format!(
                "step {step}: the run has ended, as no score was better for {since} looks; a larger early_stop, or 0, \
                 goes on"
            );
            self.say(Event::Warning(&text));
        }
    }

    /// Saves and steps until the end. Lines go first: no later call can write them. Next is the checkpoint, which holds
    /// the look; then come the files that a later call can make from it.
    fn finish(mut self) -> Result<Outcome> {
        loop {
            if !self.folder.is_ours() {
                // A child of `fork`, made by the observer: the run is its parent's.
                return Ok(Outcome::Stopped);
            }
            self.end = self.ends();
            let pauses = self.trainer.team().is_alone() || self.end.is_some() || self.pauses();
            if pauses {
                self.gather();
            }
            let due = self.due();
            match self.healthy(&due, pauses) {
                Ok(()) => self.write(&due),
                Err(diverged @ Error::NonFinite { .. }) => {
                    self.go_back(diverged)?;
                    continue;
                }
                // Out of memory: one more round tries to save.
                Err(error) => {
                    self.fail(error);
                    if self.end.is_some() {
                        return Err(self.error.take().expect("it failed"));
                    }
                }
            }
            if let Some(outcome) = self.end {
                if outcome == Outcome::OutOfTime && self.trainer.step == self.began_at {
                    let limit = self.trainer.config.time_limit_s.unwrap_or_default();
                    self.say(Event::Warning(&format!("time_limit_s: {limit} s were over before the first step")));
                }
                return self.error.map_or(Ok(outcome), Err);
            }
            // An end that came with this round's events takes one more round, to save.
            if !pauses || self.ends().is_none() {
                self.step();
            }
        }
    }

    /// Whether files may be due: see [`pauses`].
    fn pauses(&self) -> bool {
        pauses(&self.trainer.config, self.trainer.step)
    }

    fn write(&mut self, due: &Due) {
        if due.report || due.look || due.checkpoint || due.sample || due.snapshot {
            self.mend();
        }
        if due.report {
            self.report();
        }
        if due.look {
            self.look();
        }
        if due.checkpoint {
            self.checkpoint();
        }
        if due.sample {
            self.sample();
        }
        if due.snapshot {
            self.snapshot();
        }
    }

    /// Makes the terms since the last report those of all processes.
    fn gather(&mut self) {
        let team = self.trainer.team().clone();
        if team.is_lost() {
            return;
        }
        if let Err(error) = isolated(|| self.log.gather(&team)) {
            team.leave(&error.to_string());
            self.fail(error);
        }
    }

    /// Makes the folder again if it went away. If that fails, the run ends in another one.
    fn mend(&mut self) {
        let Trainer { config, data, step, .. } = &self.trainer;
        let mended = self.folder.mend(config, &data.skipped, *step);
        self.log.move_to(self.folder.stats());
        match mended {
            Ok(None) => {}
            Ok(Some(text)) => self.say(Event::Warning(&text)),
            Err(error) => self.fail(error),
        }
    }

    /// Returns the reason to end here, if any process has one.
    fn ends(&mut self) -> Option<Outcome> {
        let Run { trainer, began, no_better, go_on, error, .. } = self;
        let own = Standing { began: *began, no_better: *no_better, go_on: *go_on, error: error.as_ref() };
        let (outcome, others) = ends(trainer, own);
        if let Some(error) = others {
            self.fail(error);
        }
        outcome
    }

    fn due(&self) -> Due {
        let Run { trainer, folder, .. } = self;
        let (config, step) = (&trainer.config, trainer.step);
        let ends = self.end.is_some();
        if trainer.is_torn() {
            return Due::default();
        }
        let fresh = self.saved != Some(step);
        let due = |every: u64| fresh && (ends || step.is_multiple_of(every));
        // A kill between the checkpoint and the files after it leaves those out.
        let finished = matches!(self.end, Some(Outcome::Finished | Outcome::NoBetter));
        let again = |every: u64| !fresh && (finished || step.is_multiple_of(every));
        if trainer.team().is_lost() {
            // What the others know of the steps since the last report is lost, the state is not.
            return Due { checkpoint: step > 0 && due(config.checkpoint_every), ..Due::default() };
        }
        Due {
            report: due(config.log_every) && !self.log.is_empty(),
            look: self.look_is_due(),
            checkpoint: step > 0 && due(config.checkpoint_every),
            sample: due(config.sample_every) || again(config.sample_every) && !samples::is_whole(&folder.sample(step)),
            snapshot: step > 0
                && (due(config.snapshot_every)
                    || again(config.snapshot_every) && Snapshot::read(&folder.snapshot(step)).is_err()),
        }
    }

    /// Whether the monitor looks at this step. An end between two looks has none, so that a run in parts has the looks
    /// of a whole one. A finished run has none at other steps than its own: no checkpoint would hold it.
    fn look_is_due(&self) -> bool {
        let (step, every) = (self.trainer.step, self.trainer.config.monitor_every);
        let new = self.monitor.as_ref().is_some_and(|monitor| step > monitor.memory.looked);
        let over = self.saved == Some(step) && step >= self.trainer.total_steps() && every != self.looked_every;
        new && step.is_multiple_of(every) && self.error.is_none() && !over
    }

    /// Checks that the terms since the last report are finite, and the weights too if they are about to be saved. Of
    /// several processes all do whenever files may be due.
    fn healthy(&self, due: &Due, pauses: bool) -> Result<()> {
        let team = self.trainer.team();
        let all = pauses && !team.is_alone() && !team.is_lost();
        let saves = due.look || due.checkpoint || due.snapshot || all;
        if saves || due.report || due.sample {
            drop(isolated(|| self.log.checked(self.trainer.step))?);
        }
        isolated(|| if saves { self.trainer.healthy() } else { Ok(()) })
    }

    fn report(&mut self) {
        match isolated(|| self.log.report(&self.trainer)) {
            Ok(line) => self.say(Event::Report(&line)),
            Err(error) => self.trouble(error),
        }
    }

    fn look(&mut self) {
        let Some(monitor) = &mut self.monitor else { return };
        let look = match isolated(|| monitor.look(&mut self.trainer)) {
            Ok(look) => look,
            // The checkpoint does not hold the look, so the next call looks again.
            Err(error) => return self.fail(error),
        };
        let (since, patience) = (monitor.memory.since_best, self.trainer.config.early_stop);
        let written = jsonl::append(&self.folder.looks(), &look.line);
        self.wrote(written, Event::Look(&look.line));
        for text in &look.warnings {
            self.say(Event::Warning(text));
        }
        if look.best {
            let path = self.folder.best();
            let written = isolated(|| self.folder.write_snapshot(&path, &self.trainer));
            self.wrote_file(written, Event::Snapshot, &path);
        }
        if patience > 0 && since >= patience {
            self.no_better = true;
            let step = self.trainer.step;
            self.say(Event::Warning(&format!("step {step}: no better score for {since} looks, the run ends")));
        }
    }

    fn checkpoint(&mut self) {
        let path = self.folder.checkpoint(self.trainer.step);
        let memory = self.monitor.as_ref().map(|monitor| &monitor.memory);
        let write = |path: &Path| isolated(|| checkpoint::write(path, &self.trainer, memory));
        let mut written = write(&path);
        if self.end.is_some()
            && let Err(error) = written
        {
            // As on a full disk: no later checkpoint makes up for this one.
            let Trainer { config, data, step, .. } = &self.trainer;
            let rescued = self.folder.rescue(config, &data.skipped, *step, write);
            written = Err(match rescued {
                Some(to) => Error::Rescued { source: Box::new(error), step: *step, to },
                None => error,
            });
        }
        let written = written.and_then(|()| self.folder.drop_older(self.trainer.config.keep_checkpoints));
        self.wrote_file(written, Event::Checkpoint, &path);
    }

    fn sample(&mut self) {
        let path = self.folder.sample(self.trainer.step);
        let written = isolated(|| self.trainer.with_averaged(|trainer| samples::write(&path, trainer)));
        self.wrote_file(written, Event::Sample, &path);
    }

    fn snapshot(&mut self) {
        let path = self.folder.snapshot(self.trainer.step);
        let written = isolated(|| self.folder.write_snapshot(&path, &self.trainer));
        self.wrote_file(written, Event::Snapshot, &path);
    }

    fn step(&mut self) {
        let began = Instant::now();
        match isolated(|| self.trainer.step()) {
            Ok(terms) => {
                self.log.note(terms, began.elapsed());
                self.say(Event::Step { step: self.trainer.step });
            }
            // A picture that is gone costs no steps: the last round saves them.
            Err(error) => {
                self.fail(error);
            }
        }
    }

    fn say(&mut self, event: Event) {
        self.go_on &= (self.observer)(event);
    }

    /// Announces a file, or the trouble with it.
    fn wrote(&mut self, written: Result<()>, event: Event) {
        match written {
            Ok(()) => self.say(event),
            Err(error) => self.trouble(error),
        }
        if let Some(text) = lacking() {
            self.say(Event::Warning(&text));
        }
    }

    /// As [`Run::wrote`], for a file that another branch may have had too.
    fn wrote_file<'a>(&mut self, written: Result<()>, event: fn(&'a Path) -> Event<'a>, path: &'a Path) {
        if written.is_ok() {
            self.folder.forget_copies(path);
        }
        self.wrote(written, event(path));
    }

    fn warn(&mut self, error: &Error) {
        self.say(Event::Warning(&error.to_string()));
    }

    /// Ends the run with an error, after a round that saves. Of several the first counts; the others are warnings. It
    /// names the place of a checkpoint that went elsewhere.
    fn fail(&mut self, error: Error) {
        match (self.error.take(), error) {
            (None, error) => self.error = Some(error),
            (Some(first), Error::Rescued { source, step, to }) => {
                self.error = Some(Error::Rescued { source: Box::new(first), step, to });
                self.warn(&source);
            }
            (Some(first), error) => {
                self.error = Some(first);
                self.warn(&error);
            }
        }
    }

    /// Warns of a file that the next interval writes, or fails: nothing follows the last round.
    fn trouble(&mut self, error: Error) {
        match self.end {
            None => self.warn(&error),
            Some(_) => self.fail(error),
        }
    }

    /// Goes on from the newest whole checkpoint. Returns whether there was one.
    fn resume(&mut self) -> Result<bool> {
        let (found, damaged) = self.restore()?;
        if !found && let Some(newest) = damaged.into_iter().next() {
            return Err(newest);
        }
        Ok(found)
    }

    /// Restores the newest whole checkpoint and warns of newer ones that are damaged. Returns whether one was whole,
    /// and the errors of the damaged ones, newest first.
    fn restore(&mut self) -> Result<(bool, Vec<Error>)> {
        let mut damaged = Vec::new();
        for path in self.folder.checkpoints()? {
            let file = match checkpoint::read(&path) {
                Ok(file) => file,
                Err(error) => {
                    damaged.push(error);
                    continue;
                }
            };
            let memory = self.monitor.as_mut().map(|monitor| &mut monitor.memory);
            checkpoint::restore(&path, &file, &mut self.trainer, memory)?;
            self.looked_every = checkpoint::monitor_every(&path, &file)?;
            for error in &damaged {
                let text = format!("{error}; going on from step {}", self.trainer.step);
                self.say(Event::Warning(&text));
            }
            return Ok((true, damaged));
        }
        Ok((false, damaged))
    }

    /// Keeps the state of a run that diverged for inspection. If the config says so, goes back to the newest whole
    /// checkpoint at half the rate.
    ///
    /// # Errors
    /// `diverged`, if there is no way back. Any other error is a warning beside it.
    fn go_back(&mut self, diverged: Error) -> Result<()> {
        let memory = self.monitor.as_ref().map(|monitor| &monitor.memory);
        if let Err(error) = checkpoint::write(&self.folder.failed(), &self.trainer, memory) {
            self.warn(&error);
        }
        let slowdown = self.trainer.models.slowdown / 2.0;
        let team = self.trainer.team().clone();
        let wanted = self.trainer.config.on_non_finite == OnNonFinite::Rollback && slowdown >= SLOWEST;
        let wanted = wanted && !team.is_lost();
        let (back, others) = match wanted.then(|| self.restore()) {
            None => (false, Vec::new()),
            Some(Ok(restored)) => restored,
            Some(Err(error)) => (false, vec![error]),
        };
        if !team.is_lost() {
            team.first_numbers([f64::from(back)])?;
        }
        if !back {
            for error in others.into_iter().chain(self.error.take()) {
                self.warn(&error);
            }
            return Err(diverged);
        }
        self.trainer.models.slowdown = slowdown;
        self.trainer.share()?;
        self.saved = None;
        self.log.clear();
        if let Err(error) = self.folder.set_aside(self.trainer.step + 1).and_then(|()| self.cut_lines()) {
            self.warn(&error);
        }
        let step = self.trainer.step;
        self.say(Event::Warning(&format!("{diverged}; going back to step {step} and on at {slowdown} of the rate")));
        Ok(())
    }

    /// Cuts the lines of later steps, which are written again, and that of this step's look if it is still due.
    fn cut_lines(&self) -> Result<()> {
        let step = self.trainer.step;
        let stats = jsonl::cut(&self.folder.stats(), step);
        let looks = jsonl::cut(&self.folder.looks(), if self.look_is_due() { step - 1 } else { step });
        stats.and(looks)
    }
}
