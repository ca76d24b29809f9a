//! One network for two tasks, given pictures of a person and an article: the locator finds where the article is worn,
//! the placer predicts where it would be seen on a person with an erased part.

use tch::{Kind, Tensor};

use super::blocks::{Block, Encoder, Head, Size, Stride, places};
use super::finer::{Channels, Drawn, Finer, at_level};
use crate::networks::fused::doubled;
use crate::networks::parameters::{Init, Path};

/// Channels of a matcher's inputs.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    pub person: i64,
    pub article: i64,
    /// What the finer levels see.
    pub finer: i64,
}

/// Two encoders, an attention between them where pictures are about 16 x 12, and a decoder to one logit for each pixel.
#[derive(Debug)]
pub struct Matcher {
    person: Encoder,
    article: Encoder,
    query: Head,
    key: Head,
    up: Vec<Block>,
    out: Head,
    finer: Vec<Finer>,
}

impl Matcher {
    /// State-dict names `person.*`, `article.*`, `query.*`, `key.*`, `up.<level>.*`, `out.*`, and those of
    /// [`Finer`]. Both encoders get the places beside their input.
    pub fn new(path: &Path, inputs: Inputs, size: Size) -> Self {
        let c = size.channels();
        let up = path.sub("up");
        let levels = size.levels;
        let met = Self::met(levels);
        Matcher {
            person: Encoder::new(&path.sub("person"), inputs.person + 2, size),
            article: Encoder::new(&path.sub("article"), inputs.article + 2, size),
            query: Head::pointwise(&path.sub("query"), c[met]),
            key: Head::pointwise(&path.sub("key"), c[met]),
            up: (0..=levels)
                .map(|k| {
                    let c_in = match k {
                        // Both encoders' deepest layers and the mean of the article's.
                        _ if k == levels => 3 * c[k],
                        // The level below, and both encoders' layers.
                        _ if k >= met => c[k + 1] + 2 * c[k],
                        // The level below, and the person's layer.
                        _ => c[k + 1] + c[k],
                    };
                    Block::new(&up.sub(k), Stride::Keep, c_in, c[k])
                })
                .collect(),
            out: Head::new(&path.sub("out"), c[0], 1, Init::Gaussian),
            finer: Finer::levels(path, size, Channels { seen: inputs.finer, joined: 0, out: 1 }),
        }
    }

    /// The level of the attention between every place of the person and every place of the article.
    fn met(levels: usize) -> usize {
        levels - 2
    }

    /// # Shapes
    /// All with the channels of [`Inputs`]: `person`, `article`: `[N, C, h, w]`, of the coarsest size; `fine`:
    /// `[N, C, H, W]`. Returns logits `[N, 1, H, W]`.
    pub fn forward(&self, person: &Tensor, article: &Tensor, fine: &Tensor) -> Tensor {
        let placed = |xs: &Tensor| {
            let (n, _, h, w) = xs.size4().expect("[N, C, H, W]");
            Tensor::cat(&[xs.shallow_clone(), places(xs).expand([n, 2, h, w], false)], 1)
        };
        let (x, y) = (self.person.forward(&placed(person)), self.article.forward(&placed(article)));
        let levels = x.len() - 1;
        let met = Self::met(levels);
        let mean =
            y[levels].mean_dim([2, 3].as_slice(), true, Kind::Float).to_kind(y[levels].kind()).expand_as(&x[levels]);
        let mut xs = self.up[levels].forward(&Tensor::cat(&[&x[levels], &y[levels], &mean], 1));
        for k in (0..levels).rev() {
            let below = doubled(&xs);
            let seen = match k {
                _ if k > met => Tensor::cat(&[&below, &x[k], &y[k]], 1),
                _ if k == met => {
                    let met = &x[k] * self.attended(&x[k], &y[k]);
                    Tensor::cat(&[&below, &x[k], &met], 1)
                }
                _ => Tensor::cat(&[&below, &x[k]], 1),
            };
            xs = self.up[k].forward(&seen);
        }
        let mut drawn = Drawn { ys: self.out.forward(&xs), hidden: xs };
        for (k, level) in self.finer.iter().enumerate() {
            drawn = level.forward(&drawn, &at_level(fine, k + 1, self.finer.len()), &[]);
        }
        drawn.ys
    }

    /// Computes, for each place of the person, the article's layer averaged by a softmax over all its places (Vaswani
    /// et al. 2017, arXiv 1706.03762).
    fn attended(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let (_, c, _, _) = x.size4().expect("[N, C, H, W]");
        let query = self.query.forward(x).flatten(2, -1); // [N, C, Q]
        let key = self.key.forward(y).flatten(2, -1); // [N, C, K]
        let scores = query.transpose(1, 2).bmm(&key) * (1.0 / (c as f64).sqrt()); // [N, Q, K]
        let found = y.flatten(2, -1).to_kind(Kind::Float).bmm(&scores.softmax(-1, Kind::Float).transpose(1, 2));
        found.reshape(x.size()).to_kind(x.kind())
    }
}
