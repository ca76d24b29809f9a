//! The published networks: a generator of mask and paint, and a discriminator of pairs.

mod blocks;
mod fused;
pub mod kisekae;
mod paper;
mod parameters;
mod pyramid;
mod tf32;
mod vasily;
mod weight;

use tch::Tensor;

pub use blocks::{Block, Direction, InstanceNorm, leaky_relu};
pub use parameters::{Parameters, Path};
pub use pyramid::Pyramid;
pub use tf32::use_precision;

use crate::config::{Architecture, Config, DiscriminatorNorm};

/// One generator call: what it proposes, where, and the picture that results.
///
/// # Shapes
/// `mask`: `[N, 1, H, W]` in [0, 1], 1 = repaint. `paint`, `composite`: `[N, 3, H, W]` in the networks' value range.
#[derive(Debug)]
pub struct Swap {
    pub mask: Tensor,
    pub paint: Tensor,
    pub composite: Tensor,
    /// Where the worn article is, `[N, 1, H, W]` in [0, 1], of networks that look for it apart from what they repaint.
    pub located: Option<Tensor>,
    /// What the paint is made of, of networks that warp the article.
    pub detail: Option<Detail>,
}

/// What a warping network's paint is made of: the same mix can be made of a larger picture of the article.
///
/// # Shapes
/// `flow`: `[N, 2, H, W]`, where in the article each pixel's colour comes from, x then y, -1 to 1 between its outer
/// edges; `mix`: `[N, 1, H, W]`, the share of the warped article; `rendered`: `[N, 3, H, W]`, the rest; `placement`:
/// `[N, 1, H, W]`, where the article is to sit; `edges`: slopes and offsets of [`kisekae::along`] for where the worn
/// article is.
#[derive(Debug)]
pub struct Detail {
    pub flow: Tensor,
    pub mix: Tensor,
    pub rendered: Tensor,
    pub placement: Tensor,
    pub edges: [Tensor; 2],
}

/// mask * paint + (1 - mask) * human (A and P: x_i^j).
///
/// # Shapes
/// `human`, `paint`: `[N, 3, H, W]`; `mask`: `[N, 1, H, W]`. Returns `[N, 3, H, W]`.
///
/// ```
/// use tch::Tensor;
/// let picture = |v: f32| Tensor::from_slice(&[v; 3]).reshape([1, 3, 1, 1]);
/// let mask = Tensor::from_slice(&[0.25f32]).reshape([1, 1, 1, 1]);
/// // 0.25 * 8 + 0.75 * 4 = 5
/// assert_eq!(cagan::networks::composite(&picture(4.0), &picture(8.0), &mask), picture(5.0));
/// ```
pub fn composite(human: &Tensor, paint: &Tensor, mask: &Tensor) -> Tensor {
    human.lerp_tensor(paint, mask)
}

/// G of either source, or ours.
#[derive(Debug)]
pub enum Generator {
    Vasily(vasily::Generator),
    Paper(paper::Generator),
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

    /// The same without the worn article's picture, which the published networks cannot do without: `None`.
    ///
    /// # Shapes
    /// As [`Generator::swap`].
    pub fn swap_without_worn(&self, human: &Tensor, target: &Tensor) -> Option<Swap> {
        match self {
            Generator::Vasily(_) | Generator::Paper(_) => None,
            Generator::Kisekae(network) => Some(network.swap(human, None, target)),
        }
    }
}

/// What a discriminator says of pairs.
#[derive(Debug)]
pub struct Judgement {
    pub logits: Tensor,
    /// Every layer after its activation, `[N, C, H / 2^k, W / 2^k]`.
    pub features: Vec<Tensor>,
}

/// D of either source for pictures of one size.
#[derive(Debug)]
enum Scale {
    Vasily(vasily::Discriminator),
    Paper(paper::Discriminator),
}

/// D of either source; or several for pictures of several sizes (pix2pixHD: Wang et al. 2018, arXiv 1711.11585, section
/// 3.2).
#[derive(Debug)]
pub struct PairDiscriminator {
    scales: Vec<Scale>,
}

