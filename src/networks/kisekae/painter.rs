//! The painter: fills an erased part of a person, given the article that is placed there.

use tch::{Kind, Tensor};

use super::blocks::{Block, Encoder, Head, Size, Stride, averaged, places};
use super::finer::{Channels, Drawn, Finer, at_level};
use super::region::{article_region, filled};
use super::warp::{moved, warped, warped_inside};
use crate::networks::fused::doubled;
use crate::networks::parameters::{Init, Path};

/// The scale of each of the three residual flows, the coarsest first, in halves of the picture.
const REACH: [f64; 3] = [0.03, 0.02, 0.01];

/// The painter's result.
#[derive(Debug)]
pub struct Painting {
    /// share * warped + (1 - share) * rendered, `[N, 3, H, W]` in [-1, 1]; the share is mix * outline.
    pub paint: Tensor,
    /// The colours that the decoder proposes, `[N, 3, H, W]` in [-1, 1].
    pub rendered: Tensor,
    /// The article at its placement, `[N, 3, H, W]` in [-1, 1].
    pub warped: Tensor,
    /// The share of the warped article inside its outline, `[N, 1, H, W]` in [0, 1].
    pub mix: Tensor,
    /// The place in the article where each pixel's colour comes from, `[N, 2, H, W]`.
    pub flow: Tensor,
    /// The flow without its base, `[N, 2, H, W]`.
    pub residual: Tensor,
    /// The article's outline at its place, `[N, 1, H, W]` in [0, 1].
    pub outline: Tensor,
}

impl Painting {
    /// Divides a batch in two.
    pub fn halves(&self) -> [Painting; 2] {
        let n = self.paint.size()[0] / 2;
        [0, n].map(|begin| {
            let half = |xs: &Tensor| xs.narrow(0, begin, n);
            Painting {
                paint: half(&self.paint),
                rendered: half(&self.rendered),
                warped: half(&self.warped),
                mix: half(&self.mix),
                flow: half(&self.flow),
                residual: half(&self.residual),
                outline: half(&self.outline),
            }
        })
    }
}

/// Two encoders, and a decoder. Each level of the decoder gets the article's layer, warped to its placement, and
/// refines the warp.
#[derive(Debug)]
pub struct Painter {
    person: Encoder,
    article: Encoder,
    up: Vec<Block>,
    /// For the levels `levels - 1`, `levels - 2` and `levels - 3`, except level 0.
    flows: Vec<Head>,
    out: Head,
    finer: Vec<Finer>,
}

/// An article where a flow takes it.
struct Dressed {
    colours: Tensor,
    /// The region at its place.
    inside: Tensor,
    /// The outline in the article's picture.
    outline: Tensor,
}

impl Dressed {
    fn new(article: &Tensor, flow: &Tensor) -> Dressed {
        let region = article_region(article);
        let outline = filled(&region);
        Dressed { colours: warped_inside(article, &outline, flow), inside: warped(&region, flow), outline }
    }

    /// Colours and region, in the number format of the layers.
    fn joined(&self, kind: Kind) -> [Tensor; 2] {
        [&self.colours, &self.inside].map(|xs| xs.to_kind(kind))
    }
}

