//! The generator of `kisekae`: locates, frames, places, paints.

use tch::{Kind, Tensor};

use super::agreement::agreed;
use super::blocks::Size;
use super::finer::at_level;
use super::frame::Frames;
use super::guided::{guided, lines};
use super::mask::{enclosed, erased, reach, widened};
use super::matcher::{Inputs, Matcher};
use super::painter::Painter;
use super::palette::palette_distance;
use super::region::{article_region, outline};
use super::registration::{Registered, registered};
use super::warp::{affine, flow_of, moved, warped_inside};
use crate::config::Config;
use crate::networks::parameters::Path;
use crate::networks::swap::{Detail, Swap, composite};

/// The guided filter's reach, for pictures of height 64, and its regulariser.
const GUIDED: f64 = 4.0;
const EPS: f64 = 1e-4;
/// A pixel is repainted where the target is seen with more than this probability.
const SEEN: f64 = 0.35;
/// The share of the worn article's correction that a person's frame takes: the correction holds also what the worn
/// article's own frame misses.
const FITTED: f64 = 0.5;

/// What of a swap depends on the person and the worn article alone: more than half of its work.
#[derive(Debug)]
pub struct Look {
    /// Where the worn article is, `[N, 1, H, W]` in [0, 1].
    pub located: Tensor,
    /// The person's frame: an affine map from the photo to the garments' common frame, `[N, 3, 3]`.
    pub body: Tensor,
    /// The located pixels, widened, `[N, 1, H, W]`, 0 or 1.
    pub old: Tensor,
    /// The pixels outside that they enclose nearly, `[N, 1, H, W]`, 0 or 1.
    pub enclosed: Tensor,
    /// The slopes and offsets of [`Detail::edges`].
    pub edges: [Tensor; 2],
}

impl Look {
    /// Makes it of the two parts that the networks compute.
    ///
    /// # Shapes
    /// `human`: `[N, 3, H, W]` in [-1, 1]; the others as in [`Look`].
    pub fn of(human: &Tensor, located: Tensor, body: Tensor) -> Look {
        let [old, enclosed] = hidden(&bit(&located, 0.5));
        let edges = lines(&located, human, reach(GUIDED, human.size()[2]), EPS);
        Look { located, body, old, enclosed, edges }
    }
}

/// The regions of a swap.
struct Regions {
    /// The pixels to repaint, 0 or 1.
    erasure: Tensor,
    /// The human without the erasure.
    left: Tensor,
    /// Where the target is seen, within the erasure.
    placement: Tensor,
    /// The target's flow before it is refined.
    base: Tensor,
}

/// Cuts values to 0 and 1.
fn bit(xs: &Tensor, cut: f64) -> Tensor {
    xs.gt(cut).to_kind(Kind::Float)
}

/// Returns a mask widened, and the pixels outside that it encloses nearly, all 0 or 1.
fn hidden(mask: &Tensor) -> [Tensor; 2] {
    let height = mask.size()[2];
    let old = widened(mask, reach(1.0, height));
    let enclosed = enclosed(&old, reach(2.0, height));
    [old, enclosed]
}

/// Softens the border of an erasure.
fn soft(erasure: &Tensor) -> Tensor {
    erasure.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)
}

/// Painter, locator, placer and frames.
#[derive(Debug)]
pub struct Generator {
    /// Fills an erased part of a person.
    pub painter: Painter,
    locator: Matcher,
    placer: Matcher,
    frames: Frames,
    /// How often pictures are halved to the coarsest size.
    finer: usize,
    /// The logit above which the locator's mask is 1.
    begins: f64,
}

impl Generator {
    /// State-dict names `painter.*`, `locator.*`, `placer.*`, `frames.*`.
    pub fn new(path: &Path, config: &Config) -> Self {
        let size = Size::of(config);
        Generator {
            painter: Painter::new(&path.sub("painter"), size),
            // The photo and its distances to the article; the article and its region; the photo.
            locator: Matcher::new(&path.sub("locator"), Inputs { person: 3 + 2, article: 3 + 1, finer: 3 }, size),
            // The erased photo, the erasure and the article's outline; the article and its region; as for the first.
            placer: Matcher::new(&path.sub("placer"), Inputs { person: 3 + 1 + 1, article: 3 + 1, finer: 5 }, size),
            frames: Frames::new(&path.sub("frames"), size, config.image_size),
            finer: size.finer,
            begins: (config.mask_cut / (1.0 - config.mask_cut)).ln(),
        }
    }

    /// Makes the result of each picture independent of the others in the batch, on a CPU. Training does without: it is
    /// slower.
    pub fn apart(&mut self) {
        self.frames.apart();
    }

    /// Computes logits of where `worn` is worn. A `worn` of a single colour has no region and stands for an unknown
    /// article.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in [-1, 1]. Returns `[N, 1, H, W]`.
    pub fn locate(&self, human: &Tensor, worn: &Tensor) -> Tensor {
        let [small, worn] = self.coarsest([human, worn]);
        let region = article_region(&worn);
        let distance = palette_distance(&small, &worn, &region);
        let seen = Tensor::cat(&[&worn * &region, region], 1);
        (self.locator).forward(&Tensor::cat(&[&small, &distance], 1), &seen, human)
    }

