//! Snapshots: a generator and its config, for swapping.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use tch::{Kind, Tensor};

use super::tensors::{Format, TensorFile, parse_tensors, read_tensors, tensor_bytes, write_tensors};
use crate::config::{Architecture, Config};
use crate::error::{Error, Result};

const FORMAT: Format = Format { name: "cagan.snapshot", version: "2" };

/// A generator's weights by state-dict name, with the config of their training.
#[derive(Debug)]
pub struct Snapshot {
    /// The config of the training.
    pub config: Config,
    /// The step of the weights.
    pub step: u64,
    /// The weights by state-dict name.
    pub generator: HashMap<String, Tensor>,
}

impl Snapshot {
    /// Writes the file atomically.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn write(path: &Path, config: &Config, step: u64, generator: &[(String, Tensor)]) -> Result<()> {
        write_tensors(path, FORMAT, Self::header(config, step), generator)
    }

    /// Makes the bytes of the file that [`Snapshot::write`] writes; of half the size with [`Kind::Half`] for `kind`.
    pub fn bytes(config: &Config, step: u64, generator: &[(String, Tensor)], kind: Kind) -> Vec<u8> {
        tensor_bytes(FORMAT, Self::header(config, step), generator, kind)
            .expect("a generator's tensors have different names")
    }

    fn header(config: &Config, step: u64) -> BTreeMap<String, String> {
        BTreeMap::from([("config".to_owned(), config.to_json()), ("step".to_owned(), step.to_string())])
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Content`] for a truncated file, another version or a bad config.
    pub fn read(path: &Path) -> Result<Snapshot> {
        Self::of_file(read_tensors(path, FORMAT)?, path)
    }

    /// Parses the bytes of the file at `path` as [`Snapshot::read`] does.
    ///
    /// # Errors
    /// [`Error::Content`] as [`Snapshot::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Snapshot> {
        Self::of_file(parse_tensors(bytes, path, FORMAT)?, path)
    }

    fn of_file(file: TensorFile, path: &Path) -> Result<Snapshot> {
        let config = Config::from_json(file.entry(path, "config")?).map_err(|e| Error::content(path, e.to_string()))?;
        let step = file.number(path, "step")?;
        let generator: HashMap<_, _> = file.tensors.into_iter().collect();
        refuse_earlier(path, &config, config.image_size, &generator)?;
        Ok(Snapshot { config, step, generator })
    }
}

/// Refuses a generator of an earlier design of kisekae, whose tensors have other names. `size` is that of the pictures
/// that it has grown to.
///
/// # Errors
/// [`Error::Content`], which names `path` and a tensor that is missing.
pub fn refuse_earlier(path: &Path, config: &Config, size: [i64; 2], generator: &HashMap<String, Tensor>) -> Result<()> {
    let larger = config.architecture.enlargements(size) > 0;
    for (tensors, needed) in [("frames.person.", true), ("painter.finer.", larger)] {
        let newest = !needed || generator.keys().any(|name| name.starts_with(tensors));
        if config.architecture == Architecture::Kisekae && !newest {
            let got = "one of an earlier design of kisekae: the version that wrote it reads it";
            return Err(Error::content(path, format!("expected a generator with tensors {tensors}*, got {got}")));
        }
    }
    Ok(())
}
