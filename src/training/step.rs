//! The method of a config: `published.rs` is that of the article and of the paper, `kisekae.rs` is ours.

use tch::Device;

use super::kisekae::Kisekae;
use super::models::{Method, Models};
use super::published::Published;
use crate::config::{Architecture, Config};
use crate::networks::PairDiscriminator;

/// Builds the networks of a config's method, initialised from its seed.
pub fn method(config: &Config, device: Device) -> (Box<dyn Method>, Models) {
    match config.architecture {
        Architecture::Vasily => boxed(Published::new(config, device, PairDiscriminator::vasily)),
        Architecture::Paper => boxed(Published::new(config, device, PairDiscriminator::paper)),
        Architecture::Kisekae => boxed(Kisekae::new(config, device)),
    }
}

fn boxed((method, models): (impl Method + 'static, Models)) -> (Box<dyn Method>, Models) {
    (Box::new(method), models)
}
