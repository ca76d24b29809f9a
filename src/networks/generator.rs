//! The generator of any config.

use tch::Tensor;

use super::kisekae;
use super::parameters::Path;
use super::published::{paper, vasily};
use super::swap::{Swap, composite};
use crate::config::{Architecture, Config};

/// G of any method.
#[derive(Debug)]
pub enum Generator {
    /// The article's.
    Vasily(vasily::Generator),
    /// The paper's.
    Paper(paper::Generator),
    /// Ours.
    Kisekae(Box<kisekae::Generator>),
}

impl Generator {
    /// Declares the generator's parameters under `path`.
    pub fn new(path: &Path, config: &Config) -> Self {
        match config.architecture {
            Architecture::Vasily => Generator::Vasily(vasily::Generator::new(path, config)),
            Architecture::Paper => Generator::Paper(paper::Generator::new(path, config)),
            Architecture::Kisekae => Generator::Kisekae(Box::new(kisekae::Generator::new(path, config))),
        }
    }

    /// Puts `target` on `human`, who wears `worn`.
    ///
    /// # Shapes
    /// All three: `[N, 3, H, W]` in the networks' value range.
    pub fn swap(&self, human: &Tensor, worn: &Tensor, target: &Tensor) -> Swap {
        let (paint, mask) = match self {
            Generator::Vasily(network) => network.forward(human, worn, target),
            Generator::Paper(network) => network.forward(human, worn, target),
            Generator::Kisekae(network) => return network.swap(human, Some(worn), target),
        };
        let composite = composite(human, &paint, &mask);
        Swap { mask, paint, composite, located: None, detail: None }
    }

    /// Makes the result of each picture independent of the others in the batch, on a CPU.
    pub fn apart(&mut self) {
        match self {
            // They are already.
            Generator::Vasily(_) | Generator::Paper(_) => {}
            Generator::Kisekae(network) => network.apart(),
        }
    }

    /// Computes what of a swap does not depend on the target. Returns `None` from a network that mixes all pictures in
    /// its first layer.
    ///
    /// # Shapes
    /// As [`Generator::swap`]. Without `worn` the worn article is not known.
    pub fn look(&self, human: &Tensor, worn: Option<&Tensor>) -> Option<kisekae::Look> {
        match self {
            Generator::Vasily(_) | Generator::Paper(_) => None,
            Generator::Kisekae(network) => Some(network.look(human, worn)),
        }
    }

    /// Puts `target` on `human`, whose look [`Generator::look`] computed. Returns `None` from a network without looks.
    ///
    /// # Shapes
    /// As [`Generator::swap`].
    pub fn dress(&self, human: &Tensor, look: kisekae::Look, target: &Tensor) -> Option<Swap> {
        match self {
            Generator::Vasily(_) | Generator::Paper(_) => None,
            Generator::Kisekae(network) => Some(network.dress(human, look, target)),
        }
    }

    /// Whether the network needs the picture of the worn article.
    pub fn needs_worn(&self) -> bool {
        match self {
            Generator::Vasily(_) | Generator::Paper(_) => true,
            Generator::Kisekae(_) => false,
        }
    }
}
