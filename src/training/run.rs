//! A run: a trainer and its folder, from the first step or the last checkpoint to the end.
//!
//! ```text
//! run_dir/config.json            the resolved config
//! run_dir/skipped.csv            pairs that could not be read, where there are any
//! run_dir/stats.jsonl            a line of means every `log_every` steps
//! run_dir/monitor.jsonl          a line every `monitor_every` steps
//! run_dir/samples/step_*.png     grids of fixed triplets
//! run_dir/snapshots/step_*.safetensors    generators, for use
//! run_dir/snapshots/best.safetensors      the generator of the monitor's lowest score
//! run_dir/failed.safetensors     the state of a run that diverged, in a checkpoint's format
//! run_dir/checkpoints/step_*.safetensors  the state to go on from
//! ```

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::log::{Log, append, drop_later};
use super::trainer::Trainer;
use super::{checkpoint, samples};
use crate::config::{Config, OnNonFinite};
use crate::data::{LeftOut, Pairs, Plan};
use crate::error::{AtPath, Error, Result};
use crate::storage::{Snapshot, numbered, remove_leftovers, write_atomically};

/// What happens in a run, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many files are looked at, first none: what loading takes is known before it is taken.
    Load {
        plan: &'a Plan,
        done: usize,
    },
    /// The run begins or goes on at `step` of `total`, with what could not be read.
    Start {
        step: u64,
        total: u64,
        batch_size: usize,
        pairs: usize,
        articles: usize,
        skipped: &'a [LeftOut],
        /// What each checkpoint will take on disk.
        checkpoint_bytes: u64,
    },
    /// Something that the run survives and its owner should know.
    Warning(&'a str),
    /// A step is done.
    Step {
        step: u64,
    },
    /// A line was added to `stats.jsonl`.
    Report(&'a Map<String, Value>),
    /// A line was added to `monitor.jsonl`.
    Look(&'a Map<String, Value>),
    Sample(&'a Path),
    Snapshot(&'a Path),
    Checkpoint(&'a Path),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    /// The time limit was reached; a checkpoint was written.
    OutOfTime,
    /// The monitor's score got no better for `early_stop` looks.
    NoBetter,
    /// The observer asked to stop; a checkpoint was written where a step had been made.
    Stopped,
}

/// What to do where the run's folder holds a run already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Go on where there is a checkpoint, begin where there is none.
    #[default]
    Auto,
    /// Begin; a folder with checkpoints is an error.
    Never,
    /// Go on; a folder without checkpoints is an error.
    Must,
}

/// Trains in `run_dir`, or goes on from the checkpoint there. `observer` sees every event and answers whether to go on;
/// a no is obeyed after the step.
///
/// A damaged checkpoint is passed over with a warning, where an older one is whole. A disk that refuses a file in the
/// middle of a run is a warning too: the run goes on and tries again at the next interval.
///
/// # Errors
/// All that [`Trainer::new`] refuses; a folder in use; a checkpoint with other settings; a loss that is no number; a
/// disk that refuses at the start or the end.
pub fn train(
    pairs: &Pairs,
    run_dir: &Path,
    config: Config,
    resume: Resume,
    observer: &mut dyn FnMut(Event) -> bool,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut load = |plan: &Plan, done| observer(Event::Load { plan, done });
    let Some(mut trainer) = Trainer::watched(pairs, config, &mut load)? else {
        return Ok(Outcome::Stopped);
    };
    let run = Folder::open(run_dir)?;
    let resumed = run.restore(&mut trainer, resume, observer)?;
    if !resumed && !trainer.config.init_from.is_empty() {
        checkpoint::begin_from(&PathBuf::from(&trainer.config.init_from), &mut trainer)?;
    }
    run.create(&trainer.config, &trainer.data.skipped)?;
    let mut log = Log::open(&run.path.join("stats.jsonl"), trainer.step)?;
    let looks = run.path.join("monitor.jsonl");
    drop_later(&looks, trainer.step)?;
    let (start, total) = (trainer.step, trainer.total_steps());
    let mut no_better = false;
    let mut looked = start;
    let mut go_on = observer(Event::Start {
        step: start,
        total,
        batch_size: trainer.config.batch_size,
        pairs: trainer.data.len(),
        articles: trainer.data.articles(),
        skipped: &trainer.data.skipped,
        checkpoint_bytes: checkpoint::bytes(&trainer),
    });
    let limit = trainer.config.time_limit_s.map(Duration::from_secs_f64);
    loop {
        let done = trainer.step >= total;
        let late = limit.is_some_and(|limit| began.elapsed() >= limit);
        let end = done || late || no_better || !go_on;
        let fresh = trainer.step > start || !resumed;
        let due = |every: u64| fresh && (end || trainer.step.is_multiple_of(every));
        let [report, sample, snapshot, checkpoint] = {
            let c = &trainer.config;
            [c.log_every, c.sample_every, c.snapshot_every, c.checkpoint_every].map(due)
        };
        let every = trainer.config.monitor_every;
        // Not at an end between two looks: a run in parts has the looks of a whole one.
        let look = every > 0 && trainer.step > looked && trainer.step.is_multiple_of(every);
        if report || sample || snapshot || checkpoint || look {
            match healthy(&log, &trainer, snapshot || checkpoint || look) {
                Ok(()) => {}
                Err(error) => {
                    let text = run.go_back(error, &mut trainer)?;
                    log = Log::open(&run.path.join("stats.jsonl"), trainer.step)?;
                    drop_later(&looks, trainer.step)?;
                    looked = trainer.step;
                    go_on &= observer(Event::Warning(&text));
                    continue;
                }
            }
        }
        // What refuses in the middle may work at the next interval; at the end it is lost.
        let tried = |result: Result<()>, observer: &mut dyn FnMut(Event) -> bool| match result {
            Err(error) if !end => Ok(observer(Event::Warning(&error.to_string()))),
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        };
        if !log.is_empty() && report {
            go_on &= match log.report(&trainer) {
                Ok(line) => observer(Event::Report(&line)),
                Err(error) => tried(Err(error), observer)?,
            };
        }
        if look && let Some(look) = trainer.look()? {
            looked = trainer.step;
            go_on &= match append(&looks, &look.line) {
                Ok(()) => observer(Event::Look(&look.line)),
                failed => tried(failed, observer)?,
            };
            for text in &look.warnings {
                go_on &= observer(Event::Warning(text));
            }
            if look.best {
                let path = run.path.join("snapshots/best.safetensors");
                go_on &= match run.snapshot(&path, &trainer) {
                    Ok(()) => observer(Event::Snapshot(&path)),
                    failed => tried(failed, observer)?,
                };
            }
            let patience = trainer.config.early_stop;
            let since = trainer.monitor.as_ref().map_or(0, |m| m.memory.since_best);
            if patience > 0 && since >= patience {
                no_better = true;
                let text = format!("step {}: no better score for {since} looks, the run ends", trainer.step);
                observer(Event::Warning(&text));
            }
        }
        if sample {
            let path = run.file("samples", trainer.step, "png");
            let saved = trainer.with_averaged(|trainer| samples::write(&path, trainer));
            go_on &= match saved {
                Ok(()) => observer(Event::Sample(&path)),
                failed => tried(failed, observer)?,
            };
        }
        if trainer.step > 0 && snapshot {
            let path = run.file("snapshots", trainer.step, "safetensors");
            go_on &= match run.snapshot(&path, &trainer) {
                Ok(()) => observer(Event::Snapshot(&path)),
                failed => tried(failed, observer)?,
            };
        }
        if trainer.step > 0 && checkpoint {
            let path = run.file("checkpoints", trainer.step, "safetensors");
            let saved = checkpoint::write(&path, &trainer);
            go_on &= match saved.and_then(|()| run.drop_older(trainer.config.keep_checkpoints)) {
                Ok(()) => observer(Event::Checkpoint(&path)),
                failed => tried(failed, observer)?,
            };
        }
        if end {
            return Ok(match (done, no_better, late) {
                (true, ..) => Outcome::Finished,
                (_, true, _) => Outcome::NoBetter,
                (.., true) => Outcome::OutOfTime,
                _ => Outcome::Stopped,
            });
        }
        if !go_on || no_better {
            continue; // once round to save
        }
        let began = Instant::now();
        let terms = match trainer.step() {
            Ok(terms) => terms,
            Err(error) => {
                // Pictures that went away cost no steps: what was learnt is kept. A failing disk must not hide the
                // reason.
                if trainer.step > start && log.checked(trainer.step).is_ok() {
                    let path = run.file("checkpoints", trainer.step, "safetensors");
                    let _ = checkpoint::write(&path, &trainer);
                }
                return Err(error);
            }
        };
        log.note(terms, began.elapsed());
        go_on = observer(Event::Step { step: trainer.step });
    }
}

/// Whether all terms since the last report, and where something is to be saved the weights, are numbers.
fn healthy(log: &Log, trainer: &Trainer, saves: bool) -> Result<()> {
    drop(log.checked(trainer.step)?);
    match saves.then(|| trainer.broken()).flatten() {
        None => Ok(()),
        Some(term) => Err(Error::NonFinite { term: term.into(), value: f64::NAN, step: trainer.step }),
    }
}

/// A run's folder, held by this process until it is dropped.
struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder and takes its lock, which the system gives back however the process ends.
    fn open(path: &Path) -> Result<Folder> {
        std::fs::create_dir_all(path).at(path)?;
        let file = path.join(".lock");
        let lock = File::create(&file).at(&file)?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.into() }),
            Err(TryLockError::Error(error)) => Err(error).at(&file),
        }
    }

    /// Goes on from the newest whole checkpoint. Returns whether there was one.
    fn restore(&self, trainer: &mut Trainer, resume: Resume, observer: &mut dyn FnMut(Event) -> bool) -> Result<bool> {
        let mut checkpoints = numbered(&self.path.join("checkpoints"))?;
        match (resume, checkpoints.last()) {
            (Resume::Never, Some((path, _))) => {
                let text = "expected no checkpoint, as resume is never";
                return Err(Error::content(path, text));
            }
            (Resume::Must, None) => {
                let text = "expected a checkpoint to go on from, as resume is must, got none";
                return Err(Error::content(&self.path, text));
            }
            _ => {}
        }
        let mut damaged = Vec::new();
        while let Some((path, _)) = checkpoints.pop() {
            match checkpoint::read(&path) {
                Ok(file) => {
                    checkpoint::restore(&path, &file, trainer)?;
                    for error in damaged {
                        let text = format!("{error}; going on from step {}", trainer.step);
                        // A no is heard at the next event.
                        observer(Event::Warning(&text));
                    }
                    return Ok(true);
                }
                Err(error) => damaged.push(error),
            }
        }
        damaged.into_iter().next().map_or(Ok(false), Err)
    }

    /// Keeps the state of a run that diverged for inspection, and where the config wants it goes back to the last
    /// checkpoint at half the rate. Returns what happened.
    fn go_back(&self, error: Error, trainer: &mut Trainer) -> Result<String> {
        /// A run that diverges at an eighth of its rate has another trouble than its rate.
        const LEAST: f64 = 1.0 / 8.0;
        let kept = self.path.join("failed.safetensors");
        checkpoint::write(&kept, trainer)?;
        let slowdown = trainer.models.slowdown / 2.0;
        let last = numbered(&self.path.join("checkpoints"))?.pop();
        match last {
            Some((path, _)) if trainer.config.on_non_finite == OnNonFinite::Rollback && slowdown >= LEAST => {
                checkpoint::restore(&path, &checkpoint::read(&path)?, trainer)?;
                trainer.models.slowdown = slowdown;
                let step = trainer.step;
                Ok(format!("{error}; going back to step {step} and on at {slowdown} of the rate"))
            }
            _ => Err(error),
        }
    }

    fn create(&self, config: &Config, skipped: &[LeftOut]) -> Result<()> {
        for name in ["samples", "snapshots", "checkpoints"] {
            let folder = self.path.join(name);
            std::fs::create_dir_all(&folder).at(&folder)?;
            remove_leftovers(&folder)?;
        }
        remove_leftovers(&self.path)?;
        if !skipped.is_empty() {
            let mut rows = csv::Writer::from_writer(Vec::new());
            let line = |rows: &mut csv::Writer<_>, cells: [&str; 3]| {
                rows.write_record(cells).expect("writing to memory does not fail");
            };
            line(&mut rows, ["id", "path", "reason"]);
            for LeftOut { id, path, reason } in skipped {
                line(&mut rows, [id, &path.to_string_lossy(), reason]);
            }
            let rows = rows.into_inner().expect("writing to memory does not fail");
            write_atomically(&self.path.join("skipped.csv"), &rows)?;
        }
        write_atomically(&self.path.join("config.json"), config.to_json().as_bytes())
    }

    fn snapshot(&self, path: &Path, trainer: &Trainer) -> Result<()> {
        let parameters = &trainer.models.generator_parameters;
        let generator = parameters.named(&trainer.averaged());
        Snapshot::write(path, &trainer.config, trainer.step, &generator)
    }

    fn file(&self, folder: &str, step: u64, ending: &str) -> PathBuf {
        self.path.join(folder).join(format!("step_{step:08}.{ending}"))
    }

    fn drop_older(&self, keep: usize) -> Result<()> {
        let checkpoints = numbered(&self.path.join("checkpoints"))?;
        for (path, _) in checkpoints.iter().rev().skip(keep) {
            std::fs::remove_file(path).at(path)?;
        }
        Ok(())
    }
}
