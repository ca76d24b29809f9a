//! The erasures that the painter restores: random blobs, and the locator's masks, widened.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor};

use super::team::Team;
use crate::config::Config;
use crate::data::Crew;
use crate::native::sent;
use crate::networks::kisekae::{enclosed, reach, widened};
use crate::random::rng;

/// The largest number of shapes in a picture's blob.
const SHAPES: usize = 3;
/// The columns of a shape: middle and half sides (in heights and widths of the picture), whether it is an ellipse,
/// whether it exists.
const COLUMNS: usize = 6;
/// The pixels that a step may widen masks by, for pictures of height 64: mostly few, as in a swap.
const WIDENED: [f64; 4] = [1.0, 2.0, 3.0, 6.0];
/// The share of a batch that is erased by masks once the locator makes them. Blobs alone show the locator regions that
/// it does not know yet.
const MASKED: f64 = 0.75;
/// The share of masks with a blob beside them.
const BESIDE: f64 = 0.25;
/// The share of masks with another person's beside them.
const JOINED: f64 = 0.4;
/// The share of masks of which the bounding box is erased, and how far a side of it may move out, as a share of the box.
const BOXED: f64 = 0.2;
const MARGIN: f32 = 0.3;
/// The share of steps whose placement is the locator's mask and not the placer's.
const SHARP: f64 = 0.3;
/// The deviations of registered maps: logarithm of the scale, turn in radians, shift in halves of the picture.
const JITTER: [f32; 3] = [0.03, 0.025, 0.02];

/// The draws of a step.
#[derive(Debug)]
pub struct Erasures {
    /// `[N, 1, H, W]`, 0 or 1.
    pub blobs: Tensor,
    /// `[N, 1, 1, 1]`: 1 where a mask is erased.
    pub masked: Tensor,
    /// `[N, 1, 1, 1]`: 1 where the blob is erased beside the mask.
    pub beside: Tensor,
    /// `[N, 1, 1, 1]`: 1 where another person's mask is erased beside the mask, so that the erasure tells nothing.
    pub joined: Tensor,
    /// `[N, 4, 1, 1]`: the shares by which the bounding box's sides move out: top, bottom, left, right; -1 where the
    /// mask itself is erased.
    pub boxes: Tensor,
    /// `[N, 1, 1, 1]`: 1 where the locator does not see the worn article.
    pub withheld: Tensor,
    /// Pixels that masks are widened by.
    pub widen: i64,
    /// Whether the placement is the locator's mask.
    pub sharp: bool,
    /// `[N, 3, 3]`: a small similarity of the article's picture, as frames err in use.
    pub jitter: Tensor,
}

impl Erasures {
    /// Draws for a process's rows of a step. The draws of the whole batch are the same for any number of processes.
    pub fn draw(config: &Config, step: u64, device: Device, team: &Team) -> Erasures {
        let batch = config.batch_size;
        let rows = team.share().rows(batch);
        let own = |xs: Tensor| xs.narrow(0, rows.start as i64, rows.len() as i64);
        let [height, width] = config.image_size;
        let mut random = rng(config.seed, "erasure", step);
        let mut shapes = Vec::with_capacity(batch * SHAPES * COLUMNS);
        for _ in 0..batch {
            let count = random.random_range(1..=SHAPES);
            for k in 0..SHAPES {
                shapes.extend([
                    random.random_range(0.25f32..0.95),
                    random.random_range(0.2f32..0.8),
                    random.random_range(0.12f32..0.4),
                    random.random_range(0.12f32..0.4),
                    f32::from(random.random_bool(0.5)),
                    f32::from(k < count),
                ]);
            }
        }
        let mut coins = |p: f64| -> Vec<f32> { (0..batch).map(|_| f32::from(random.random_bool(p))).collect() };
        let coins = [BESIDE, config.withhold_worn, JOINED, BOXED].map(&mut coins);
        let margins: Vec<f32> = (0..4 * batch).map(|_| random.random_range(0.0..MARGIN)).collect();
        let masked: Vec<f32> = if (1.0 - MASKED) * (batch as f64) < 1.0 {
            // The share of the steps: in each of them, it would leave no picture of so small a batch to blobs alone.
            let mut random = rng(config.seed, "erasure/masked", step);
            (0..batch).map(|_| f32::from(random.random_bool(MASKED))).collect()
        } else {
            // A fixed share of the batch, so that each step has both.
            (0..batch).map(|i| f32::from((i as f64) < MASKED * batch as f64)).collect()
        };
        // One table, which the device gets at once.
        let [beside, withheld, joined, boxed] = &coins;
        let parts = [&shapes, beside, withheld, joined, boxed, &margins, &masked, &jitter(config, step)];
        let table = sent(&Tensor::from_slice(&parts.map(Vec::as_slice).concat()), device);
        let mut first = 0;
        let mut part = |shape: &[i64]| {
            let shape = [&[batch as i64], shape].concat();
            let length = shape.iter().product::<i64>();
            first += length;
            own(table.narrow(0, first - length, length).reshape(shape))
        };
        let shapes = part(&[SHAPES as i64, COLUMNS as i64, 1, 1]);
        let [beside, withheld, joined, boxed] = coins.each_ref().map(|_| part(&[1, 1, 1]));
        let boxes = boxed * (part(&[4, 1, 1]) + 1.0) - 1.0;
        Erasures {
            blobs: rasterised(&shapes, [height, width]),
            masked: part(&[1, 1, 1]),
            beside,
            joined,
            boxes,
            withheld,
            widen: reach(WIDENED[random.random_range(0..WIDENED.len())], height),
            sharp: random.random_bool(SHARP),
            jitter: part(&[3, 3]),
        }
    }