impl PairDiscriminator {
    /// Declares the discriminator's parameters under `path`; each of several scales has `scale.0`, `scale.1`, ...
    /// before its names.
    pub fn new(path: &Path, config: &Config) -> Self {
        let scale = |k: u32| {
            let path = match config.discriminator_scales {
                1 => path.clone(),
                _ => path.sub("scale").sub(k),
            };
            let size = config.image_size.map(|side| side >> k);
            match config.architecture {
                Architecture::Vasily => Scale::Vasily(vasily::Discriminator::new(&path, config, size)),
                Architecture::Paper => Scale::Paper(paper::Discriminator::new(&path, config)),
                Architecture::Kisekae => unreachable!("its discriminator is of regions"),
            }
        };
        PairDiscriminator { scales: (0..config.discriminator_scales).map(scale).collect() }
    }

    /// The step of power iteration of all weights that are divided by their spectral norm: once before each update.
    pub fn iterate(&self) {
        for scale in &self.scales {
            match scale {
                Scale::Vasily(network) => network.iterate(),
                Scale::Paper(network) => network.iterate(),
            }
        }
    }

    /// Whether each human and article belong together, as logits. `noise`, one tensor of [`noise_shapes`] for the input
    /// and each layer, is for training only.
    ///
    /// # Shapes
    /// `human`, `article`: `[N, 3, H, W]`. Returns `[N, 1]` (article) or `[N, 1, H / 16, W / 16]` (paper); all
    /// positions of several scales in one row, `[N, P]`, so that losses which sum over the positions sum over the
    /// scales too, as pix2pixHD does.
    pub fn score(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Tensor {
        self.judge(human, article, noise).logits
    }

    /// The same with what the layers of all scales made of the pairs.
    pub fn judge(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Judgement {
        if let [only] = &self.scales[..] {
            return only.judge(human, article, noise);
        }
        let (mut human, mut article) = (human.shallow_clone(), article.shallow_clone());
        let mut logits = Vec::new();
        let mut features = Vec::new();
        for (k, scale) in self.scales.iter().enumerate() {
            if k > 0 {
                // pix2pixHD: of 3 x 3 pixels, what lies outside not counted.
                [human, article] = [human, article].map(|xs| xs.avg_pool2d([3, 3], [2, 2], [1, 1], false, false, None));
            }
            let noise = noise.map(|noise| {
                let layers = noise.len() / self.scales.len();
                &noise[k * layers..][..layers]
            });
            let judged = scale.judge(&human, &article, noise);
            logits.push(judged.logits.flatten(1, -1)); // [N, positions]
            features.extend(judged.features);
        }
        Judgement { logits: Tensor::cat(&logits, 1), features }
    }
}

/// Any preset's discriminator.
#[derive(Debug)]
pub enum Discriminator {
    /// Of pairs, as both sources have it.
    Pairs(PairDiscriminator),
    /// Of painted regions.
    Regions(kisekae::Judge),
}

impl Discriminator {
    /// Declares the discriminator's parameters under `path`.
    pub fn new(path: &Path, config: &Config) -> Self {
        match config.architecture {
            Architecture::Vasily | Architecture::Paper => Discriminator::Pairs(PairDiscriminator::new(path, config)),
            Architecture::Kisekae => Discriminator::Regions(kisekae::Judge::new(path, config)),
        }
    }
}

impl Scale {
    fn judge(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Judgement {
        match self {
            Scale::Vasily(network) => network.forward(human, article, noise),
            Scale::Paper(network) => network.forward(human, article, noise),
        }
    }
}

/// The shapes of the discriminator's noise for `count` pairs: its input and the input of each activation, scale by
/// scale.
pub fn noise_shapes(config: &Config, count: i64) -> Vec<[i64; 4]> {
    let [h, w] = config.image_size;
    let mut channels = vec![6];
    channels.extend(channels_down(config));
    (0..config.discriminator_scales)
        .flat_map(|scale| (scale..).zip(&channels))
        .map(|(k, c)| [count, *c, h >> k, w >> k])
        .collect()
}

/// Channels of the discriminator's convolutions.
fn channels_down(config: &Config) -> Vec<i64> {
    let width = config.width;
    match config.architecture {
        Architecture::Vasily => vec![width / 8, width / 4, width / 2, width, width],
        Architecture::Paper => vec![width / 8, width / 4, width / 2, width],
        Architecture::Kisekae => unreachable!("its discriminator is of regions"),
    }
}

/// The norm of a layer of the discriminator: all but the first have one, or none has.
fn normed(config: &Config, layer: usize) -> bool {
    layer > 0 && config.discriminator_norm == DiscriminatorNorm::Instance
}
