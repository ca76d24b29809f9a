//! The discriminator of pairs, at one or several sizes of the pictures, and the shapes of its noise.

use tch::Tensor;

use super::{paper, vasily};
use crate::config::{Architecture, Config};
use crate::networks::judgement::Judgement;
use crate::networks::parameters::Path;

/// D of either source for pictures of one size.
#[derive(Debug)]
enum Scale {
    Vasily(vasily::Discriminator),
    Paper(paper::Discriminator),
}

impl Scale {
    fn judge(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Judgement {
        match self {
            Scale::Vasily(network) => network.forward(human, article, noise),
            Scale::Paper(network) => network.forward(human, article, noise),
        }
    }

    fn iterate(&self) {
        match self {
            Scale::Vasily(network) => network.iterate(),
            Scale::Paper(network) => network.iterate(),
        }
    }
}

/// D of either source, or several for pictures of several sizes (pix2pixHD: Wang et al. 2018, arXiv 1711.11585, section
/// 3.2).
#[derive(Debug)]
pub struct PairDiscriminator {
    scales: Vec<Scale>,
}

impl PairDiscriminator {
    /// Declares the article's discriminator under `path`. The names of several scales begin with `scale.0`, `scale.1`,
    /// ...
    pub fn vasily(path: &Path, config: &Config) -> Self {
        Self::new(path, config, |path, size| Scale::Vasily(vasily::Discriminator::new(path, config, size)))
    }

    /// Declares the paper's discriminator in the same way.
    pub fn paper(path: &Path, config: &Config) -> Self {
        Self::new(path, config, |path, _| Scale::Paper(paper::Discriminator::new(path, config)))
    }

    fn new(path: &Path, config: &Config, scale: impl Fn(&Path, [i64; 2]) -> Scale) -> Self {
        let scale = |k: u32| {
            let path = match config.discriminator_scales {
                1 => path.clone(),
                _ => path.sub("scale").sub(k),
            };
            scale(&path, config.image_size.map(|side| side >> k))
        };
        PairDiscriminator { scales: (0..config.discriminator_scales).map(scale).collect() }
    }

    /// Updates all spectral norms by one power iteration. Called once before each update.
    pub fn iterate(&self) {
        self.scales.iter().for_each(Scale::iterate);
    }

    /// Scores, as logits, whether each human and article belong together. `noise`, one tensor of [`noise_shapes`] for
    /// the input and each layer, is for training only.
    ///
    /// # Shapes
    /// `human`, `article`: `[N, 3, H, W]`. Returns `[N, 1]` (article) or `[N, 1, H / 16, W / 16]` (paper). Several
    /// scales return all their positions in one row, `[N, P]`: losses that sum over the positions then sum over the
    /// scales too, as in pix2pixHD.
    pub fn score(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Tensor {
        self.judge(human, article, noise).logits
    }

    /// Returns the logits of [`PairDiscriminator::score`] and the layers of all scales.
    pub fn judge(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Judgement {
        if let [only] = &self.scales[..] {
            return only.judge(human, article, noise);
        }
        let (mut human, mut article) = (human.shallow_clone(), article.shallow_clone());
        let mut logits = Vec::new();
        let mut features = Vec::new();
        for (k, scale) in self.scales.iter().enumerate() {
            if k > 0 {
                // pix2pixHD: averages of 3 x 3 pixels, without those outside the picture.
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

/// Returns the shapes of the discriminator's noise for `count` pairs, scale by scale: for its input and the input of
/// each activation. The discriminator of kisekae has none.
pub fn noise_shapes(config: &Config, count: i64) -> Vec<[i64; 4]> {
    let layers = match config.architecture {
        Architecture::Vasily => vasily::channels(config).to_vec(),
        Architecture::Paper => paper::channels(config).to_vec(),
        Architecture::Kisekae => return Vec::new(),
    };
    let channels = [vec![6], layers].concat();
    let [h, w] = config.image_size;
    (0..config.discriminator_scales)
        .flat_map(|scale| (scale..).zip(&channels))
        .map(|(k, c)| [count, *c, h >> k, w >> k])
        .collect()
}
