//! A trained generator, loaded from a snapshot.

use std::path::{Path, PathBuf};

use image::RgbImage;
use tch::Device;

use super::render::{Renderer, Swapped};
use crate::config::{Config, torch_device};
use crate::error::{Error, Result};
use crate::networks::{Generator, Parameters, use_precision};
use crate::pixels::planes;
use crate::storage::{Snapshot, latest};

/// The largest batch of the generator. It bounds memory.
const BATCH: usize = 16;

/// The pictures of one swap.
#[derive(Clone, Debug)]
pub struct Request {
    /// The photo of the person.
    pub human: RgbImage,
    /// The article that the person wears. `None` if it is not known: see [`Swapper::needs_worn`].
    pub worn: Option<RgbImage>,
    /// The article to put on.
    pub target: RgbImage,
}

/// A generator and the config of its training.
#[derive(Debug)]
pub struct Swapper {
    /// The settings of the training.
    pub config: Config,
    /// The snapshot's file.
    pub path: PathBuf,
    /// The snapshot's step.
    pub step: u64,
    /// The device of the generator.
    pub device: Device,
    generator: Generator,
    // The generator's layers are views into these.
    _parameters: Parameters,
}

impl Swapper {
    /// Loads a snapshot file, or the newest snapshot of a run folder.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist; [`Error::Content`] for a folder without snapshots, a
    /// truncated snapshot or one of another version; [`Error::Device`] for a device that libtorch does not find.
    pub fn open(path: &Path, device: &str) -> Result<Swapper> {
        let device = torch_device(device)?;
        let file = if path.is_dir() {
            let folder = path.join("snapshots");
            let missing = || Error::content(path, "expected a run folder with snapshots, got none");
            latest(&folder)?.ok_or_else(missing)?.0
        } else {
            path.to_owned()
        };
        Self::of_snapshot(Snapshot::read(&file)?, file, device)
    }

    /// Builds the generator of a snapshot that was read from `path`.
    ///
    /// # Errors
    /// [`Error::Content`] if the tensors do not fit the config's generator.
    pub fn of_snapshot(snapshot: Snapshot, path: PathBuf, device: Device) -> Result<Swapper> {
        let config = snapshot.config;
        // The config may describe networks far larger than the file.
        Parameters::check(|path| Generator::new(path, &config), &snapshot.generator)
            .map_err(|e| Error::content(&path, e.to_string()))?;
        let (generator, mut parameters) = Parameters::build(
            |path| Generator::new(path, &config),
            device,
            config.precision,
            config.seed,
            "init/generator",
        );
        (parameters.load(&snapshot.generator)).map_err(|e| Error::content(&path, e.to_string()))?;
        Ok(Swapper { config, path, step: snapshot.step, device, generator, _parameters: parameters })
    }

    /// Whether the networks need the picture of the worn article.
    pub fn needs_worn(&self) -> bool {
        self.generator.needs_worn()
    }

    /// Swaps all requests and returns the results in their order.
    ///
    /// # Errors
    /// [`Error::Setting`] for a request without `worn`, if the networks need it.
    pub fn swap(&self, requests: &[Request]) -> Result<Vec<Swapped>> {
        if self.needs_worn() && requests.iter().any(|request| request.worn.is_none()) {
            let rule = "a picture: these networks locate the worn article by it";
            return Err(Error::setting("worn", rule, "none"));
        }
        let alike = |a: &Request, b: &Request| a.worn.is_some() == b.worn.is_some();
        let parts = requests.chunk_by(alike).flat_map(|part| part.chunks(BATCH));
        Ok(parts.flat_map(|batch| self.swap_batch(batch)).collect())
    }

    /// Swaps at most [`BATCH`] requests, all with `worn` or all without.
    fn swap_batch(&self, requests: &[Request]) -> Vec<Swapped> {
        let renderer = Renderer { config: &self.config, device: self.device };
        let sides = self.config.image_size;
        let (human_fit, article_fit) = (self.config.human_fit, self.config.article_fit);
        let batch = |pictures: Vec<&RgbImage>, fit| {
            let bytes: Vec<u8> = (pictures.iter()).flat_map(|picture| planes(picture, sides, fit)).collect();
            renderer.values(&bytes, pictures.len(), sides)
        };
        let all = |pick: fn(&Request) -> &RgbImage| requests.iter().map(pick).collect();
        let (human, target) = (batch(all(|r| &r.human), human_fit), batch(all(|r| &r.target), article_fit));
        let worn: Vec<&RgbImage> = requests.iter().filter_map(|r| r.worn.as_ref()).collect();
        let _precision = use_precision(self.config.precision, self.device);
        tch::no_grad(|| {
            let swap = if worn.is_empty() {
                (self.generator.swap_without_worn(&human, &target)).expect("the network does not need it")
            } else {
                (self.generator).swap(&human, &batch(worn, article_fit), &target)
            };
            let render = |(i, request): (i64, &Request)| renderer.render(&swap, i, &request.human, &request.target);
            (0..).zip(requests).map(render).collect()
        })
    }
}
