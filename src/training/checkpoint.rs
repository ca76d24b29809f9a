//! A checkpoint: everything needed to go on training, in one safetensors file.

use std::collections::BTreeMap;
use std::path::Path;

use super::folder::checkpoints;
use super::monitor::Memory;
use super::trainer::Trainer;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::storage::{CHECKSUM, Format, TensorFile, read_header, read_tensors, refuse_earlier, write_tensors};

const FORMAT: Format = Format { name: "cagan.checkpoint", version: "3" };

/// The header entries of both optimisers' counters.
const COUNTERS: [&str; 2] = ["generator_adam.steps", "discriminator_adam.steps"];

/// The header entry of the present size of the pictures, in runs of several sizes.
const SIZE: &str = "image_size";

/// Returns the size of a checkpoint on disk, within a few kilobytes.
pub fn bytes(trainer: &Trainer) -> u64 {
    let buffers = trainer.buffers().into_iter();
    buffers.map(|(_, parameters, _)| 4 * parameters.count() as u64).sum()
}

/// Writes both networks, their optimisers, the step, the config, a fingerprint of the pairs and the monitor's memory.
///
/// # Errors
/// [`Error::Io`] with the path; an older file of that name is then unchanged.
pub fn write(path: &Path, trainer: &Trainer, memory: Option<&Memory>) -> Result<()> {
    let models = &trainer.models;
    let mut header = BTreeMap::from([
        ("config".to_owned(), trainer.config.to_json()),
        ("step".to_owned(), trainer.step.to_string()),
        ("slowdown".to_owned(), models.slowdown.to_string()),
        ("pairs".to_owned(), trainer.data.len().to_string()),
        ("data".to_owned(), trainer.data.fingerprint().to_owned()),
    ]);
    for (name, learner) in COUNTERS.into_iter().zip([&models.generator, &models.discriminator]) {
        header.insert(name.into(), learner.adam.steps().to_string());
    }
    if trainer.config.sizes().len() > 1 {
        header.insert(SIZE.into(), serde_json::to_string(&trainer.stage.image_size).expect("two numbers"));
    }
    if let Some(memory) = memory {
        header.insert("monitor".into(), serde_json::to_string(memory).expect("plain values"));
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

/// Reads a file of [`write()`].
///
/// # Errors
/// [`Error::Content`] for a truncated or damaged file, or one of another version.
pub fn read(path: &Path) -> Result<TensorFile> {
    let file = read_tensors(path, FORMAT)?;
    file.entry(path, CHECKSUM)?;
    Ok(file)
}

/// Brings a trainer, and the monitor's memory, to the state of a checkpoint. The memory is unchanged if the run had no
/// monitor so far.
///
/// # Errors
/// [`Error::Content`] for a checkpoint of a run with other settings or other pairs, which the message lists.
pub fn restore(path: &Path, file: &TensorFile, trainer: &mut Trainer, memory: Option<&mut Memory>) -> Result<()> {
    let (config, saved) = settled(path, &file.header, &trainer.config)?;
    let mut differences = config.differences(&saved);
    let pairs = file.number(path, "pairs")?;
    if pairs != trainer.data.len() as u64 {
        differences.push(format!("pairs ({pairs} there, {} here)", trainer.data.len()));
    } else if differences.is_empty() && file.entry(path, "data")? != trainer.data.fingerprint() {
        differences.push("pairs (other pictures or groups than there)".into());
    }
    same(path, &differences)?;
    let slowdown = file.entry(path, "slowdown")?;
    let slowdown =
        slowdown.parse().map_err(|_| Error::content(path, format!("slowdown: expected a number, got {slowdown}")))?;
    let step = file.number(path, "step")?;
    let [generator, discriminator] = COUNTERS.map(|name| file.number(path, name));
    let counters = [generator?, discriminator?];
    if let (Some(memory), Some(saved)) = (memory, file.header.get("monitor")) {
        *memory = serde_json::from_str(saved).map_err(|e| Error::content(path, format!("monitor: {e}")))?;
    }
    let size = match file.header.get(SIZE) {
        None => trainer.config.image_size,
        Some(text) => {
            let size = serde_json::from_str(text).ok();
            let size = size.filter(|size| trainer.config.sizes().iter().any(|(own, _)| own == size));
            size.ok_or_else(|| {
                Error::content(path, format!("image_size: expected one of the run's sizes, got {text}"))
            })?
        }
    };
    refuse_earlier(path, &trainer.config, size, &file.part("generator."))?;
    trainer.resize(size);
    trainer.fill(|prefix| file.part(prefix)).map_err(|e| Error::content(path, e.to_string()))?;
    trainer.step = step;
    let models = &mut trainer.models;
    models.slowdown = slowdown;
    for (steps, learner) in counters.into_iter().zip([&mut models.generator, &mut models.discriminator]) {
        learner.adam.set_steps(steps);
    }
    Ok(())
}

/// Returns the steps between two looks in the run of a checkpoint.
///
/// # Errors
/// [`Error::Content`] for a damaged config.
pub fn monitor_every(path: &Path, file: &TensorFile) -> Result<u64> {
    let config = Config::from_json(file.entry(path, "config")?).map_err(|e| Error::content(path, e.to_string()))?;
    Ok(config.monitor_every)
}

/// Checks the settings of a run's newest whole checkpoint, before anything is loaded. Reads headers alone, unless it
/// refuses. Returns the settings with the run's own stages.
///
/// # Errors
/// [`Error::Content`] for a run with other settings, which the message lists.
pub fn check_settings(run_dir: &Path, config: Config) -> Result<Config> {
    for path in checkpoints(run_dir)? {
        let Ok(header) = read_header(&path) else { continue };
        let settled = settled(&path, &header, &config);
        match settled.as_ref().map(|(config, saved)| config.differences(saved)) {
            Ok(found) if found.is_empty() => return Ok(settled?.0),
            // A damaged header is no refusal.
            Ok(found) if read(&path).is_ok() => same(&path, &found)?,
            Err(_) if read(&path).is_ok() => return Ok(settled?.0),
            _ => {}
        }
    }
    Ok(config)
}

/// The settings with the stages of a checkpoint's run, and that run's own.
fn settled(path: &Path, header: &BTreeMap<String, String>, config: &Config) -> Result<(Config, Config)> {
    let entry = |key: &str| {
        header.get(key).ok_or_else(|| Error::content(path, format!("expected `{key}` in the header, got none")))
    };
    let saved = Config::from_json(entry("config")?).map_err(|e| Error::content(path, e.to_string()))?;
    let pairs = entry("pairs")?;
    let pairs =
        pairs.parse().map_err(|_| Error::content(path, format!("pairs: expected a whole number, got {pairs}")))?;
    // A setting that is newer than the file may be a share of the length.
    let saved = saved.resolved(pairs).map_err(|e| Error::content(path, e.to_string()))?;
    Ok((config.settled(&saved, pairs), saved))
}

fn same(path: &Path, differences: &[String]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    /// Differences that the message names.
    const NAMED: usize = 3;
    let more = match differences.len() {
        0..=NAMED => String::new(),
        all => format!(" and {} more", all - NAMED),
    };
    let run_dir = path.parent().and_then(Path::parent).unwrap_or(path);
    Err(Error::content(
        path,
        format!(
            "expected a run with the same settings to go on with, got other ones: {}{more}; take the old settings, or another \
             run folder; to begin there from this run's weights: init_from={:?}",
            differences[..differences.len().min(NAMED)].join(", "),
            run_dir.display().to_string(),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use crate::data::{Options, Pairs};
    use serde_json::json;

    /// As after a loss of larger pictures that is not finite.
    #[test]
    fn a_grown_trainer_goes_back_to_a_checkpoint_of_smaller_pictures() {
        let folder = tempfile::tempdir().unwrap();
        crate::dolls::write(folder.path(), 3, 1, [96, 96], 0).unwrap();
        let pairs = Pairs::open(folder.path(), &Options::default()).unwrap();
        let settings = json!({"image_size": 96, "width": 32, "batch_size": 2, "full_size_after": 4, "steps": 9});
        let mut trainer = Trainer::new(&pairs, Config::with(Preset::Kisekae, settings).unwrap()).unwrap();
        trainer.step().unwrap();
        let paths = ["first", "again", "second", "third"].map(|name| folder.path().join(name));
        write(&paths[0], &trainer, None).unwrap();
        let size = |trainer: &Trainer| (trainer.step, trainer.stage.image_size);
        assert_eq!(size(&trainer), (1, [48, 48]));
        trainer.step().unwrap();
        assert_eq!(size(&trainer), (2, [96, 96]));
        write(&paths[2], &trainer, None).unwrap();
        restore(&paths[0], &read(&paths[0]).unwrap(), &mut trainer, None).unwrap();
        assert_eq!(size(&trainer), (1, [48, 48]));
        write(&paths[1], &trainer, None).unwrap();
        trainer.step().unwrap();
        write(&paths[3], &trainer, None).unwrap();
        let bytes = paths.each_ref().map(|path| std::fs::read(path).unwrap());
        assert!(bytes[0] == bytes[1] && bytes[2] == bytes[3]);
        // Of the design before, whose second frame had the same shapes.
        let mut file = read(&paths[0]).unwrap();
        for (name, _) in &mut file.tensors {
            *name = name.replace("frames.person.", "frames.body.");
        }
        let error = restore(&paths[0], &file, &mut trainer, None).unwrap_err().to_string();
        assert!(error.contains("earlier design") && error.contains("first"), "{error}");
    }
}
