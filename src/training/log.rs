//! `stats.jsonl`: one line of means for each interval, under documented keys.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::jsonl::{append, rounded};
use super::models::Terms;
use super::team::Team;
use super::trainer::Trainer;
use crate::config::Architecture;
use crate::error::{Error, Result};

/// Collects the terms of steps on the device and writes their means.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    terms: Vec<Terms>,
    /// The number of terms that are means over all processes.
    gathered: usize,
    elapsed: Duration,
}

impl Log {
    /// Makes the log of a file, without terms.
    pub fn new(path: PathBuf) -> Log {
        Log { path, terms: Vec::new(), gathered: 0, elapsed: Duration::ZERO }
    }

    /// Writes to another file from now on.
    pub fn move_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Adds the terms of a step.
    pub fn note(&mut self, terms: Terms, elapsed: Duration) {
        self.terms.push(terms);
        self.elapsed += elapsed;
    }

    /// Drops the terms since the last report.
    pub fn clear(&mut self) {
        self.terms.clear();
        self.gathered = 0;
        self.elapsed = Duration::ZERO;
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Replaces the terms since the last call by their means over the batches of all processes. All of them call it at
    /// the same steps.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn gather(&mut self, team: &Team) -> Result<()> {
        let new = &self.terms[self.gathered..];
        if team.is_alone() || new.is_empty() {
            return Ok(());
        }
        let values: Vec<&Tensor> = new.iter().map(|terms| &terms.values).collect();
        let mut table = Tensor::stack(&values, 0).to_device(tch::Device::Cpu);
        team.average(&mut table)?;
        for (row, values) in values.into_iter().enumerate() {
            values.shallow_clone().copy_(&table.get(row as i64));
        }
        self.gathered = self.terms.len();
        Ok(())
    }

    /// Returns the log keys of the terms, none before the first step.
    fn names(&self) -> &[&'static str] {
        self.terms.first().map_or(&[], |terms| &terms.names)
    }

    /// Fetches the terms since the last report, `[steps, terms]`. Call it before anything is saved: diverged weights
    /// must not replace good ones.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first term and step that is not finite.
    pub fn checked(&self, step: u64) -> Result<Tensor> {
        if self.terms.is_empty() {
            return Ok(Tensor::zeros([0, 0], (Kind::Float, tch::Device::Cpu)));
        }
        let values: Vec<&Tensor> = self.terms.iter().map(|terms| &terms.values).collect();
        let table = Tensor::stack(&values, 0).to_device(tch::Device::Cpu);
        let steps = self.terms.len();
        for row in 0..steps {
            for (column, term) in self.names().iter().enumerate() {
                let value = table.double_value(&[row as i64, column as i64]);
                if !value.is_finite() {
                    let step = step - (steps - row) as u64 + 1;
                    return Err(Error::NonFinite { term: (*term).into(), value, step });
                }
            }
        }
        Ok(table)
    }

    /// Fetches the terms since the last report, appends their means as a line and returns it. After an error the next
    /// line includes these terms.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first term and step that is not finite; [`Error::Io`].
    pub fn report(&mut self, trainer: &Trainer) -> Result<Map<String, Value>> {
        let fetching = Instant::now();
        let table = self.checked(trainer.step)?;
        let steps = self.terms.len();
        let step_s = (self.elapsed + fetching.elapsed()).as_secs_f64() / steps as f64;
        let images_seen = trainer.images_seen();
        let mut line = Map::new();
        line.insert("step".into(), json!(trainer.step));
        line.insert("images_seen".into(), json!(images_seen));
        let epoch = images_seen as f64 / trainer.data.len() as f64;
        line.insert("epoch".into(), json!(rounded(epoch)));
        if trainer.config.sizes().len() > 1 {
            line.insert("height".into(), json!(trainer.height_of(trainer.step.saturating_sub(1))));
        }
        let means = table.mean_dim(0, false, Kind::Double);
        for (column, term) in self.names().iter().enumerate() {
            line.insert((*term).into(), json!(rounded(means.double_value(&[column as i64]))));
        }
        line.insert("time/step_s".into(), json!(rounded(step_s)));
        if trainer.config.architecture == Architecture::Kisekae {
            let all: Duration = self.terms.iter().map(|terms| terms.registration).sum();
            line.insert("time/registration_s".into(), json!(rounded(all.as_secs_f64() / steps as f64)));
        }
        let rate = trainer.config.batch_size as f64 / step_s;
        line.insert("time/images_per_s".into(), json!(rounded(rate)));
        append(&self.path, &line)?;
        self.clear();
        Ok(line)
    }
}
