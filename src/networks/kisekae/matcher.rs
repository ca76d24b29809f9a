//! One network for two questions about a picture of a person and an article: where the article is worn (the locator,
//! which sees the person and the worn article), and where it would sit (the placer, which sees the person with a part
//! erased).

use tch::{Kind, Tensor};

use super::blocks::{Block, Encoder, Head, channels, doubled, places};
use crate::networks::parameters::{Init, Path};

/// Two encoders, an attention between them where pictures are about 16 x 12, and a decoder to one logit for each pixel.
#[derive(Debug)]
pub struct Matcher {
    person: Encoder,
    article: Encoder,
    query: Head,
    key: Head,
    up: Vec<Block>,
    out: Head,
}

impl Matcher {
    /// `c_person`, `c_article`: channels of what is seen of either, places not counted.
    pub fn new(path: &Path, c_person: i64, c_article: i64, narrow: i64, levels: usize) -> Self {
        let c = channels(narrow, levels);
        let up = path.sub("up");
        let met = Self::met(levels);
        let wide = c[levels];
        Matcher {
            person: Encoder::new(&path.sub("person"), c_person + 2, narrow, levels),
            article: Encoder::new(&path.sub("article"), c_article + 2, narrow, levels),
            query: Head::new(&path.sub("query"), c[met], c[met], 1, Init::He),
            key: Head::new(&path.sub("key"), c[met], c[met], 1, Init::He),
            // From the deepest, which sees the article's layer and its mean, up to the picture's own size.
            up: (0..=levels)
                .map(|k| {
                    let seen = match k {
                        _ if k == levels => 3 * c[k],
                        _ if k >= met => c[k + 1] + 2 * c[k],
                        _ => c[k + 1] + c[k],
                    };
                    let c_out = if k == levels { wide } else { c[k] };
                    Block::new(&up.sub(k), seen, c_out, 1)
                })
                .collect(),
            out: Head::new(&path.sub("out"), c[0], 1, 3, Init::Gaussian),
        }
    }

    /// The level where every place of the person looks at every place of the article.
    fn met(levels: usize) -> usize {
        levels - 2
    }

    /// # Shapes
    /// `person`: `[N, c_person, H, W]`; `article`: `[N, c_article, H, W]`. Returns logits `[N, 1, H, W]`.
    pub fn forward(&self, person: &Tensor, article: &Tensor) -> Tensor {
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
        self.out.forward(&xs)
    }

    /// What each place of the person finds in the article: a softmax over all places of it (Vaswani et al. 2017, arXiv
    /// 1706.03762).
    fn attended(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let (_, c, _, _) = x.size4().expect("[N, C, H, W]");
        let query = self.query.forward(x).flatten(2, -1); // [N, C, Q]
        let key = self.key.forward(y).flatten(2, -1); // [N, C, K]
        let scores = query.transpose(1, 2).bmm(&key) * (1.0 / (c as f64).sqrt()); // [N, Q, K]
        let found = y.flatten(2, -1).to_kind(Kind::Float).bmm(&scores.softmax(-1, Kind::Float).transpose(1, 2));
        found.reshape(x.size()).to_kind(x.kind())
    }
}