    /// Lists every field by its name, numbers as `[1]`.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let number = |value: f32| Tensor::from_slice(&[value]);
        [
            ("blobs", self.blobs.shallow_clone()),
            ("masked", self.masked.shallow_clone()),
            ("beside", self.beside.shallow_clone()),
            ("joined", self.joined.shallow_clone()),
            ("boxes", self.boxes.shallow_clone()),
            ("withheld", self.withheld.shallow_clone()),
            ("widen", number(self.widen as f32)),
            ("sharp", number(f32::from(self.sharp))),
            ("jitter", self.jitter.shallow_clone()),
        ]
        .map(|(name, values)| (name.into(), values))
        .into()
    }

    /// Returns the worn articles as the locator sees them: white where they are withheld.
    pub fn shown(&self, worn: &Tensor) -> Tensor {
        worn.lerp_tensor(&worn.ones_like(), &self.withheld.expand_as(worn))
    }

    /// Returns the articles by which a person's frame is corrected: one that is not worn where the worn one is withheld.
    pub fn other(&self, worn: &Tensor, target: &Tensor) -> Tensor {
        worn.lerp_tensor(target, &self.withheld.expand_as(worn))
    }

    /// Returns the erasure, `[N, 1, H, W]`: of blobs and the locator's masks (`[N, 1, H, W]`, 0 or 1), or of blobs
    /// alone. Another person's mask is that of the row before in the whole batch.
    pub fn with(&self, mask: Option<&Tensor>, team: &Team) -> Tensor {
        match mask {
            None => self.blobs.shallow_clone(),
            Some(mask) => {
                let wide = widened(&mask.maximum(&(other(mask, team) * &self.joined)), self.widen)
                    .maximum(&boxed(mask, &self.boxes));
                let wide = wide.maximum(&(&self.blobs * &self.beside));
                self.blobs.lerp_tensor(&wide, &self.masked.expand_as(&wide))
            }
        }
    }

    /// Adds the article's outline, `[N, 1, H, W]`, to the erasures of masks, as in a swap: what a mask encloses nearly
    /// stays.
    pub fn outlined(&self, erasure: &Tensor, outline: &Tensor) -> Tensor {
        let height = erasure.size()[2];
        let free = 1.0 - enclosed(erasure, reach(2.0, height));
        erasure.maximum(&(outline.gt(0.5).to_kind(Kind::Float) * free * &self.masked))
    }

    /// Returns the weight of each pixel's gain for the locator: less where its own mask was erased, or the mask would
    /// confirm itself and grow.
    pub fn trust(&self, erasure: &Tensor, located: bool) -> Tensor {
        if located { erasure * (1.0 - &self.masked * 0.75) } else { erasure.shallow_clone() }
    }
}

/// Draws a similarity near the identity for each picture: the numbers of `[N, 3, 3]`.
fn jitter(config: &Config, step: u64) -> Vec<f32> {
    let mut random = rng(config.seed, "erasure/jitter", step);
    let aspect = config.image_size[0] as f32 / config.image_size[1] as f32;
    let mut maps = Vec::with_capacity(config.batch_size * 9);
    for _ in 0..config.batch_size {
        let mut normal = |deviation: f32| {
            let value: f32 = StandardNormal.sample(&mut random);
            deviation * value
        };
        let scale = normal(JITTER[0]).exp();
        let (sin, cos) = normal(JITTER[1]).sin_cos();
        let (x, y) = (normal(JITTER[2]), normal(JITTER[2]));
        maps.extend([scale * cos, -scale * sin * aspect, x, scale * sin / aspect, scale * cos, y, 0.0, 0.0, 1.0]);
    }
    maps
}

