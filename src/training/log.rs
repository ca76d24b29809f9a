//! `stats.jsonl`: one line of means for each interval, under documented keys.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::step::Terms;
use super::trainer::Trainer;
use crate::error::{AtPath, Error, Result};
use crate::storage::write_atomically;

/// Collects the steps' terms on the device and writes their means.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    terms: Vec<Terms>,
    elapsed: Duration,
}

impl Log {
    /// Opens the log of a run that goes on at `step`: lines of later steps, which a crash left, are dropped.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn open(path: &Path, step: u64) -> Result<Log> {
        drop_later(path, step)?;
        Ok(Log { path: path.into(), terms: Vec::new(), elapsed: Duration::ZERO })
    }

    /// Notes one step.
    pub fn note(&mut self, terms: Terms, elapsed: Duration) {
        self.terms.push(terms);
        self.elapsed += elapsed;
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The terms' log keys, none before the first step.
    fn names(&self) -> &[&'static str] {
        self.terms.first().map_or(&[], |terms| &terms.names)
    }

    /// Fetches the terms since the last report, `[steps, terms]`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first term and step that is no number. To be called before anything is saved: what
    /// diverged must not replace what was good.
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
                    return Err(Error::NonFinite {
                        term: (*term).into(),
                        value,
                        step: step - (steps - row) as u64 + 1,
                    });
                }
            }
        }
        Ok(table)
    }

    /// Fetches the terms since the last report, appends their means as a line and returns it. If that fails, the next
    /// line is of these terms too.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first term and step that is no number; [`Error::Io`].
    pub fn report(&mut self, trainer: &Trainer) -> Result<Map<String, Value>> {
        let fetching = std::time::Instant::now();
        let table = self.checked(trainer.step)?;
        let steps = self.terms.len();
        let step_s = (self.elapsed + fetching.elapsed()).as_secs_f64() / steps as f64;
        let images_seen = trainer.images_seen();
        let mut line = Map::new();
        line.insert("step".into(), json!(trainer.step));
        line.insert("images_seen".into(), json!(images_seen));
        let epoch = images_seen as f64 / trainer.data.len() as f64;
        line.insert("epoch".into(), json!(rounded(epoch)));
        let means = table.mean_dim(0, false, Kind::Double);
        for (column, term) in self.names().iter().enumerate() {
            line.insert((*term).into(), json!(rounded(means.double_value(&[column as i64]))));
        }
        line.insert("time/step_s".into(), json!(rounded(step_s)));
        let rate = trainer.config.batch_size as f64 / step_s;
        line.insert("time/images_per_s".into(), json!(rounded(rate)));
        append(&self.path, &line)?;
        self.terms.clear();
        self.elapsed = Duration::ZERO;
        Ok(line)
    }
}

/// Drops the lines of a log that are of later steps than `step`, and a torn one.
///
/// # Errors
/// [`Error::Io`] with the path.
pub(super) fn drop_later(path: &Path, step: u64) -> Result<()> {
    let old = match path.is_file() {
        true => std::fs::read_to_string(path).at(path)?,
        false => String::new(),
    };
    let kept: String = old
        .lines()
        .filter(|line| {
            let line: Option<Value> = serde_json::from_str(line).ok();
            line.and_then(|l| l["step"].as_u64()).is_some_and(|s| s <= step)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    write_atomically(path, kept.as_bytes())
}

/// Adds a line to a log, at once and whole.
///
/// # Errors
/// [`Error::Io`] with the path; the log is then as it was.
pub(super) fn append(path: &Path, line: &Map<String, Value>) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.append(true).create(true).open(path).at(path)?;
    let length = file.metadata().at(path)?.len();
    let text = serde_json::to_string(line).expect("numbers and names") + "\n";
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        // A full disk took a part of the line, which the next one would follow. Shortening needs no room.
        let _ = file.set_len(length);
    }
    written.at(path)
}

/// Six significant digits: what a float32 holds.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().expect("a number")
}