    /// Averages pictures down to the coarsest size.
    fn coarsest<const N: usize>(&self, pictures: [&Tensor; N]) -> [Tensor; N] {
        pictures.map(|xs| at_level(xs, 0, self.finer))
    }

    /// Computes logits of where `target` would be seen on a person whose `erasure` is not known, given its outline
    /// there.
    ///
    /// # Shapes
    /// `erased`, `target`: `[N, 3, H, W]` in [-1, 1]; `erasure`, `outline`: `[N, 1, H, W]`. Returns `[N, 1, H, W]`.
    pub fn place(&self, erased: &Tensor, erasure: &Tensor, outline: &Tensor, target: &Tensor) -> Tensor {
        let seen = Tensor::cat(&[erased, erasure, outline], 1);
        let [person, target] = self.coarsest([&seen, target]);
        let region = article_region(&target);
        self.placer.forward(&person, &Tensor::cat(&[target, region], 1), &seen)
    }

    /// Computes the frame of a person who wears something in `mask`: see [`Frames::person`].
    pub fn body(&self, human: &Tensor, mask: &Tensor) -> Tensor {
        self.frames.person(human, mask)
    }

    /// Computes the frame of an article: see [`Frames::article`].
    pub fn frame(&self, article: &Tensor) -> Tensor {
        self.frames.article(article, &article_region(article))
    }

    /// Computes the correction of a person's frame by an article that may be worn in `mask`: see [`Frames::fit`].
    ///
    /// # Shapes
    /// `human`, `article`: `[N, 3, H, W]` in [-1, 1]; `mask`: `[N, 1, H, W]`, 0 or 1; `map`: `[N, 3, 3]`, by the frames.
    pub fn fit(&self, human: &Tensor, article: &Tensor, mask: &Tensor, map: &Tensor) -> Tensor {
        let [seen, flow] = self.outlined(article, map);
        self.frames.fit(human, &warped_inside(article, &outline(article), &flow), &seen, mask)
    }

    /// Registers people with the articles that they wear in `mask`: see [`Registered`]. The search begins also with the
    /// maps `start`, `[N, 3, 3]`.
    ///
    /// # Shapes
    /// `human`, `worn`: `[N, 3, H, W]` in [-1, 1]; `mask`: `[N, 1, H, W]`, 0 or 1.
    pub fn register(&self, human: &Tensor, worn: &Tensor, mask: &Tensor, start: &Tensor) -> Registered {
        let starts = start.narrow(1, 0, 2).unsqueeze(1);
        // A map needs no detail, and its search takes as long as it sees pixels.
        let [human, worn, mask] = self.coarsest([human, worn, mask]);
        registered(&human, &worn, &outline(&worn), &bit(&mask, 0.5), &starts)
    }

    /// Returns where `worn` is worn by the votes of the mask, of the outline as a map moves it and of the colours near it:
    /// see [`agreed`].
    ///
    /// # Shapes
    /// As [`Generator::register`]; `map`: `[N, 2, 3]` or `[N, 3, 3]`. Returns `[N, 1, H, W]`, 0 or 1.
    pub fn agreed(&self, human: &Tensor, worn: &Tensor, mask: &Tensor, map: &Tensor) -> Tensor {
        let [seen, flow] = self.outlined(worn, map);
        agreed(human, &warped_inside(worn, &outline(worn), &flow), &seen, mask)
    }

    /// Moves an article's outline by maps `[N, 2, 3]` or `[N, 3, 3]`: the outline on the person, `[N, 1, H, W]`, and
    /// the flow, `[N, 2, H, W]`.
    pub fn outlined(&self, article: &Tensor, map: &Tensor) -> [Tensor; 2] {
        let flow = flow_of(map, article);
        [moved(&outline(article), &flow), flow]
    }

    /// Returns the flow that moves an article's region into `placement`, `[N, 1, H, W]`, by its moments.
    pub fn onto(&self, article: &Tensor, placement: &Tensor) -> Tensor {
        affine(placement, &outline(article))
    }

    /// Turns logits of [`Generator::locate`] into a mask of 0 and 1.
    pub fn cut(&self, logits: &Tensor) -> Tensor {
        logits.gt(self.begins).to_kind(Kind::Float)
    }

    /// Computes where `worn` is worn, 0.5 at the cut: the mean for the photo and its mirror image, aligned with the
    /// photo's edges.
    ///
    /// # Shapes
    /// As [`Generator::locate`]; values in [0, 1].
    pub fn located(&self, human: &Tensor, worn: &Tensor) -> Tensor {
        let logits = if human.size()[0] == 1 {
            let both = |xs: &Tensor| Tensor::cat(&[xs, &xs.flip([3])], 0);
            let logits = self.locate(&both(human), &both(worn));
            logits.narrow(0, 0, 1) + logits.narrow(0, 1, 1).flip([3])
        } else {
            // Both at once would take twice the memory, and no less time.
            self.locate(human, worn) + self.locate(&human.flip([3]), &worn.flip([3])).flip([3])
        };
        let logits = logits * 0.5;
        let height = human.size()[2];
        guided(&(logits - self.begins).sigmoid(), human, reach(GUIDED, height), EPS)
    }

