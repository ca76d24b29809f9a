//! A run: a trainer and its folder, from the first step or the last checkpoint to the end.
//!
//! ```text
//! run_dir/config.json            the resolved config
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
use crate::data::Pairs;
use crate::error::{AtPath, Result};
use crate::storage::{Snapshot, latest, write_atomically};

/// What happens in a run, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run begins or goes on at `step` of `total`, with the bytes that the decoded pictures take.
    Start {
        step: u64,
        total: u64,
        batch_size: usize,
        data_bytes: usize,
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
    /// The observer asked to stop; a checkpoint was written.
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
    let mut trainer = Trainer::new(pairs, config)?;
    let run = Folder(run_dir.into());
    let last = latest(&run.0.join("checkpoints"))?;
    if let Some((path, _)) = &last {
        checkpoint::read(path, &mut trainer)?;
    }
    run.create(&trainer.config)?;
    let mut log = Log::open(&run.0.join("stats.jsonl"), trainer.step)?;
    let (start, total) = (trainer.step, trainer.total_steps());
    let mut go_on = observer(Event::Start {
        step: start,
        total,
        batch_size: trainer.config.batch_size,
        data_bytes: trainer.data.bytes(),
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
        let terms = trainer.step();
        log.note(terms, began.elapsed());
        go_on = observer(Event::Step { step: trainer.step });
    }
}

struct Folder(PathBuf);

impl Folder {
    fn create(&self, config: &Config) -> Result<()> {
        for name in ["samples", "snapshots", "checkpoints"] {
            let folder = self.0.join(name);
            std::fs::create_dir_all(&folder).at(&folder)?;
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
