//! DiffAugment (Zhao et al. 2020, arXiv 2006.10738): augments everything that the discriminator sees, differentiably,
//! so that the generator learns through it. The pictures of the data and of the generator are unchanged.
//!
//! A human and an article belong together by colour and pattern, not by place. So the colour is drawn once for both
//! pictures of a pair, and it maps equal colours to equal ones (the source takes contrast about each picture's mean; we
//! take it about mid-grey, which both have in common). Translation and cutout are drawn for each picture on its own.

use rand::RngExt;
use tch::{Device, Kind, Tensor};

use super::noise::Pass;
use crate::config::Config;
use crate::data::Share;
use crate::native::sent;
use crate::pixels::ValueRange;
use crate::random::rng;

/// The largest move of a picture, as a share of its sides (the source's).
const TRANSLATION: f64 = 0.125;
/// The sides of the rectangle that turns grey, as a share of the picture's (the source's).
const CUTOUT: f64 = 0.5;

/// The columns of a draw: brightness, saturation and contrast of the pair; then for the human and for the article the
/// moves of rows and columns; then for both the first row and column of the cutout.
const COLUMNS: i64 = 11;
const MOVED: i64 = 3;
const CUT: i64 = 7;

/// A picture's place in a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Human,
    Article,
}

/// The augmentation of a pass of the discriminator.
#[derive(Debug)]
pub struct Augment {
    colour: bool,
    translation: bool,
    cutout: bool,
    range: ValueRange,
    /// `[N, COLUMNS]`; `None` if all three are off.
    draw: Option<Tensor>,
}

impl Augment {
    /// Draws for a process's pairs of a pass of a step.
    pub fn draw(config: &Config, pass: Pass, step: u64, device: Device, own: Share) -> Augment {
        let augment = Augment {
            colour: config.augment_colour,
            translation: config.augment_translation,
            cutout: config.augment_cutout,
            range: config.range(),
            draw: None,
        };
        if !(augment.colour || augment.translation || augment.cutout) {
            return augment;
        }
        let purpose = match pass {
            Pass::Discriminator => "augment/discriminator",
            Pass::Generator => "augment/generator",
        };
        let count = pass.pairs(config.batch_size);
        let mut random = rng(config.seed, purpose, step);
        let mut values = Vec::with_capacity((count * COLUMNS) as usize);
        for _ in 0..count {
            values.push(random.random_range(-0.5f32..0.5));
            values.push(random.random_range(0f32..2.0));
            values.push(random.random_range(0.5f32..1.5));
            for _ in [Side::Human, Side::Article] {
                values.extend(config.image_size.map(|side| {
                    let most = share(side, TRANSLATION);
                    random.random_range(-most..=most) as f32
                }));
            }
            for _ in [Side::Human, Side::Article] {
                // The middle lies anywhere in the picture, so that borders are cut as often as the rest.
                values.extend(config.image_size.map(|side| {
                    let size = share(side, CUTOUT);
                    (random.random_range(0..=side - size % 2) - size / 2) as f32
                }));
            }
        }
        let values = pass.rows(&values, COLUMNS as usize, config.batch_size, own);
        let draw = Tensor::from_slice(&values).reshape([-1, COLUMNS]);
        Augment { draw: Some(sent(&draw, device)), ..augment }
    }

    /// Returns the draw itself; `None` if all three are off.
    pub fn table(self) -> Option<Tensor> {
        self.draw
    }

    /// # Shapes
    /// `[N, 3, H, W]` in the networks' value range. Returns the same.
    pub fn humans(&self, pictures: &Tensor) -> Tensor {
        self.apply(pictures, Side::Human)
    }

    /// # Shapes
    /// As [`Augment::humans`].
    pub fn articles(&self, pictures: &Tensor) -> Tensor {
        self.apply(pictures, Side::Article)
    }

    fn apply(&self, pictures: &Tensor, side: Side) -> Tensor {
        let Some(draw) = &self.draw else {
            return pictures.shallow_clone();
        };
        let column = |k: i64| draw.narrow(1, k, 1).reshape([-1, 1, 1, 1]);
        let pair = match side {
            Side::Human => 0,
            Side::Article => 2,
        };
        // About mid-grey, which also fills the cutout and comes in from outside.
        let mut xs = pictures - self.range.middle();
        if self.colour {
            let bright = xs + column(0) * (0.5 * self.range.span());
            let grey = bright.mean_dim(1, true, Kind::Float); // [N, 1, H, W]
            xs = grey.lerp_tensor(&bright, &column(1)) * column(2);
        }
        for (dim, number) in [(2, 0), (3, 1)] {
            if !self.translation {
                continue;
            }
            let (places, length) = (places(&xs, dim), xs.size()[dim as usize]);
            let from = places + column(MOVED + pair + number); // [N, 1, H, 1] or [N, 1, 1, W]
            let inside = from.ge(0.0).logical_and(&from.lt(length as f64));
            let index = from.clamp(0.0, (length - 1) as f64).to_kind(Kind::Int64);
            xs = xs.gather(dim, &index.expand(xs.size(), false), false) * inside;
        }
        if self.cutout {
            let [rows, columns] = [(2, 0), (3, 1)].map(|(dim, number)| {
                let (places, length) = (places(&xs, dim), xs.size()[dim as usize]);
                let at = places - column(CUT + pair + number);
                let size = share(length, CUTOUT) as f64;
                at.ge(0.0).logical_and(&at.lt(size))
            });
            xs *= rows.logical_and(&columns).logical_not();
        }
        xs + self.range.middle()
    }
}

