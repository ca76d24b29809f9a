//! The article's networks (A): an encoder-decoder with added skips, and a noisy discriminator with a linear head.

use tch::{Kind, Tensor};

use super::blocks::{Block, Direction, beside};
use super::fused::After;
use super::parameters::{Init, Path};
use super::weight::Weight;
use super::{Judgement, channels_down, normed};
use crate::config::{Config, Precision};

/// The number format of a network's activations.
pub(super) fn compute_kind(config: &Config) -> Kind {
    match config.precision {
        Precision::Fp32 | Precision::Tf32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
    }
}

/// A: four convolutions down, four up, the encoder's outputs added, sigmoid on all four channels.
#[derive(Debug)]
pub struct Generator {
    down: Vec<Block>,
    up: Vec<Block>,
    kind: Kind,
}

impl Generator {
    pub fn new(path: &Path, config: &Config) -> Self {
        let width = config.width;
        let c = [width / 8, width / 4, width / 2, width];
        let (down, up) = (path.sub("down"), path.sub("up"));
        let c_in = [9, c[0], c[1], c[2]];
        let c_out = [c[2], c[1], c[0], 4];
        Generator {
            down: (0..4)
                .map(|k| {
                    let path = down.sub(k);
                    Block::new(&path, Direction::Down, [c_in[k], c[k]], k > 0, false, config)
                })
                .collect(),
            up: (0..4)
                .map(|k| {
                    let path = up.sub(k);
                    Block::new(&path, Direction::Up, [c[3 - k], c_out[k]], k < 3, false, config)
                })
                .collect(),
            kind: compute_kind(config),
        }
    }

    /// # Shapes
    /// All three: `[N, 3, H, W]` in [0, 1]. Returns paint `[N, 3, H, W]` and mask `[N, 1, H, W]`, both in [0, 1].
    pub fn forward(&self, human: &Tensor, worn: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let mut xs = beside(&[human, worn, target], self.kind); // [N, 9, H, W]
        let mut skips = Vec::new();
        for block in &self.down {
            xs = block.activated(&xs, After::default());
            skips.push(xs.shallow_clone());
        }
        skips.pop(); // the deepest is where the decoder starts
        for block in &self.up[..3] {
            let skip = skips.pop().expect("one skip a level");
            let after = After { skip: Some(&skip), ..After::default() };
            xs = block.activated(&xs, after);
        }
        let ys = self.up[3].forward(&xs).contiguous().to_kind(Kind::Float).sigmoid(); // [N, 4, H, W]
        (ys.narrow(1, 0, 3), ys.narrow(1, 3, 1))
    }
}

/// A: five convolutions and a linear head; gaussian noise on the input and before each activation, in training only.
#[derive(Debug)]
pub struct Discriminator {
    down: Vec<Block>,
    weight: Weight,
    bias: Tensor,
    kind: Kind,
}

impl Discriminator {
    /// For pictures of `size`, height and width.
    pub fn new(path: &Path, config: &Config, size: [i64; 2]) -> Self {
        let c = channels_down(config);
        let spectral = config.discriminator_spectral_norm;
        let (down, head) = (path.sub("down"), path.sub("head"));
        let down = (0..5)
            .map(|k| {
                let c_in = if k == 0 { 6 } else { c[k - 1] };
                let norm = normed(config, k);
                Block::new(&down.sub(k), Direction::Down, [c_in, c[k]], norm, spectral, config)
            })
            .collect();
        let features = c[4] * size.map(|side| side / 32).iter().product::<i64>();
        Discriminator {
            down,
            weight: Weight::new(&head, &[1, features], true, spectral),
            bias: head.declare("bias", &[1], Init::Zeros, true),
            kind: compute_kind(config),
        }
    }

    /// # Shapes
    /// `human`, `article`: `[N, 3, H, W]` in [0, 1]. Returns logits `[N, 1]`.
    pub fn forward(&self, human: &Tensor, article: &Tensor, noise: Option<&[Tensor]>) -> Judgement {
        let mut xs = beside(&[human, article], self.kind); // [N, 6, H, W]
        if let Some(noise) = noise {
            xs += &noise[0];
        }
        let mut features = Vec::new();
        for (k, block) in self.down.iter().enumerate() {
            let noise = noise.map(|noise| &noise[k + 1]);
            let after = After { noise, ..After::LEAKY };
            xs = block.activated(&xs, after);
            features.push(xs.shallow_clone());
        }
        let flat = xs.flatten(1, -1).to_kind(Kind::Float); // [N, C * H / 32 * W / 32]
        Judgement { logits: flat.linear(&self.weight.value(), Some(&self.bias)), features }
    }

    /// The weights' step of power iteration.
    pub fn iterate(&self) {
        self.down.iter().for_each(Block::iterate);
        self.weight.iterate();
    }
}
