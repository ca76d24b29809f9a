//! The paper's networks (P): concatenated skips, and averaged copies of two of the inputs at every intermediate layer.

use tch::{Kind, Tensor};

use super::blocks::{Block, Row, copies};
use crate::config::{Config, Copies};
use crate::networks::conv::beside;
use crate::networks::judgement::Judgement;
use crate::networks::parameters::{Init, Path, ReadAs};
use crate::networks::plain::After;
use crate::networks::weight::{Weight, WeightNorm};

/// Channels of the copies of two pictures.
const COPIES: i64 = 6;

/// Channels of both networks' convolutions down.
pub fn channels(config: &Config) -> [i64; 4] {
    let width = config.width;
    [width / 8, width / 4, width / 2, width]
}

/// P: "the last 6 channels of any intermediate layer" hold downsampled copies of human and worn.
#[derive(Debug)]
pub struct Generator {
    down: [Block; 4],
    up: [Block; 4],
    copies: Copies,
    kind: Kind,
}

impl Generator {
    /// State-dict names `down.<level>.*` and `up.<level>.*`.
    pub fn new(path: &Path, config: &Config) -> Self {
        let c = channels(config);
        let extra = match config.generator_copies {
            Copies::None => 0,
            Copies::Worn | Copies::Target => COPIES,
        };
        let down = [
            Row::down(9, c[0]).without_norm(),
            Row::down(c[0] + extra, c[1]),
            Row::down(c[1] + extra, c[2]),
            Row::down(c[2] + extra, c[3]),
        ];
        let up = [
            Row::up(c[3] + extra, c[2]),
            Row::up(2 * c[2] + extra, c[1]),
            Row::up(2 * c[1] + extra, c[0]),
            Row::up(2 * c[0] + extra, 4).without_norm(),
        ];
        Generator {
            down: Block::table(&path.sub("down"), down, config),
            up: Block::table(&path.sub("up"), up, config),
            copies: config.generator_copies,
            kind: config.precision.kind(),
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
        skips.pop(); // the deepest is the decoder's input
        let [up @ .., out] = &self.up;
        for block in up {
            let features = block.activated(&xs, After::RELU);
            xs = with_copies(&[&features, &skips.pop().expect("one skip a level")]);
        }
        let ys = out.convolved(&xs).contiguous().to_kind(Kind::Float); // [N, 4, H, W]
        (ys.narrow(1, 0, 3).tanh(), ys.narrow(1, 3, 1).sigmoid())
    }
}

/// P: four convolutions and a map of logits, one for each patch.
#[derive(Debug)]
pub struct Discriminator {
    down: [Block; 4],
    weight: Weight,
    bias: Tensor,
    copies: bool,
    kind: Kind,
}

impl Discriminator {
    /// State-dict names `down.<level>.*`, `head.weight` and `head.bias`.
    pub fn new(path: &Path, config: &Config) -> Self {
        let c = channels(config);
        let extra = if config.discriminator_copies { COPIES } else { 0 };
        let rows = [
            Row::down(6, c[0]).without_norm(),
            Row::down(c[0] + extra, c[1]),
            Row::down(c[1] + extra, c[2]),
            Row::down(c[2] + extra, c[3]),
        ];
        let down = Block::table(&path.sub("down"), rows.map(|row| row.of_discriminator(config)), config);
        let head = path.sub("head");
        let shape = [1, c[3] + extra, 3, 3];
        let weight_norm = WeightNorm::of_discriminator(config);
        Discriminator {
            down,
            weight: Weight::new(&head, &shape, Init::Gaussian, ReadAs::Activations, weight_norm),
            bias: head.declare("bias", &[1], Init::Zeros, ReadAs::Activations),
            copies: config.discriminator_copies,
            kind: config.precision.kind(),
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
            xs = block.activated(&xs, After { noise, ..After::LEAKY });
            features.push(xs.shallow_clone());
            if self.copies {
                xs = Tensor::cat(&[&xs, &copies(&pair, &xs)], 1);
            }
        }
        let logits = xs.conv2d(&self.weight.value(), Some(&self.bias), [1, 1], [1, 1], [1, 1], 1);
        Judgement { logits: logits.to_kind(Kind::Float), features }
    }

    /// Updates the spectral norms by one power iteration.
    pub fn iterate(&self) {
        self.down.iter().for_each(Block::iterate);
        self.weight.iterate();
    }
}