/// The mask of the row before in the whole batch, from the row on in which the own one begins.
fn other(mask: &Tensor, team: &Team) -> Tensor {
    aligned(&team.before(mask), mask)
}

/// The first row of each mask, `[N, 1]`: the number of empty rows above it.
fn top(mask: &Tensor) -> Tensor {
    let (above, _) = mask.amax([3], false).cummax(2);
    above.lt(0.5).sum_dim_intlist([2].as_slice(), false, Kind::Float)
}

/// Moves masks up or down, so that they begin in the same row as `like`.
///
/// # Shapes
/// Both: `[N, 1, H, W]`, 0 or 1. Returns the same.
fn aligned(mask: &Tensor, like: &Tensor) -> Tensor {
    let height = mask.size()[2];
    let rows = Tensor::arange(height, (Kind::Float, mask.device())) + (top(mask) - top(like)); // [N, H]
    let inside = rows.ge(0.0) * rows.lt(height as f64);
    let rows = rows.clamp(0.0, (height - 1) as f64).to_kind(Kind::Int64);
    let expand = |xs: Tensor| xs.reshape([-1, 1, height, 1]).expand_as(mask);
    mask.gather(2, &expand(rows), false) * expand(inside).to_kind(Kind::Float)
}

/// Draws 1 inside the bounding boxes of masks whose sides move out by shares of the box; 0 for a negative share and for
/// an empty mask.
///
/// # Shapes
/// `mask`: `[N, 1, H, W]`, 0 or 1; `shares`: `[N, 4, 1, 1]`. Returns `[N, 1, H, W]`.
fn boxed(mask: &Tensor, shares: &Tensor) -> Tensor {
    let (_, _, height, width) = mask.size4().expect("[N, 1, H, W]");
    let share = |k: i64| shares.narrow(1, k, 1);
    let axis = |across: i64, shape: [i64; 4], sides: [i64; 2]| {
        let at = Tensor::arange(shape[2] * shape[3], (Kind::Float, mask.device())).reshape(shape);
        let held = mask.amax([across], true).gt(0.5); // [N, 1, H, 1] or [N, 1, 1, W]
        let far = (shape[2] * shape[3]) as f64;
        let first = at.where_self(&held, &Tensor::full([1], 2.0 * far, (Kind::Float, mask.device())));
        let last = at.where_self(&held, &Tensor::full([1], -far, (Kind::Float, mask.device())));
        let [first, last] = [first.amin([2, 3].as_slice(), true), last.amax([2, 3].as_slice(), true)];
        let length = &last - &first + 1.0;
        at.ge_tensor(&(first - &length * share(sides[0]))) * at.le_tensor(&(last + length * share(sides[1])))
    };
    let inside = axis(3, [1, 1, height, 1], [0, 1]).logical_and(&axis(2, [1, 1, 1, width], [2, 3]));
    (inside * share(0).ge(0.0)).to_kind(Kind::Float)
}

