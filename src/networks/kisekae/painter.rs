//! The painter: what belongs into an erased part of a person, given the article that is to sit there.

use tch::Tensor;

use super::blocks::{Block, Encoder, Head, averaged, channels, doubled, places};
use super::region::{article_region, filled};
use super::warp::{affine, warped};
use crate::networks::parameters::{Init, Path};

/// How strongly each of the three residual flows counts, the coarsest first; in halves of the picture.
const REACH: [f64; 3] = [0.3, 0.2, 0.1];

/// What the painter proposes.
///
/// # Shapes
/// All `[N, C, H, W]`: `paint`, `rendered` and `warped` have 3 channels in [-1, 1], `mix` 1 in [0, 1], the flows 2.
#[derive(Debug)]
pub struct Painting {
    /// mix * warped + (1 - mix) * rendered.
    pub paint: Tensor,
    pub rendered: Tensor,
    pub warped: Tensor,
    pub mix: Tensor,
    /// Where each pixel's colour comes from in the article.
    pub flow: Tensor,
    /// The flow less its affine part.
    pub residual: Tensor,
}

/// Two encoders; a decoder whose every level sees the article's layer warped to where the article is to sit, and
/// refines the warp.
#[derive(Debug)]
pub struct Painter {
    person: Encoder,
    article: Encoder,
    up: Vec<Block>,
    /// Of the levels `levels - 1`, `levels - 2` and `levels - 3`, as far as they are halved.
    flows: Vec<Head>,
    out: Head,
}

impl Painter {
    pub fn new(path: &Path, narrow: i64, levels: usize) -> Self {
        let c = channels(narrow, levels);
        let (up, flow) = (path.sub("up"), path.sub("flow"));
        Painter {
            // The erased person, the erasure, the placement; the article and its region; places.
            person: Encoder::new(&path.sub("person"), 3 + 1 + 1 + 2, narrow, levels),
            article: Encoder::new(&path.sub("article"), 3 + 1 + 2, narrow, levels),
            up: (0..=levels)
                .map(|k| {
                    let seen = match k {
                        _ if k == levels => 3 * c[k],
                        0 => c[1] + c[0] + 3 + 1,
                        _ if k == levels - 1 => c[k + 1] + 2 * c[k],
                        _ => c[k + 1] + 2 * c[k] + 3,
                    };
                    Block::new(&up.sub(k), seen, c[k], 1)
                })
                .collect(),
            flows: (0..REACH.len().min(levels - 1))
                .map(|k| Head::new(&flow.sub(k), c[levels - 1 - k], 2, 3, Init::Zeros))
                .collect(),
            out: Head::new(&path.sub("out"), c[0], 4, 3, Init::Gaussian),
        }
    }

    /// # Shapes
    /// `erased`: `[N, 3, H, W]` in [-1, 1], 0 where `erasure` (`[N, 1, H, W]`) is 1; `article`: `[N, 3, H, W]` in [-1,
    /// 1]; `placement`: `[N, 1, H, W]` in [0, 1], where the article is to sit.
    pub fn forward(&self, erased: &Tensor, erasure: &Tensor, article: &Tensor, placement: &Tensor) -> Painting {
        let (n, _, h, w) = erased.size4().expect("[N, 3, H, W]");
        let places = places(erased).expand([n, 2, h, w], false);
        let region = article_region(article);
        let x = self.person.forward(&Tensor::cat(&[erased, erasure, placement, &places], 1));
        let y = self.article.forward(&Tensor::cat(&[article, &region, &places], 1));
        let base = affine(placement, &filled(&region));
        let levels = x.len() - 1;
        let deepest = warped(&y[levels], &averaged(&base, 1 << levels));
        let mut xs = self.up[levels].forward(&Tensor::cat(&[&x[levels], &y[levels], &deepest], 1));
        let mut flow = averaged(&base, 1 << (levels - 1));
        for k in (1..levels).rev() {
            let layer = warped(&y[k], &flow);
            let below = doubled(&xs);
            xs = if k == levels - 1 {
                self.up[k].forward(&Tensor::cat(&[&below, &x[k], &layer], 1))
            } else {
                let colours = warped(&averaged(article, 1 << k), &flow).to_kind(xs.kind());
                self.up[k].forward(&Tensor::cat(&[&below, &x[k], &layer, &colours], 1))
            };
            let number = levels - 1 - k;
            if let (Some(head), Some(reach)) = (self.flows.get(number), REACH.get(number)) {
                flow = head.forward(&xs) * *reach + flow;
            }
            flow = doubled(&flow);
        }
        let (colours, inside) = (warped(article, &flow), warped(&region, &flow));
        let kind = xs.kind();
        let seen = [doubled(&xs), x[0].shallow_clone(), colours.to_kind(kind), inside.to_kind(kind)];
        let ys = self.out.forward(&self.up[0].forward(&Tensor::cat(&seen, 1))); // [N, 4, H, W]
        let (rendered, mix) = (ys.narrow(1, 0, 3).tanh(), ys.narrow(1, 3, 1).sigmoid());
        Painting {
            paint: rendered.lerp_tensor(&colours, &mix.expand_as(&rendered)),
            residual: &flow - base,
            rendered,
            warped: colours,
            mix,
            flow,
        }
    }
}
