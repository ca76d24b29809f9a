//! A run: a trainer and its folder, from the first step or the last checkpoint to the end.
//!
//! ```text
//! run_dir/config.json            the resolved config
//! run_dir/skipped.csv            pairs that could not be read, where there are any
//! run_dir/stats.jsonl            a line of means every `log_every` steps
//! run_dir/samples/step_*.png     grids of fixed triplets
//! run_dir/snapshots/step_*.safetensors    generators, for use
//! run_dir/checkpoints/step_*.safetensors  the state to go on from
//! ```

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value};

use super::log::Log;
use super::trainer::Trainer;
use super::{checkpoint, samples};
use crate::config::Config;
use crate::data::{LeftOut, Pairs, Plan};
use crate::error::{AtPath, Result};
use crate::storage::{Snapshot, latest, write_atomically};

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
    },
    /// A step is done.
    Step {
        step: u64,
    },
    /// A line was added to `stats.jsonl`.
    Report(&'a Map<String, Value>),
    Sample(&'a Path),
    Snapshot(&'a Path),
    Checkpoint(&'a Path),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    /// The observer asked to stop; a checkpoint was written where a step had been made.
    Stopped,
}

/// Trains in `run_dir`, or goes on from the checkpoint there. `observer` sees every event and answers whether to go on; a no is
/// obeyed after the step.
///
/// # Errors
/// All that [`Trainer::new`] refuses; a checkpoint with other settings; a loss that is no number; a disk that refuses.
pub fn train(
    pairs: &Pairs,
    run_dir: &Path,
    config: Config,
    observer: &mut dyn FnMut(Event) -> bool,
) -> Result<Outcome> {
    let mut load = |plan: &Plan, done| observer(Event::Load { plan, done });
    let Some(mut trainer) = Trainer::watched(pairs, config, &mut load)? else {
        return Ok(Outcome::Stopped);
    };
    let run = Folder(run_dir.into());
    let last = latest(&run.0.join("checkpoints"))?;
    if let Some((path, _)) = &last {
        checkpoint::read(path, &mut trainer)?;
    }
    run.create(&trainer.config, &trainer.data.skipped)?;
    let mut log = Log::open(&run.0.join("stats.jsonl"), trainer.step)?;
    let (start, total) = (trainer.step, trainer.total_steps());
    let mut go_on = observer(Event::Start {
        step: start,
        total,
        batch_size: trainer.config.batch_size,
        pairs: trainer.data.len(),
        articles: trainer.data.articles(),
        skipped: &trainer.data.skipped,
    });
    loop {
        let done = trainer.step >= total;
        let end = done || !go_on;
        let fresh = trainer.step > start || last.is_none();
        let due = |every: u64| fresh && (end || trainer.step.is_multiple_of(every));
        let saves = [
            trainer.config.sample_every,
            trainer.config.snapshot_every,
            trainer.config.checkpoint_every,
        ];
        if saves.into_iter().any(due) {
            drop(log.checked(trainer.step)?);
        }
        if !log.is_empty() && due(trainer.config.log_every) {
            let line = log.report(&trainer)?;
            go_on &= observer(Event::Report(&line));
        }
        if due(trainer.config.sample_every) {
            let path = run.path("samples", trainer.step, "png");
            samples::write(&path, &trainer)?;
            go_on &= observer(Event::Sample(&path));
        }
        if trainer.step > 0 && due(trainer.config.snapshot_every) {
            let path = run.path("snapshots", trainer.step, "safetensors");
            let parameters = &trainer.models.generator_parameters;
            let generator = parameters.named(&parameters.values);
            Snapshot::write(&path, &trainer.config, trainer.step, &generator)?;
            go_on &= observer(Event::Snapshot(&path));
        }
        if trainer.step > 0 && due(trainer.config.checkpoint_every) {
            let path = run.path("checkpoints", trainer.step, "safetensors");
            checkpoint::write(&path, &trainer)?;
            run.drop_older("checkpoints", &path)?;
            go_on &= observer(Event::Checkpoint(&path));
        }
        if end {
            return Ok(if done {
                Outcome::Finished
            } else {
                Outcome::Stopped
            });
        }
        if !go_on {
            continue; // an event asked to stop: once round to save
        }
        let began = Instant::now();
        let terms = match trainer.step() {
            Ok(terms) => terms,
            Err(error) => {
                // Pictures that went away cost no steps: what was learnt is kept. A failing disk must not hide the reason.
                if trainer.step > start && log.checked(trainer.step).is_ok() {
                    let path = run.path("checkpoints", trainer.step, "safetensors");
                    let saved = checkpoint::write(&path, &trainer);
                    let _ = saved.and_then(|()| run.drop_older("checkpoints", &path));
                }
                return Err(error);
            }
        };
        log.note(terms, began.elapsed());
        go_on = observer(Event::Step { step: trainer.step });
    }
}

struct Folder(PathBuf);

impl Folder {
    fn create(&self, config: &Config, skipped: &[LeftOut]) -> Result<()> {
        for name in ["samples", "snapshots", "checkpoints"] {
            let folder = self.0.join(name);
            std::fs::create_dir_all(&folder).at(&folder)?;
        }
        if !skipped.is_empty() {
            let mut rows = csv::Writer::from_writer(Vec::new());
            let line = |rows: &mut csv::Writer<_>, cells: [&str; 3]| {
                rows.write_record(cells)
                    .expect("writing to memory does not fail");
            };
            line(&mut rows, ["id", "path", "reason"]);
            for LeftOut { id, path, reason } in skipped {
                line(&mut rows, [id, &path.to_string_lossy(), reason]);
            }
            let rows = rows.into_inner().expect("writing to memory does not fail");
            write_atomically(&self.0.join("skipped.csv"), &rows)?;
        }
        write_atomically(&self.0.join("config.json"), config.to_json().as_bytes())
    }

    fn path(&self, folder: &str, step: u64, ending: &str) -> PathBuf {
        self.0.join(folder).join(format!("step_{step:08}.{ending}"))
    }

    fn drop_older(&self, folder: &str, newest: &Path) -> Result<()> {
        let folder = self.0.join(folder);
        for (path, _) in crate::storage::numbered(&folder)? {
            if path != newest {
                std::fs::remove_file(&path).at(&path)?;
            }
        }
        Ok(())
    }
}
