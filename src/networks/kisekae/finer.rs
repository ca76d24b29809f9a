//! Larger pictures, from coarse to fine: a network of pictures of about 64 x 48, and for each doubling a level that adds
//! to its doubled output (Wang et al. 2018, arXiv 1711.11585, section 3.1). A new level adds nothing at first.

use tch::Tensor;

use super::blocks::{Block, Head, Size, Stride, averaged, places};
use crate::networks::fused::doubled;
use crate::networks::parameters::{Init, Path};

/// Channels of a level's inputs and of its output.
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    /// What the level sees at its size before it knows of the coarser one, without the places.
    pub seen: i64,
    /// What joins the features of the coarser level.
    pub joined: i64,
    pub out: i64,
}

/// A level's features and its output.
#[derive(Debug)]
pub struct Drawn {
    pub hidden: Tensor,
    pub ys: Tensor,
}

/// One doubling.
#[derive(Debug)]
pub struct Finer {
    first: Block,
    up: Block,
    out: Head,
}

impl Finer {
    /// The levels of a size, the coarsest first. State-dict names `finer.<number>.first.*`, `finer.<number>.up.*` and
    /// `finer.<number>.out.*`.
    pub fn levels(path: &Path, size: Size, channels: Channels) -> Vec<Finer> {
        let Channels { seen, joined, out } = channels;
        let (path, c) = (path.sub("finer"), size.narrow);
        let level = |number: usize| {
            let at = path.sub(number);
            Finer {
                first: Block::new(&at.sub("first"), Stride::Keep, seen + 2, c),
                // The coarser level, the pictures, what joins them.
                up: Block::new(&at.sub("up"), Stride::Keep, 2 * c + joined, c),
                out: Head::new(&at.sub("out"), c, out, Init::Zeros),
            }
        };
        (0..size.finer).map(level).collect()
    }

    /// # Shapes
    /// `below`: `[N, narrow, H / 2, W / 2]` and `[N, out, H / 2, W / 2]`; the others `[N, C, H, W]`, of the channels of
    /// [`Channels`] and the features' number format.
    pub fn forward(&self, below: &Drawn, seen: &Tensor, joined: &[Tensor]) -> Drawn {
        let (n, _, h, w) = seen.size4().expect("[N, C, H, W]");
        let first = self.first.forward(&Tensor::cat(&[seen, &places(seen).expand([n, 2, h, w], false)], 1));
        let mut inputs = vec![doubled(&below.hidden), first];
        inputs.extend(joined.iter().map(Tensor::shallow_clone));
        let hidden = self.up.forward(&Tensor::cat(&inputs, 1));
        Drawn { ys: doubled(&below.ys) + self.out.forward(&hidden), hidden }
    }
}

/// Averages pictures of the largest of `finer + 1` sizes down to a level's: 0 is the coarsest.
pub fn at_level(xs: &Tensor, level: usize, finer: usize) -> Tensor {
    averaged(xs, 1 << (finer - level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Precision;
    use crate::networks::parameters::Parameters;
    use tch::{Device, Kind};

    #[test]
    fn a_new_level_doubles_the_output() {
        let size = Size { narrow: 8, levels: 4, finer: 1 };
        let channels = Channels { seen: 3, joined: 4, out: 2 };
        let build = |path: &Path| Finer::levels(path, size, channels);
        let (levels, parameters) = Parameters::build(build, Device::Cpu, Precision::Fp32, 0, "test");
        assert!(parameters.shapes().iter().all(|(name, _)| name.starts_with("finer.0.")));
        let draw = |c: i64, side: i64| Tensor::rand([2, c, side, side], (Kind::Float, Device::Cpu));
        let below = Drawn { hidden: draw(8, 4), ys: draw(2, 4) };
        let drawn = levels[0].forward(&below, &draw(3, 8), &[draw(4, 8)]);
        assert_eq!(drawn.ys, doubled(&below.ys));
        assert_eq!(drawn.hidden.size(), [2, 8, 8, 8]);
    }

    #[test]
    fn the_last_level_is_the_pictures_own() {
        let xs = Tensor::arange(16, (Kind::Float, Device::Cpu)).reshape([1, 1, 4, 4]);
        assert_eq!(at_level(&xs, 2, 2), xs);
        let mean = at_level(&xs, 0, 2);
        assert_eq!((mean.size(), mean.double_value(&[0, 0, 0, 0])), (vec![1, 1, 1, 1], 7.5));
    }
}
