//! How a trainer begins: from random networks, or from those of another run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tch::Tensor;

use super::checkpoint::read;
use super::folder::checkpoints;
use super::team::Team;
use super::trainer::Trainer;
use crate::config::Config;
use crate::data::{Pairs, Plan};
use crate::error::{Error, Result};
use crate::storage::{Snapshot, numbered, packaged, read_header};

impl Trainer {
    /// Decodes the pairs and initialises the networks.
    ///
    /// # Errors
    /// [`Error::Device`] for a missing device; the errors of [`crate::data::Loader::open`].
    pub fn new(pairs: &Pairs, config: Config) -> Result<Trainer> {
        let trainer = Self::watched(pairs, config, &mut |_, _| true)?;
        Ok(trainer.expect("nobody stops it"))
    }

    /// As [`Trainer::new`]. Calls `progress` while it decodes, as [`crate::data::Loader::open`] does; returns `None` after it
    /// answered no.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn watched(
        pairs: &Pairs,
        config: Config,
        progress: &mut dyn FnMut(&Plan, usize) -> bool,
    ) -> Result<Option<Trainer>> {
        Self::together(&Team::alone(), pairs, config, progress)
    }

    /// As [`Trainer::watched`], in one of several processes that train together. The first one's settings and networks
    /// are those of all.
    ///
    /// # Errors
    /// As [`Trainer::new`]; [`Error::Peer`] with the message of another process; [`Error::Lost`].
    pub fn together(
        team: &Team,
        pairs: &Pairs,
        config: Config,
        progress: &mut dyn FnMut(&Plan, usize) -> bool,
    ) -> Result<Option<Trainer>> {
        let source = team.agreed(if team.is_first() { source(&config) } else { Ok(None) })?;
        let config = team.first_config(config)?;
        Self::beginning(team, pairs, config, source.as_deref(), progress)
    }

    /// As [`Trainer::together`] once all have the same settings, from the networks of the file `source` in place of
    /// `init_from`.
    pub(super) fn beginning(
        team: &Team,
        pairs: &Pairs,
        config: Config,
        source: Option<&Path>,
        progress: &mut dyn FnMut(&Plan, usize) -> bool,
    ) -> Result<Option<Trainer>> {
        let Some(mut trainer) = Trainer::fresh(team, pairs, config, progress)? else { return Ok(None) };
        team.agreed(source.map_or(Ok(()), |source| begin_from(source, &mut trainer)))?;
        trainer.share()?;
        Ok(Some(trainer))
    }
}

/// Finds the file that [`begin_from`] reads for a config's `init_from`: that file itself, or of a run's folder its newest
/// whole checkpoint, else its newest whole snapshot. Returns `None` without `init_from`.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Content`] for a file of another kind and for a folder without either.
pub fn source(config: &Config) -> Result<Option<PathBuf>> {
    let path = Path::new(&config.init_from);
    (!config.init_from.is_empty()).then(|| source_at(&packaged(path))).transpose()
}

fn source_at(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        let found = checkpoints(path)?.into_iter().find(|path| read(path).is_ok());
        let mut snapshots = numbered(&path.join("snapshots"), "safetensors")?.into_iter().rev().map(|(path, _)| path);
        let missing = "expected a checkpoint, a snapshot, or a run's folder with one to begin from, got none";
        let found = found.or_else(|| snapshots.find(|path| Snapshot::read(path).is_ok()));
        return found.ok_or_else(|| Error::content(path, missing));
    }
    let header = read_header(path)?;
    let format = header.get("format").map(String::as_str).unwrap_or("none");
    match format {
        "cagan.checkpoint" | "cagan.snapshot" => Ok(path.into()),
        _ => Err(Error::content(path, format!("format: expected cagan.snapshot or cagan.checkpoint, got {format}"))),
    }
}

/// Gives a fresh trainer the networks of another run: both of a checkpoint, or the generator of a snapshot. Its
/// optimisers start anew. Networks of smaller pictures grow.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Content`] for a file that is neither, or of networks of another shape.
fn begin_from(path: &Path, trainer: &mut Trainer) -> Result<()> {
    let models = &mut trainer.models;
    let at_path = |error: Error| Error::content(path, error.to_string());
    match read(path) {
        Ok(file) => {
            let (generator, discriminator) = (file.part("generator."), file.part("discriminator."));
            check_size(path, &generator, &trainer.stage)?;
            models.generator.parameters.grow(&generator).map_err(at_path)?;
            models.discriminator.parameters.load(&discriminator).map_err(at_path)?;
            // Without them its first estimates of the weights' norms would be those of other weights.
            let vectors = file.part("discriminator_vectors.");
            if let (Some(own), false) = (&models.discriminator.parameters.vectors, vectors.is_empty()) {
                own.fill(&own.values, &vectors).map_err(at_path)?;
            }
        }
        // A file that is no checkpoint may be a snapshot. If it is neither, the message is the snapshot reader's.
        Err(Error::Content { .. }) => {
            let generator = Snapshot::read(path)?.generator;
            check_size(path, &generator, &trainer.stage)?;
            models.generator.parameters.grow(&generator).map_err(at_path)?;
        }
        Err(error) => return Err(error),
    }
    trainer.restart_average();
    Ok(())
}

/// Checks that a generator is of pictures no larger than those that the run begins with.
fn check_size(path: &Path, generator: &HashMap<String, Tensor>, stage: &Config) -> Result<()> {
    let finer = stage.architecture.enlargements(stage.image_size);
    let level = |number: u32| generator.contains_key(&format!("painter.finer.{number}.out.weight"));
    if !level(finer) {
        return Ok(());
    }
    let [h, w] = stage.image_size;
    let by = 1 << (finer..).take_while(|number| level(*number)).count();
    let rule =
        format!("expected a generator of pictures up to {h} x {w}, with which the run begins, got one of pictures");
    let advice = "full_size_after=0 begins with pictures of image_size";
    Err(Error::content(path, format!("{rule} {by} times as large; {advice}")))
}
