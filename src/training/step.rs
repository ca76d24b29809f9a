//! The method of a config: `published.rs` is that of the article and of the paper, `kisekae.rs` is ours.

use tch::Device;

use super::kisekae::Kisekae;
use super::models::{Method, Models};
use super::published::Published;
use super::team::Team;
use crate::config::{Architecture, Config};
use crate::networks::PairDiscriminator;

/// Builds the networks of a config's method, initialised from its seed.
pub fn method(config: &Config, device: Device, team: &Team) -> (Box<dyn Method>, Models) {
    match config.architecture {
        Architecture::Vasily => boxed(Published::new(config, device, team, PairDiscriminator::vasily)),
        Architecture::Paper => boxed(Published::new(config, device, team, PairDiscriminator::paper)),
        Architecture::Kisekae => boxed(Kisekae::new(config, device, team)),
    }
}

fn boxed((method, models): (impl Method + 'static, Models)) -> (Box<dyn Method>, Models) {
    (Box::new(method), models)
}
