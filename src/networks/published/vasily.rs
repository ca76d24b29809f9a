//! The article's networks (A): an encoder-decoder with added skips, and a noisy discriminator with a linear head.

use tch::{Kind, Tensor};

use super::blocks::{Block, Row};
use crate::config::Config;
use crate::networks::conv::beside;
use crate::networks::judgement::Judgement;
use crate::networks::parameters::{Init, Path, ReadAs};
use crate::networks::plain::After;
use crate::networks::weight::{Weight, WeightNorm};

/// A: four convolutions down, four up, the encoder's outputs added, sigmoid on all four channels.
#[derive(Debug)]
pub struct Generator {
    down: [Block; 4],
    up: [Block; 4],
    kind: Kind,
}

impl Generator {
    /// State-dict names `down.<level>.*` and `up.<level>.*`.
    pub fn new(path: &Path, config: &Config) -> Self {
        let width = config.width;
        let c = [width / 8, width / 4, width / 2, width];
        let down =
            [Row::down(9, c[0]).without_norm(), Row::down(c[0], c[1]), Row::down(c[1], c[2]), Row::down(c[2], c[3])];
        let up = [Row::up(c[3], c[2]), Row::up(c[2], c[1]), Row::up(c[1], c[0]), Row::up(c[0], 4).without_norm()];
        Generator {
            down: Block::table(&path.sub("down"), down, config),
            up: Block::table(&path.sub("up"), up, config),
            kind: config.precision.kind(),
        }
    }

    /// # Shapes
    /// All three: `[N, 3, H, W]` in [0, 1]. Returns paint `[N, 3, H, W]` and mask `[N, 1, H, W]`, both in [0, 1].
    pub fn forward(&self, human: &Tensor, worn: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let mut xs = beside(&[human, worn, target], self.kind); // [N, 9, H, W]
        let mut skips = Vec::new();
        for block in &self.down {
            xs = block.activated(&xs, After::RELU);
            skips.push(xs.shallow_clone());
        }
        skips.pop(); // the deepest is the decoder's input
        let [up @ .., out] = &self.up;
        for block in up {
            let skip = skips.pop().expect("one skip a level");
            xs = block.activated(&xs, After { skip: Some(&skip), ..After::RELU });
        }
        let ys = out.convolved(&xs).contiguous().to_kind(Kind::Float).sigmoid(); // [N, 4, H, W]
        (ys.narrow(1, 0, 3), ys.narrow(1, 3, 1))
    }
}

/// Channels of the discriminator's convolutions.
pub fn channels(config: &Config) -> [i64; 5] {
    let width = config.width;
    [width / 8, width / 4, width / 2, width, width]
}

/// A: five convolutions and a linear head; gaussian noise on the input and before each activation, in training only.
#[derive(Debug)]
pub struct Discriminator {
    down: [Block; 5],
    weight: Weight,
    bias: Tensor,
    kind: Kind,
}

impl Discriminator {
    /// For pictures of `size`, height and width. State-dict names `down.<level>.*`, `head.weight` and `head.bias`.
    pub fn new(path: &Path, config: &Config, size: [i64; 2]) -> Self {
        let c = channels(config);
        let rows = [
            Row::down(6, c[0]).without_norm(),
            Row::down(c[0], c[1]),
            Row::down(c[1], c[2]),
            Row::down(c[2], c[3]),
            Row::down(c[3], c[4]),
        ];
        let down = Block::table(&path.sub("down"), rows.map(|row| row.of_discriminator(config)), config);
        let head = path.sub("head");
        let features = c[4] * size.map(|side| side / 32).iter().product::<i64>();
        let weight_norm = WeightNorm::of_discriminator(config);
        Discriminator {
            down,
            weight: Weight::new(&head, &[1, features], Init::Gaussian, ReadAs::Float32, weight_norm),
            bias: head.declare("bias", &[1], Init::Zeros, ReadAs::Float32),
            kind: config.precision.kind(),
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
            xs = block.activated(&xs, After { noise, ..After::LEAKY });
            features.push(xs.shallow_clone());
        }
        let flat = xs.flatten(1, -1).to_kind(Kind::Float); // [N, C * H / 32 * W / 32]
        Judgement { logits: flat.linear(&self.weight.value(), Some(&self.bias)), features }
    }

    /// Updates the spectral norms by one power iteration.
    pub fn iterate(&self) {
        self.down.iter().for_each(Block::iterate);
        self.weight.iterate();
    }
}
