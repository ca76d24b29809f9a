//! The preset `kisekae`: the garment is where knowing the article helps.
//!
//! 1. *Paint.* The painter restores erased parts of a person given the article that is worn there: supervised, on the
//!    pairs alone.
//! 2. *Locate.* Where it restores better with the worn article than with another one, there the article is worn: what
//!    the locator learns to see at once.
//! 3. *Place.* The placer learns from the locator where an article would sit on a person whose garment is erased.
//! 4. *Warp.* The article comes to its place by matched moments and a learned residual flow; paint is a mix of what is
//!    warped and what is rendered.
//! 5. *Swap.* Locate the worn article, place the other, erase both regions and little more, paint, blend at a soft
//!    edge.
//! 6. *Judge.* A discriminator sees restorations and swaps of other articles beside photos, with the warped article as
//!    its condition.
//!
//! [`Generator`] holds the painter, the locator and the placer; `training/kisekae.rs` is the objective.

mod blocks;
mod guided;
mod judge;
mod matcher;
mod painter;
mod palette;
mod region;
mod warp;

use tch::{Kind, Tensor};

pub use blocks::widened;
pub use judge::Judge;
pub use matcher::Matcher;
pub use painter::{Painter, Painting};
pub use region::article_region;
pub use warp::warped;

use super::{Detail, Swap, composite};
use crate::config::Config;
use crate::networks::parameters::Path;
pub use guided::along;
use guided::{guided, lines};
use palette::palette_distance;

/// 0 where `mask` is 1.
pub fn erased(human: &Tensor, mask: &Tensor) -> Tensor {
    human * (1.0 - mask)
}

/// Painter, locator and placer.
#[derive(Debug)]
pub struct Generator {
    pub painter: Painter,
    locator: Matcher,
    placer: Matcher,
    /// The logit where the locator's mask begins.
    begins: f64,
}

impl Generator {
    /// State-dict names `painter.*`, `locator.*`, `placer.*`.
    pub fn new(path: &Path, config: &Config) -> Self {
        let narrow = config.width / 4;
        let levels = config.architecture.halvings(config.image_size) as usize;
        Generator {
            painter: Painter::new(&path.sub("painter"), narrow, levels),
            // The photo and its distances to the article; the article and its region.
            locator: Matcher::new(&path.sub("locator"), 3 + 2, 3 + 1, narrow, levels),
            // The erased photo and the erasure; the same of the article.
            placer: Matcher::new(&path.sub("placer"), 3 + 1, 3 + 1, narrow, levels),
            begins: (config.mask_cut / (1.0 - config.mask_cut)).ln(),
        }
    }

    /// Logits of where `worn` is worn. A `worn` without a region, one colour all over, is one that is not known.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in [-1, 1]. Returns `[N, 1, H, W]`.
    pub fn locate(&self, human: &Tensor, worn: &Tensor) -> Tensor {
        let region = article_region(worn);
        let distance = palette_distance(human, worn, &region);
        let seen = Tensor::cat(&[worn * &region, region], 1);
        (self.locator).forward(&Tensor::cat(&[human, &distance], 1), &seen)
    }

    /// Logits of where `target` would sit on a person of whom `erasure` is not known.
    ///
    /// # Shapes
    /// `erased`, `target`: `[N, 3, H, W]` in [-1, 1]; `erasure`: `[N, 1, H, W]`. Returns `[N, 1, H, W]`.
    pub fn place(&self, erased: &Tensor, erasure: &Tensor, target: &Tensor) -> Tensor {
        let region = article_region(target);
        self.placer.forward(&Tensor::cat(&[erased, erasure], 1), &Tensor::cat(&[target, &region], 1))
    }

    /// The mask that logits of [`Generator::locate`] make: 0 or 1.
    pub fn cut(&self, logits: &Tensor) -> Tensor {
        logits.gt(self.begins).to_kind(Kind::Float)
    }

    /// Where `worn` is worn, 0.5 at the cut: the mean of the photo's and its mirror image's, drawn to the photo's
    /// edges.
    ///
    /// # Shapes
    /// As [`Generator::locate`]; values in [0, 1].
    pub fn located(&self, human: &Tensor, worn: &Tensor) -> Tensor {
        let mirrored = self.locate(&human.flip([3]), &worn.flip([3])).flip([3]);
        let logits = (self.locate(human, worn) + mirrored) * 0.5;
        let height = human.size()[2];
        guided(&(logits - self.begins).sigmoid(), human, reach(GUIDED, height), EPS)
    }

    /// What a swap rests on, besides the paint: the mask of the worn article, the erasure, the placement of the target
    /// within it.
    fn sight(&self, human: &Tensor, worn: Option<&Tensor>, target: &Tensor) -> Sight {
        let height = human.size()[2];
        let bit = |mask: Tensor| mask.gt(0.5).to_kind(Kind::Float);
        let unknown = || Tensor::ones_like(target);
        let located = self.located(human, worn.unwrap_or(&unknown()));
        let mask = bit(located.shallow_clone());
        // The target may need more room than the worn article had, but not much more: what is repainted is invented.
        let generous = widened(&mask, reach(3.0, height));
        let room = self.place(&erased(human, &generous), &generous, target).sigmoid();
        let erasure = widened(&mask, reach(1.0, height)).maximum(&(bit(room) * generous));
        let left = erased(human, &erasure);
        let placement = self.place(&left, &erasure, target).sigmoid() * &erasure;
        Sight { located, erasure, left, placement }
    }

    /// Puts `target` on `human`, who wears `worn`, if that is known.
    ///
    /// # Shapes
    /// All three: `[N, 3, H, W]` in [-1, 1].
    pub fn swap(&self, human: &Tensor, worn: Option<&Tensor>, target: &Tensor) -> Swap {
        let sight = self.sight(human, worn, target);
        let painting = (self.painter).forward(&sight.left, &sight.erasure, target, &sight.placement);
        let edge = [3, 3];
        let mask = (sight.erasure).avg_pool2d(edge, [1, 1], [1, 1], false, false, None);
        let edges = lines(&sight.located, human, reach(GUIDED, human.size()[2]), EPS);
        Swap {
            composite: composite(human, &painting.paint, &mask),
            paint: painting.paint,
            mask,
            located: Some(sight.located),
            detail: Some(Detail {
                flow: painting.flow,
                mix: painting.mix,
                rendered: painting.rendered,
                placement: sight.placement,
                edges,
            }),
        }
    }

    /// The picture, the article as warped onto it, and the region in question, as [`Judge::judge`] takes them, for an
    /// article that is worn in the picture or might be.
    ///
    /// # Shapes
    /// Both: `[N, 3, H, W]` in [-1, 1]. Returns `[N, 3, H, W]` and `[N, 1, H, W]`.
    pub fn condition(&self, human: &Tensor, article: &Tensor) -> [Tensor; 2] {
        let sight = self.sight(human, Some(article), article);
        let painting = (self.painter).forward(&sight.left, &sight.erasure, article, &sight.placement);
        [painting.warped, sight.erasure]
    }
}

/// How far the guided filter looks for the photo's edges, for pictures of height 64, and its regulariser.
const GUIDED: f64 = 4.0;
const EPS: f64 = 1e-4;

struct Sight {
    located: Tensor,
    erasure: Tensor,
    left: Tensor,
    placement: Tensor,
}

/// A reach that is given for pictures of height 64, in pixels of pictures of another height; at least one.
pub fn reach(at_64: f64, height: i64) -> i64 {
    ((at_64 * height as f64 / 64.0).round() as i64).max(1)
}