/// Rounds a share of a side to whole pixels.
fn share(side: i64, of: f64) -> i64 {
    (side as f64 * of + 0.5) as i64
}

/// Counts 0, 1, ... along a side of pictures: `[1, 1, H, 1]` or `[1, 1, 1, W]`.
fn places(like: &Tensor, dim: i64) -> Tensor {
    let length = like.size()[dim as usize];
    let mut shape = [1, 1, 1, 1];
    shape[dim as usize] = length;
    Tensor::arange(length, (Kind::Float, like.device())).reshape(shape)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Preset;

    fn with(flags: [bool; 3], range: ValueRange, draw: &[f32]) -> Augment {
        Augment {
            colour: flags[0],
            translation: flags[1],
            cutout: flags[2],
            range,
            draw: Some(Tensor::from_slice(draw).reshape([-1, COLUMNS])),
        }
    }

    fn values(t: &Tensor) -> Vec<f32> {
        Vec::try_from(t.reshape([-1])).unwrap()
    }

    #[test]
    fn colour_is_one_map_for_human_and_article() {
        let draw = [0.2, 0.5, 1.5, 0., 0., 0., 0., 0., 0., 0., 0.];
        let pixel = Tensor::from_slice(&[0.1f32, 0.4, 0.7]).reshape([1, 3, 1, 1]);
        // Brighter by 0.2: 0.3, 0.6, 0.9. Half the distance to their mean 0.6: 0.45, 0.6, 0.75. Times 1.5: 0.675, 0.9,
        // 1.125.
        let augment = with([true, false, false], ValueRange::Symmetric, &draw);
        for (got, wanted) in values(&augment.humans(&pixel)).iter().zip([0.675, 0.9, 1.125]) {
            assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
        }
        assert_eq!(augment.humans(&pixel), augment.articles(&pixel));
        // The same colours in the other value range come out as the same colours.
        let unit = with([true, false, false], ValueRange::Unit, &draw);
        let other = unit.articles(&(&pixel * 0.5 + 0.5)) * 2.0 - 1.0;
        assert!((other - augment.humans(&pixel)).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn pictures_move_on_their_own_over_grey() {
        // The human moves by one row and no column, the article by no row and minus one column.
        let draw = [0., 1., 1., 1., 0., 0., -1., 0., 0., 0., 0.];
        let augment = with([false, true, false], ValueRange::Unit, &draw);
        let picture = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.]).reshape([1, 1, 2, 3]);
        let human = augment.humans(&picture);
        assert_eq!(values(&human), [4., 5., 6., 0.5, 0.5, 0.5]);
        let article = augment.articles(&picture);
        assert_eq!(values(&article), [0.5, 1., 2., 0.5, 4., 5.]);
    }

    #[test]
    fn a_rectangle_is_cut_out_and_gets_no_gradient() {
        // The cutout of a 4 x 4 picture has 2 x 2; the human's is at row 1, column -1, so its first column is outside.
        let draw = [0., 1., 1., 0., 0., 0., 0., 1., -1., 2., 2.];
        let augment = with([false, false, true], ValueRange::Symmetric, &draw);
        let picture = Tensor::ones([1, 1, 4, 4], (Kind::Float, Device::Cpu));
        let picture = picture.set_requires_grad(true);
        let ys = augment.humans(&picture);
        #[rustfmt::skip]
        let expected = [1., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1., 1., 1., 1., 1., 1.];
        assert_eq!(values(&ys), expected);
        ys.sum(Kind::Float).backward();
        assert_eq!(values(&picture.grad()), expected);
        assert_eq!(augment.articles(&picture).sum(Kind::Float).double_value(&[]), 12.0);
    }

    #[test]
    fn draws_stay_within_the_sources_bounds_and_come_from_seed_and_step() {
        let settings = json!({"augment_cutout": true, "image_size": [64, 32], "batch_size": 2000});
        let config = Config::with(Preset::Paper, settings).unwrap();
        let draw = |pass, step| Augment::draw(&config, pass, step, Device::Cpu, Share::WHOLE).table().unwrap();
        let table = draw(Pass::Generator, 3);
        assert_eq!(table, draw(Pass::Generator, 3));
        assert_ne!(table, draw(Pass::Generator, 4));
        assert_ne!(table, draw(Pass::Discriminator, 3));
        let (low, high) = (table.amin([0], false), table.amax([0], false));
        let (low, high) = (values(&low), values(&high));
        assert!(low[0] >= -0.5 && high[0] < 0.5 && low[1] >= 0.0 && high[1] < 2.0);
        assert!(low[2] >= 0.5 && high[2] < 1.5);
        // Moves: an eighth of 64 and of 32. Cutouts: a half of them, from half outside to half outside.
        assert_eq!(low[3..7], [-8.0, -4.0, -8.0, -4.0]);
        assert_eq!(high[3..7], [8.0, 4.0, 8.0, 4.0]);
        assert_eq!(low[7..], [-16.0, -8.0, -16.0, -8.0]);
        assert_eq!(high[7..], [48.0, 24.0, 48.0, 24.0]);
        let off = Augment::draw(&Config::preset(Preset::Paper), Pass::Generator, 0, Device::Cpu, Share::WHOLE);
        assert!(off.table().is_none());
    }
}
