//! The article's networks (A): an encoder-decoder with added skips, and a noisy discriminator with a linear head.

use tch::{Kind, Tensor};

use super::blocks::{Block, Direction, leaky_relu};
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
        let gradient = config.norm_gradient;
        Generator {
            down: (0..4)
                .map(|k| {
                    Block::new(
                        &down.sub(k),
                        Direction::Down,
                        c_in[k],
                        c[k],
                        (k > 0).then_some(gradient),
                    )
                })
                .collect(),
            up: (0..4)
                .map(|k| {
                    Block::new(
                        &up.sub(k),
                        Direction::Up,
                        c[3 - k],
                        c_out[k],
                        (k < 3).then_some(gradient),
                    )
                })
                .collect(),
            kind: compute_kind(config),
        }
    }

    /// # Shapes
    /// All three: `[N, 3, H, W]` in [0, 1]. Returns paint `[N, 3, H, W]` and mask `[N, 1, H, W]`, both in [0, 1].
    pub fn forward(&self, human: &Tensor, worn: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let mut xs = Tensor::cat(&[human, worn, target], 1).to_kind(self.kind); // [N, 9, H, W]
        let mut skips = Vec::new();
        for block in &self.down {
            xs = block.forward(&xs).relu();
            skips.push(xs.shallow_clone());
        }
        skips.pop(); // the deepest is where the decoder starts
        for block in &self.up[..3] {
            xs = block.forward(&xs).relu() + skips.pop().expect("one skip a level");
        }
        let ys = self.up[3].forward(&xs).to_kind(Kind::Float).sigmoid(); // [N, 4, H, W]
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
                Block::down(&down.sub(k), c_in, c[k], normed(config, k), spectral)
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
        let mut xs = Tensor::cat(&[human, article], 1).to_kind(self.kind); // [N, 6, H, W]
        if let Some(noise) = noise {
            xs += &noise[0];
        }
        let mut features = Vec::new();
        for (k, block) in self.down.iter().enumerate() {
            xs = block.forward(&xs);
            if let Some(noise) = noise {
                xs += &noise[k + 1];
            }
            xs = leaky_relu(&xs, 0.2);
            features.push(xs.shallow_clone());
        }
        let flat = xs.flatten(1, -1).to_kind(Kind::Float); // [N, C * H / 32 * W / 32]
        Judgement {
            logits: flat.linear(&self.weight.value(), Some(&self.bias)),
            features,
        }
    }

    /// The weights' step of power iteration.
    pub fn iterate(&self) {
        self.down.iter().for_each(Block::iterate);
        self.weight.iterate();
    }
}
