//! The paper's networks (P): concatenated skips, and averaged copies of two of the inputs at every intermediate layer.

use tch::{Kind, Tensor};

use super::blocks::{Block, Direction, beside, copies};
use super::fused::After;
use super::parameters::{Init, Path};
use super::vasily::compute_kind;
use super::weight::Weight;
use super::{Judgement, channels_down, normed};
use crate::config::{Config, Copies};

/// P: "the last 6 channels of any intermediate layer" hold downsampled copies of human and worn.
#[derive(Debug)]
pub struct Generator {
    down: Vec<Block>,
    up: Vec<Block>,
    copies: Copies,
    kind: Kind,
}

impl Generator {
    pub fn new(path: &Path, config: &Config) -> Self {
        let width = config.width;
        let extra = match config.generator_copies {
            Copies::None => 0,
            Copies::Worn | Copies::Target => 6,
        };
        let c = [width / 8, width / 4, width / 2, width];
        let (down, up) = (path.sub("down"), path.sub("up"));
        let down_in = [9, c[0] + extra, c[1] + extra, c[2] + extra];
        let up_in = [c[3] + extra, 2 * c[2] + extra, 2 * c[1] + extra, 2 * c[0] + extra];
        let up_out = [c[2], c[1], c[0], 4];
        Generator {
            down: (0..4)
                .map(|k| {
                    let path = down.sub(k);
                    Block::new(&path, Direction::Down, [down_in[k], c[k]], k > 0, false, config)
                })
                .collect(),
            up: (0..4)
                .map(|k| {
                    let path = up.sub(k);
                    Block::new(&path, Direction::Up, [up_in[k], up_out[k]], k < 3, false, config)
                })
                .collect(),
            copies: config.generator_copies,
            kind: compute_kind(config),
        }
    }

    /// # Shapes
    /// All three: `[N, 3, H, W]` in [-1, 1]. Returns paint `[N, 3, H, W]` in [-1, 1] and mask `[N, 1, H, W]` in [0, 1].
    pub fn forward(&self, human: &Tensor, worn: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let pair = match self.copies {
            Copies::None => None,
            Copies::Worn => Some(beside(&[human, worn], self.kind)),
            Copies::Target => Some(beside(&[human, target], self.kind)),
        };
        let with_copies = |xs: &[&Tensor]| match &pair {
            None if xs.len() == 1 => xs[0].shallow_clone(),
            None => Tensor::cat(xs, 1),
            Some(pair) => {
                let copies = copies(pair, xs[0]);
                Tensor::cat(&[xs, &[&copies]].concat(), 1)
            }
        };
        let mut xs = beside(&[human, worn, target], self.kind); // [N, 9, H, W]
        let mut skips = Vec::new();
        for block in &self.down {
            let features = block.activated(&xs, After::LEAKY);
            xs = with_copies(&[&features]);
            skips.push(features);
        }
        skips.pop(); // the deepest is where the decoder starts
        for block in &self.up[..3] {
            let features = block.activated(&xs, After::default());
            xs = with_copies(&[&features, &skips.pop().expect("one skip a level")]);
        }
        let ys = self.up[3].forward(&xs).contiguous().to_kind(Kind::Float); // [N, 4, H, W]
        (ys.narrow(1, 0, 3).tanh(), ys.narrow(1, 3, 1).sigmoid())
    }
}

/// P: four convolutions and a map of logits, one for each patch.
#[derive(Debug)]
pub struct Discriminator {
    down: Vec<Block>,
    weight: Weight,
    bias: Tensor,
    copies: bool,
    kind: Kind,
}

impl Discriminator {
    pub fn new(path: &Path, config: &Config) -> Self {
        let c = channels_down(config);
        let extra = if config.discriminator_copies { 6 } else { 0 };
        let spectral = config.discriminator_spectral_norm;
        let (down, head) = (path.sub("down"), path.sub("head"));
        let down = (0..4)
            .map(|k| {
                let c_in = if k == 0 { 6 } else { c[k - 1] + extra };
                let norm = normed(config, k);
                Block::new(&down.sub(k), Direction::Down, [c_in, c[k]], norm, spectral, config)
            })
            .collect();
        Discriminator {
            down,
            weight: Weight::new(&head, &[1, c[3] + extra, 3, 3], false, spectral),
            bias: head.declare("bias", &[1], Init::Zeros, false),
            copies: config.discriminator_copies,
            kind: compute_kind(config),
        }
    }

    /// # Shapes
    /// `human`, `article`: `[N, 3, H, W]` in [-1, 1]. Returns logits `[N, 1, H / 16, W / 16]`.
    pub fn forward(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Judgement {
        let pair = beside(&[human, article], self.kind); // [N, 6, H, W]
        let mut xs = match noise {
            Some(noise) => &pair + &noise[0],
            None => pair.shallow_clone(),
        };
        let mut features = Vec::new();
        for (k, block) in self.down.iter().enumerate() {
            let noise = noise.map(|noise| &noise[k + 1]);
            let after = After { noise, ..After::LEAKY };
            xs = block.activated(&xs, after);
            features.push(xs.shallow_clone());
            if self.copies {
                xs = Tensor::cat(&[&xs, &copies(&pair, &xs)], 1);
            }
        }
        let logits = xs.conv2d(&self.weight.value(), Some(&self.bias), [1, 1], [1, 1], [1, 1], 1);
        Judgement { logits: logits.to_kind(Kind::Float), features }
    }

    /// The weights' step of power iteration.
    pub fn iterate(&self) {
        self.down.iter().for_each(Block::iterate);
        self.weight.iterate();
    }
}