    /// Computes what of a swap does not depend on the target. `None` stands for an unknown article.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in [-1, 1].
    pub fn look(&self, human: &Tensor, worn: Option<&Tensor>) -> Look {
        let located = match worn {
            Some(worn) => self.located(human, worn),
            None => self.located(human, &human.ones_like()),
        };
        let mask = bit(&located, 0.5);
        let body = self.body(human, &mask);
        let Some(worn) = worn else { return Look::of(human, located, body) };
        // An article of a single colour is unknown.
        let known = article_region(worn).amax([1, 2, 3].as_slice(), true).gt(0.0).to_kind(Kind::Float);
        let map = self.frame(worn).bmm(&body);
        let fit = self.fit(human, worn, &mask, &map);
        // A pixel that changes its side stays as far from it.
        let change = (self.agreed(human, worn, &mask, &map.bmm(&fit)) - mask) * &known;
        let located = &located + change * (&located * 2.0 - 1.0).abs();
        let same = Tensor::eye(3, (Kind::Float, fit.device()));
        let body = body.bmm(&(known.squeeze_dim(3) * (fit - &same) * FITTED + same));
        Look::of(human, located, body)
    }

    /// Computes the regions of a swap, on a person whose frame is `body` and who wears something in `old`: see [`Look`].
    fn regions(&self, human: &Tensor, [old, enclosed, body]: [&Tensor; 3], target: &Tensor) -> Regions {
        let [outline, base] = self.outlined(target, &self.frame(target).bmm(body));
        // The outline may cover what stands before the worn article, and is enclosed by it.
        let hole = old.maximum(&(bit(&outline, 0.5) * (1.0 - enclosed)));
        let seen = self.place(&erased(human, &hole), &hole, &outline, target).sigmoid();
        let placement = seen * &hole;
        let erasure = old.maximum(&bit(&placement, SEEN));
        let placement = placement * &erasure;
        Regions { left: erased(human, &erasure), erasure, placement, base }
    }

    /// Puts `target` on `human`, who wears `worn`. `None` stands for an unknown article.
    ///
    /// # Shapes
    /// All three: `[N, 3, H, W]` in [-1, 1].
    pub fn swap(&self, human: &Tensor, worn: Option<&Tensor>, target: &Tensor) -> Swap {
        self.dress(human, self.look(human, worn), target)
    }

    /// Puts `target` on `human`, whose look is known.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in [-1, 1].
    pub fn dress(&self, human: &Tensor, look: Look, target: &Tensor) -> Swap {
        let Regions { erasure, left, placement, base } =
            self.regions(human, [&look.old, &look.enclosed, &look.body], target);
        let painting = (self.painter).forward(&left, &erasure, target, &placement, &base);
        let mask = soft(&erasure);
        let Look { located, edges, .. } = look;
        Swap {
            composite: composite(human, &painting.paint, &mask),
            paint: painting.paint,
            mask,
            located: Some(located),
            detail: Some(Detail {
                flow: painting.flow,
                mix: painting.mix,
                rendered: painting.rendered,
                placement,
                edges,
            }),
        }
    }

    /// Dresses people in `target` who wear something in `mask` and whose frame is `body`: the picture, `[N, 3, H, W]`,
    /// and where the target is seen in it, `[N, 1, H, W]`, 0 or 1.
    ///
    /// # Shapes
    /// `human`, `target`: `[N, 3, H, W]` in [-1, 1]; `mask`: `[N, 1, H, W]`, 0 or 1; `body`: `[N, 3, 3]`.
    pub fn dressed(&self, human: &Tensor, mask: &Tensor, body: &Tensor, target: &Tensor) -> [Tensor; 2] {
        let [old, enclosed] = hidden(mask);
        let Regions { erasure, left, placement, base } = self.regions(human, [&old, &enclosed, body], target);
        let painting = self.painter.forward(&left, &erasure, target, &placement, &base);
        [composite(human, &painting.paint, &soft(&erasure)), bit(&placement, 0.5)]
    }

    /// Computes the inputs of [`super::Judge::judge`] beside the picture, for an article that is or might be worn in
    /// it: the article as warped onto the picture, and the erasure.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in [-1, 1]. Returns `[N, 3, H, W]` and `[N, 1, H, W]`.
    pub fn condition(&self, human: &Tensor, article: &Tensor) -> [Tensor; 2] {
        let look = self.look(human, Some(article));
        let regions = self.regions(human, [&look.old, &look.enclosed, &look.body], article);
        let painting =
            (self.painter).forward(&regions.left, &regions.erasure, article, &regions.placement, &regions.base);
        [painting.warped, regions.erasure]
    }
}
