//! A checkpoint: everything needed to go on training, in one safetensors file.

use std::collections::BTreeMap;
use std::path::Path;

use super::trainer::Trainer;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::storage::{CHECKSUM, Snapshot, TensorFile, read_tensors, write_tensors};

const FORMAT: &str = "cagan.checkpoint";

/// What [`write()`] will take on disk, within a few kilobytes.
pub fn bytes(trainer: &Trainer) -> u64 {
    let buffers = trainer.buffers().into_iter();
    buffers.map(|(_, parameters, _)| 4 * parameters.count() as u64).sum()
}

/// Writes both networks, the moments, the step, the config and what the pairs were.
///
/// # Errors
/// [`Error::Io`] with the path; an older file of the name is then as it was.
pub fn write(path: &Path, trainer: &Trainer) -> Result<()> {
    let mut header = BTreeMap::from([
        ("config".to_owned(), trainer.config.to_json()),
        ("step".to_owned(), trainer.step.to_string()),
        ("slowdown".to_owned(), trainer.models.slowdown.to_string()),
        ("pairs".to_owned(), trainer.data.len().to_string()),
        ("data".to_owned(), trainer.data.fingerprint().to_owned()),
    ]);
    if let Some(monitor) = &trainer.monitor {
        let memory = serde_json::to_string(&monitor.memory).expect("plain values");
        header.insert("monitor".into(), memory);
    }
    let tensors: Vec<_> = trainer
        .buffers()
        .into_iter()
        .flat_map(|(prefix, parameters, buffer)| {
            let named = parameters.named(buffer).into_iter();
            named.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
        })
        .collect();
    write_tensors(path, FORMAT, header, &tensors)
}

/// Reads a file that [`write()`] wrote.
///
/// # Errors
/// [`Error::Content`] for a truncated or damaged file, or one of another version.
pub fn read(path: &Path) -> Result<TensorFile> {
    let file = read_tensors(path, FORMAT)?;
    file.entry(path, CHECKSUM)?;
    Ok(file)
}

/// Brings a trainer to a checkpoint's state.
///
/// # Errors
/// [`Error::Content`] for a checkpoint of a run with other settings or other pairs, which it lists.
pub fn restore(path: &Path, file: &TensorFile, trainer: &mut Trainer) -> Result<()> {
    let saved = Config::from_json(file.entry(path, "config")?).map_err(|e| Error::content(path, e.to_string()))?;
    let mut differences = trainer.config.differences(&saved);
    let pairs = file.number(path, "pairs")?;
    if pairs != trainer.data.len() as u64 {
        differences.push(format!("pairs ({pairs} there, {} here)", trainer.data.len()));
    } else if differences.is_empty() && file.entry(path, "data")? != trainer.data.fingerprint() {
        differences.push("pairs (other pictures or groups than there)".into());
    }
    if !differences.is_empty() {
        return Err(Error::content(
            path,
            format!(
                "expected a run with the same settings to go on with, got other ones: {}; \
                 take another run folder, or the old settings",
                differences.join(", ")
            ),
        ));
    }
    let slowdown = file.entry(path, "slowdown")?;
    trainer.models.slowdown =
        slowdown.parse().map_err(|_| Error::content(path, format!("slowdown: expected a number, got {slowdown}")))?;
    // A run that was not watched so far begins to be.
    if let (Some(monitor), Some(memory)) = (&mut trainer.monitor, file.header.get("monitor")) {
        monitor.memory = serde_json::from_str(memory).map_err(|e| Error::content(path, format!("monitor: {e}")))?;
    }
    trainer
        .restore(file.number(path, "step")?, |prefix| file.part(prefix))
        .map_err(|e| Error::content(path, e.to_string()))
}

/// Gives a fresh trainer the networks of another run: both of a checkpoint, the generator of a snapshot. Its optimisers
/// start anew.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Content`] for a file that is neither, or of networks of another shape.
pub fn begin_from(path: &Path, trainer: &mut Trainer) -> Result<()> {
    let models = &mut trainer.models;
    let at_path = |error: Error| Error::content(path, error.to_string());
    match read(path) {
        Ok(file) => {
            let (generator, discriminator) = (file.part("generator."), file.part("discriminator."));
            models.generator_parameters.load(&generator).map_err(at_path)?;
            models.discriminator_parameters.load(&discriminator).map_err(at_path)?;
        }
        // What is no checkpoint may be a snapshot; if it is none either, the words are the snapshot reader's.
        Err(Error::Content { .. }) => {
            let generator = Snapshot::read(path)?.generator;
            models.generator_parameters.load(&generator).map_err(at_path)?;
        }
        Err(error) => return Err(error),
    }
    trainer.restart_average();
    Ok(())
}