/// Draws 1 inside any of a picture's shapes, 0 elsewhere.
///
/// # Shapes
/// `shapes`: `[N, K, 6, 1, 1]`. Returns `[N, 1, H, W]`.
fn rasterised(shapes: &Tensor, [height, width]: [i64; 2]) -> Tensor {
    let column = |k: i64| shapes.select(2, k); // [N, K, 1, 1]
    let axis = |length: i64| (Tensor::arange(length, (Kind::Float, shapes.device())) + 0.5) * (1.0 / length as f64);
    let down = (axis(height).reshape([1, 1, height, 1]) - column(0)) / column(2); // [N, K, H, 1]
    let across = (axis(width).reshape([1, 1, 1, width]) - column(1)) / column(3); // [N, K, 1, W]
    let ellipse = (down.square() + across.square()).lt(1.0).to_kind(Kind::Float);
    let bounds = down.abs().maximum(&across.abs()).lt(1.0).to_kind(Kind::Float);
    let inside = bounds.lerp_tensor(&ellipse, &column(4).expand_as(&ellipse)) * column(5);
    inside.amax([1], true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Preset;

    #[test]
    fn shapes_by_hand() {
        // A box of half sides 0.25 in the middle of 4 x 8, and an ellipse that does not exist.
        let shapes = [0.5f32, 0.5, 0.25, 0.25, 0., 1., 0.5, 0.5, 0.5, 0.5, 1., 0.];
        let shapes = Tensor::from_slice(&shapes).reshape([1, 2, 6, 1, 1]);
        let mask = rasterised(&shapes, [4, 8]);
        assert_eq!(mask.sum(Kind::Float).double_value(&[]), 2.0 * 4.0);
        assert_eq!(mask.double_value(&[0, 0, 1, 2]), 1.0);
        assert_eq!(mask.double_value(&[0, 0, 1, 1]), 0.0);
    }

    #[test]
    fn another_mask_is_moved_to_the_same_top_and_a_box_moves_its_sides_out() {
        let mask = |rows: [&[f32]; 6]| Tensor::from_slice(&rows.concat()).reshape([1, 1, 6, 4]);
        let none = [0f32; 4];
        let ours = mask([&none, &none, &none, &[0., 1., 1., 0.], &[0., 0., 1., 0.], &none]);
        let theirs = mask([&none, &[1., 0., 0., 0.], &[0., 1., 0., 0.], &[0., 0., 1., 0.], &[0., 0., 0., 1.], &none]);
        let moved = mask([&none, &none, &none, &[1., 0., 0., 0.], &[0., 1., 0., 0.], &[0., 0., 1., 0.]]);
        assert_eq!(aligned(&theirs, &ours), moved);
        let empty = ours.zeros_like();
        for (mask, like) in [(&theirs, &empty), (&empty, &ours)] {
            assert_eq!(aligned(mask, like).sum(Kind::Float).double_value(&[]), 0.0);
        }
        // Rows 3 to 4, columns 1 to 2: half of two rows up, nothing down, a quarter of two columns to the sides.
        let shares = |top: f32| Tensor::from_slice(&[top, 0.0, 0.25, 0.5]).reshape([1, 4, 1, 1]);
        let inside = [0f32, 1., 1., 1.];
        let wanted = mask([&none, &none, &inside, &inside, &inside, &none]);
        assert_eq!(boxed(&ours, &shares(0.5)), wanted);
        for (mask, top) in [(&ours, -1.0), (&empty, 0.5)] {
            assert_eq!(boxed(mask, &shares(top)).sum(Kind::Float).double_value(&[]), 0.0);
        }
    }

    #[test]
    fn each_batch_has_blobs_alone_in_a_quarter_of_its_pictures() {
        for batch in 1..=9 {
            let settings = json!({"batch_size": batch, "image_size": 16});
            let config = Config::with(Preset::Kisekae, settings).unwrap();
            let masked = (0..400).map(|step| Erasures::draw(&config, step, Device::Cpu, &Team::alone()).masked);
            let each = Tensor::stack(&masked.collect::<Vec<_>>(), 0).reshape([400, batch]);
            if batch < 4 {
                // In every place 300 of 400, within four standard errors of sqrt(400 * 0.75 * 0.25).
                for count in Vec::<f64>::try_from(each.sum_dim_intlist(0, false, Kind::Double)).unwrap() {
                    assert!((count - 300.0).abs() < 35.0, "{batch}: {count}");
                }
            } else {
                let expected = (0..batch).filter(|k| (*k as f64) < 0.75 * batch as f64).count();
                assert_eq!(each.sum(Kind::Float).double_value(&[]), 400.0 * expected as f64);
                assert!(expected < batch as usize);
            }
        }
    }

    #[test]
    fn draws_come_from_seed_and_step_and_masks_take_their_share() {
        let settings = json!({"batch_size": 8, "withhold_worn": 0.5});
        let config = Config::with(Preset::Kisekae, settings).unwrap();
        let draw = |step| Erasures::draw(&config, step, Device::Cpu, &Team::alone());
        assert_eq!(draw(3).blobs, draw(3).blobs);
        assert_ne!(draw(3).blobs, draw(4).blobs);
        let erasures = draw(3);
        let [h, w] = config.image_size;
        let mask = Tensor::zeros([8, 1, h, w], (Kind::Float, Device::Cpu));
        let _ = mask.narrow(2, 24, 2).narrow(3, 24, 2).fill_(1.0);
        let got = erasures.with(Some(&mask), &Team::alone());
        // The last two pictures have blobs; the first six have masks of 2 x 2, widened, and some have blobs too.
        assert_eq!(got.narrow(0, 6, 2), erasures.blobs.narrow(0, 6, 2));
        let side = (2 + 2 * erasures.widen) as f64;
        let boxed = Vec::<f32>::try_from(erasures.boxes.select(1, 0).reshape([-1])).unwrap();
        let areas = got.sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Float);
        let beside = Vec::<f32>::try_from(erasures.beside.reshape([-1])).unwrap();
        for (i, beside) in beside.iter().enumerate().take(6) {
            let area = areas.double_value(&[i as i64]);
            // A box of two pixels moves its sides out by less than one.
            assert!(boxed[i] < 0.3 && if *beside == 0.0 { area == side * side } else { area > side * side });
        }
    }
}
