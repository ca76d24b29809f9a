//! A run's folder.
//!
//! ```text
//! run_dir/config.json                     the resolved config
//! run_dir/skipped.csv                     the pairs that could not be read, if any
//! run_dir/resumes.jsonl                   a line for each time that the run went on from a checkpoint
//! run_dir/stats.jsonl                     a line of means every `log_every` steps
//! run_dir/monitor.jsonl                   a line every `monitor_every` steps
//! run_dir/samples/step_*.png              grids of fixed triplets
//! run_dir/snapshots/step_*.safetensors    generators, for use
//! run_dir/snapshots/best.safetensors      the generator of the monitor's lowest score
//! run_dir/checkpoints/step_*.safetensors  the state to go on from
//! run_dir/failed.safetensors              the state of a run that diverged, in a checkpoint's format
//! run_dir/.lock                           held by the process that trains
//! ```

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::jsonl;
use super::trainer::Trainer;
use crate::config::Config;
use crate::data::LeftOut;
use crate::error::{AtPath, Error, Result};
use crate::storage::{Snapshot, numbered, remove_leftovers, write_atomically};

/// The names in a run's folder, which this process holds until the value is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder and takes its lock. The system releases the lock however the process ends.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds it; [`Error::Io`] with the path.
    pub fn open(path: &Path) -> Result<Folder> {
        std::fs::create_dir_all(path).at(path)?;
        let file = path.join(".lock");
        let lock = File::create(&file).at(&file)?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.into() }),
            Err(TryLockError::Error(error)) => Err(error).at(&file),
        }
    }

    /// Writes `config.json` and `skipped.csv`, makes the folders below and removes unfinished files.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn create(&self, config: &Config, skipped: &[LeftOut]) -> Result<()> {
        for name in ["samples", "snapshots", "checkpoints"] {
            let folder = self.path.join(name);
            std::fs::create_dir_all(&folder).at(&folder)?;
            remove_leftovers(&folder)?;
        }
        remove_leftovers(&self.path)?;
        if !skipped.is_empty() {
            write_atomically(&self.path.join("skipped.csv"), &table(skipped))?;
        }
        write_atomically(&self.path.join("config.json"), config.to_json().as_bytes())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn stats(&self) -> PathBuf {
        self.path.join("stats.jsonl")
    }

    pub fn looks(&self) -> PathBuf {
        self.path.join("monitor.jsonl")
    }

    pub fn sample(&self, step: u64) -> PathBuf {
        self.numbered("samples", step, "png")
    }

    pub fn snapshot(&self, step: u64) -> PathBuf {
        self.numbered("snapshots", step, "safetensors")
    }

    pub fn best(&self) -> PathBuf {
        self.path.join("snapshots/best.safetensors")
    }

    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.numbered("checkpoints", step, "safetensors")
    }

    pub fn failed(&self) -> PathBuf {
        self.path.join("failed.safetensors")
    }

    fn numbered(&self, folder: &str, step: u64, ending: &str) -> PathBuf {
        self.path.join(folder).join(format!("step_{step:08}.{ending}"))
    }

    /// Lists the checkpoints, newest first.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn checkpoints(&self) -> Result<Vec<PathBuf>> {
        let found = numbered(&self.path.join("checkpoints"))?;
        Ok(found.into_iter().rev().map(|(path, _)| path).collect())
    }

    /// Removes all but the newest `keep` of the checkpoints up to `step`. Later ones are damaged: the run went on from
    /// an older one.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn drop_older(&self, step: u64, keep: usize) -> Result<()> {
        let found = numbered(&self.path.join("checkpoints"))?;
        let mut older = found.iter().rev().filter(|(_, of)| *of <= step).skip(keep);
        older.try_for_each(|(path, _)| std::fs::remove_file(path).at(path))
    }

    /// Writes the generator that snapshots are of.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn write_snapshot(&self, path: &Path, trainer: &Trainer) -> Result<()> {
        let parameters = &trainer.models.generator.parameters;
        let generator = parameters.named(&trainer.averaged());
        Snapshot::write(path, &trainer.config, trainer.step, &generator)
    }

    /// Appends a line to `resumes.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn note_resume(&self, step: u64) -> Result<()> {
        let line: Map<String, Value> = Map::from_iter([("step".to_owned(), step.into())]);
        jsonl::append(&self.path.join("resumes.jsonl"), &line)
    }
}

/// The text of `skipped.csv`.
fn table(skipped: &[LeftOut]) -> Vec<u8> {
    let mut rows = csv::Writer::from_writer(Vec::new());
    let mut line = |cells: [&str; 3]| rows.write_record(cells).expect("writing to memory does not fail");
    line(["id", "path", "reason"]);
    for LeftOut { id, path, reason } in skipped {
        line([id, &path.to_string_lossy(), reason]);
    }
    rows.into_inner().expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_checkpoints_up_to_a_step_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        std::fs::create_dir(place.path().join("checkpoints")).unwrap();
        for step in 1..=5 {
            File::create(folder.checkpoint(step)).unwrap();
        }
        folder.drop_older(3, 2).unwrap();
        assert_eq!(folder.checkpoints().unwrap(), [5, 4, 3, 2].map(|step| folder.checkpoint(step)));
    }

    #[test]
    fn a_folder_is_held_once() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert!(matches!(Folder::open(place.path()), Err(Error::Busy { .. })));
        drop(folder);
        Folder::open(place.path()).unwrap();
    }
}