impl Painter {
    /// State-dict names `person.*`, `article.*`, `up.<level>.*`, `flow.<number>.*`, `out.*`, and those of
    /// [`Finer`].
    pub fn new(path: &Path, size: Size) -> Self {
        let c = size.channels();
        let levels = size.levels;
        let (up, flow) = (path.sub("up"), path.sub("flow"));
        Painter {
            // The erased person, the erasure, the placement, the places.
            person: Encoder::new(&path.sub("person"), 3 + 1 + 1 + 2, size),
            // The article, its region, the places.
            article: Encoder::new(&path.sub("article"), 3 + 1 + 2, size),
            up: (0..=levels)
                .map(|k| {
                    let c_in = match k {
                        // Both encoders' deepest layers, the article's also warped.
                        _ if k == levels => 3 * c[k],
                        // The level below, the person's layer, the warped article and its region.
                        0 => c[1] + c[0] + 3 + 1,
                        // The level below, the person's layer, the article's warped one.
                        _ if k == levels - 1 => c[k + 1] + 2 * c[k],
                        // The same and the warped article.
                        _ => c[k + 1] + 2 * c[k] + 3,
                    };
                    Block::new(&up.sub(k), Stride::Keep, c_in, c[k])
                })
                .collect(),
            flows: (0..REACH.len().min(levels - 1))
                .map(|k| Head::new(&flow.sub(k), c[levels - 1 - k], 2, Init::Zeros))
                .collect(),
            out: Head::new(&path.sub("out"), c[0], 4, Init::Gaussian),
            // The erased person, the erasure, the placement; the warped article and its region.
            finer: Finer::levels(path, size, Channels { seen: 3 + 1 + 1, joined: 3 + 1, out: 4 }),
        }
    }

    /// # Shapes
    /// `erased`: `[N, 3, H, W]` in [-1, 1], 0 where `erasure` (`[N, 1, H, W]`) is 1; `article`: `[N, 3, H, W]` in [-1,
    /// 1]; `placement`: `[N, 1, H, W]` in [0, 1]; `base`: `[N, 2, H, W]`, the flow to refine.
    pub fn forward(
        &self,
        erased: &Tensor,
        erasure: &Tensor,
        article: &Tensor,
        placement: &Tensor,
        base: &Tensor,
    ) -> Painting {
        let finer = self.finer.len();
        let at = |level: usize| [erased, erasure, article, placement, base].map(|xs| at_level(xs, level, finer));
        let coarsest = at(0);
        let (mut drawn, mut flow, mut dressed) = self.coarsest(&coarsest);
        let [_, _, _, _, mut under] = coarsest;
        for (k, level) in self.finer.iter().enumerate() {
            let [erased, erasure, article, placement, base] = at(k + 1);
            // The base is known at each size.
            flow = doubled(&(flow - under)) + &base;
            dressed = Dressed::new(&article, &flow);
            let seen = Tensor::cat(&[erased, erasure, placement], 1);
            drawn = level.forward(&drawn, &seen, &dressed.joined(drawn.hidden.kind()));
            under = base;
        }
        let Dressed { colours, outline, .. } = dressed;
        let ys = drawn.ys; // [N, 4, H, W]
        let (rendered, mix) = (ys.narrow(1, 0, 3).tanh(), ys.narrow(1, 3, 1).sigmoid());
        let outline = moved(&outline, &flow);
        Painting {
            paint: rendered.lerp_tensor(&colours, &(&mix * &outline).expand_as(&rendered)),
            residual: &flow - base,
            outline,
            rendered,
            warped: colours,
            mix,
            flow,
        }
    }

    /// Computes the coarsest features and output, the refined flow and the article where it goes, of inputs in the order
    /// of [`Painter::forward`].
    fn coarsest(&self, [erased, erasure, article, placement, base]: &[Tensor; 5]) -> (Drawn, Tensor, Dressed) {
        let (n, _, h, w) = erased.size4().expect("[N, 3, H, W]");
        let places = places(erased).expand([n, 2, h, w], false);
        let region = article_region(article);
        let x = self.person.forward(&Tensor::cat(&[erased, erasure, placement, &places], 1));
        let y = self.article.forward(&Tensor::cat(&[article, &region, &places], 1));
        let levels = x.len() - 1;
        let deepest = warped(&y[levels], &averaged(base, 1 << levels));
        let mut xs = self.up[levels].forward(&Tensor::cat(&[&x[levels], &y[levels], &deepest], 1));
        let mut flow = averaged(base, 1 << (levels - 1));
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
        let dressed = Dressed::new(article, &flow);
        let [colours, inside] = dressed.joined(xs.kind());
        let seen = [doubled(&xs), x[0].shallow_clone(), colours, inside];
        let hidden = self.up[0].forward(&Tensor::cat(&seen, 1));
        (Drawn { ys: self.out.forward(&hidden), hidden }, flow, dressed)
    }
}
