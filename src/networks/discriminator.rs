//! The discriminator of any config.

use super::kisekae;
use super::parameters::Path;
use super::published::PairDiscriminator;
use crate::config::{Architecture, Config};

/// D of the published methods, or ours.
#[derive(Debug)]
pub enum Discriminator {
    /// Judges whether a human and an article belong together.
    Pairs(PairDiscriminator),
    /// Judges whether a picture looks like a photo in which an article is worn.
    Regions(kisekae::Judge),
}

impl Discriminator {
    /// Declares the discriminator's parameters under `path`.
    pub fn new(path: &Path, config: &Config) -> Self {
        match config.architecture {
            Architecture::Vasily => Discriminator::Pairs(PairDiscriminator::vasily(path, config)),
            Architecture::Paper => Discriminator::Pairs(PairDiscriminator::paper(path, config)),
            Architecture::Kisekae => Discriminator::Regions(kisekae::Judge::new(path, config)),
        }
    }
}
