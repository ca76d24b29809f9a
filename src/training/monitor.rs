//! Looks at fixed triplets, without crops and mirrors, and warns of collapse.
//!
//! A generator that does nothing must not score well: its swaps are the photos, which look real. So the score measures
//! the *effect* of swaps. Each person is dressed in two articles, and `colour_follows` is the share of the articles'
//! difference that the two swaps show: 0 for photos left alone, and for paint that does not depend on the article.
//! `patch_distance` compares one half of the swaps with the photos of the other half's people, as a multiple of the
//! distance between untouched photos: 1 for photos left alone, more for mud.
//!
//! ```text
//! score = 1 - colour_follows + 0.1 max(patch_distance - 1, 0)        lower is better; 1 = the photo left alone
//! ```
//!
//! The best generator has the lowest score among those below .98 whose mask covers .01 to .95 of the picture; a run may
//! have none. Larger pictures, in a run from coarse to fine, begin anew. A sign of collapse is a warning after three
//! looks in a row, and again only after it was gone.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::jsonl::rounded;
use super::trainer::Trainer;
use crate::data::Triplet;
use crate::error::Result;
use crate::metrics::{colour_follows, patch_distance};
use crate::pixels::{BUDGET, ValueRange};
use crate::random::rng;

/// The largest number of triplets of a look.
const TRIPLETS: usize = 32;
/// The fewest, whatever the size of the pictures.
const FEWEST: u64 = 4;
/// Bytes of a look for each triplet and pixel. Measured with pictures of 512 x 384: 270.
const BYTES: u64 = 256;
/// Mask areas of a swap that counts as one.
const OPEN: std::ops::RangeInclusive<f64> = 0.01..=0.95;
/// The score of photos left alone.
const NOTHING: f64 = 1.0;
/// The best look must score below this: a mask that hardly opens scores .999 by chance.
const BETTER: f64 = 0.98;
/// Weight of the patch distance beside the followed colour: mud in the right colours is better than a photo left alone.
const PATCH_WEIGHT: f64 = 0.1;
/// Looks in a row that must show a sign before it is a warning.
const LOOKS: u64 = 3;
/// The share of a run after which swaps should follow the target.
const LATE: f64 = 0.6;
/// The least steps of a run for that; shorter runs are trials.
const LONG: u64 = 400;
/// The least `colour_follows` of the best swaps then.
const HARDLY: f64 = 0.2;

/// The monitor's state between looks; part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The step of the last look.
    pub looked: u64,
    /// The look of the lowest score so far, if one was below [`BETTER`].
    best: Option<Best>,
    pub best_step: u64,
    /// Looks since the best one.
    pub since_best: u64,
    /// Whether the paint has ever differed between triplets: that of a fresh generator does not.
    varied: bool,
    /// For each sign, the number of looks in a row that showed it.
    seen: BTreeMap<String, u64>,
    /// The height of the pictures of the last look, in runs of several sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Best {
    score: f64,
    colour_follows: f64,
    patch_distance: f64,
}

/// The result of a look.
#[derive(Debug)]
pub struct Look {
    /// A line of `monitor.jsonl`.
    pub line: Map<String, Value>,
    pub warnings: Vec<String>,
    /// Whether its score is the best so far.
    pub best: bool,
}

/// Fixed triplets and the memory.
#[derive(Debug)]
pub struct Monitor {
    humans: Vec<usize>,
    targets: Vec<usize>,
    pub memory: Memory,
}

impl Monitor {
    /// Draws the triplets: people from the whole set, each with the article of another; fewer of pictures larger than
    /// 256 x 256, so that a look stays within the [`BUDGET`] of memory.
    pub fn new(trainer: &Trainer) -> Monitor {
        let count = trainer.data.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut rng(trainer.config.seed, "monitor", 0));
        // An even number, since each half is compared with the other.
        let pixels: i64 = trainer.config.image_size.iter().product();
        let fit = (BUDGET / (BYTES * pixels as u64)).max(FEWEST) as usize;
        let taken = count.min(TRIPLETS).min(fit) / 2 * 2;
        Monitor {
            humans: order[..taken].to_vec(),
            targets: (0..taken).map(|k| order[(k + 1) % taken]).collect(),
            memory: Memory::default(),
        }
    }

    /// Measures the generator that snapshots are of.
    ///
    /// # Errors
    /// If pictures stream: a picture that can no longer be decoded. The memory is then unchanged.
    pub fn look(&mut self, trainer: &mut Trainer) -> Result<Look> {
        let triplet = trainer.plain(&self.humans, &self.targets)?;
        let height = (trainer.config.sizes().len() > 1).then_some(trainer.stage.image_size[0]);
        let found = trainer.with_averaged(|trainer| Ok(tch::no_grad(|| numbers(trainer, &triplet))))?;
        if self.memory.height != height {
            // Scores of other sizes do not compare.
            self.memory = Memory { height, ..Memory::default() };
        }
        Ok(self.judge(found, trainer.step, trainer.total_steps()))
    }

    /// Remembers the numbers of a step of `total`, and makes the line and the warnings.
    fn judge(&mut self, found: Numbers, step: u64, total: u64) -> Look {
        let memory = &mut self.memory;
        memory.looked = step;
        let open = OPEN.contains(&found.mask_area);
        let score = found.score();
        let to_beat = memory.best.map_or(BETTER, |best| best.score);
        let best = open && score < to_beat;
        if best {
            memory.best =
                Some(Best { score, colour_follows: found.colour_follows, patch_distance: found.patch_distance });
            (memory.best_step, memory.since_best) = (step, 0);
        } else if memory.best.is_some() {
            memory.since_best += 1;
        }
        memory.varied |= found.paint_spread > 0.3;
        let past = |holds: &dyn Fn(Best) -> bool| memory.best.is_some_and(holds);
        let best_step = memory.best_step;
        let late = total >= LONG && step as f64 > LATE * total as f64;
        let signs = [
            (
                "closed",
                past(&|_| found.mask_area < *OPEN.start()),
                "the mask has closed: the swaps are the photos".to_owned(),
            ),
            (
                "whole",
                found.mask_area > *OPEN.end(),
                "the mask covers nearly everything: the swaps repaint whole pictures".to_owned(),
            ),
            (
                "same",
                memory.varied && open && found.paint_spread < 0.1,
                "the paint is the same for every triplet, whoever wears whatever".to_owned(),
            ),
            (
                "doubt",
                found.logit_gap > 15.0,
                "the discriminator tells swaps from matched pairs beyond doubt: the generator learns little from it"
                    .to_owned(),
            ),
            (
                "mud",
                past(&|best| open && found.patch_distance > 2.0 * best.patch_distance.max(1.0)),
                format!("the swaps look far less like photos than those of step {best_step}, the best so far"),
            ),
            (
                "deaf",
                past(&|best| open && found.colour_follows < 0.5 * best.colour_follows),
                format!(
                    "the swaps follow the target's colour less than half as well as those of step {best_step}, \
                     the best so far"
                ),
            ),
            (
                "late",
                late && !past(&|best| best.colour_follows >= HARDLY),
                "most of the run is over, and the swaps hardly depend on the target".to_owned(),
            ),
        ];
        let mut warnings = Vec::new();
        for (name, holds, words) in signs {
            if !holds {
                memory.seen.remove(name);
                continue;
            }
            let looks = memory.seen.entry(name.into()).or_default();
            *looks += 1;
            if *looks == LOOKS {
                warnings.push(format!("step {step}: {words}"));
            }
        }
        let mut line = Map::new();
        line.insert("step".into(), json!(step));
        for (name, value) in [
            ("monitor/mask_area", found.mask_area),
            ("monitor/paint_spread", found.paint_spread),
            ("monitor/logit_gap", found.logit_gap),
            ("monitor/colour_follows", found.colour_follows),
            ("monitor/patch_distance", found.patch_distance),
            ("monitor/score", score),
        ] {
            line.insert(name.into(), json!(rounded(value)));
        }
        line.insert("monitor/best_step".into(), json!(memory.best_step));
        Look { line, warnings, best }
    }
}

/// The numbers of a look.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    /// Mean of the masks.
    mask_area: f64,
    /// Deviation of the paint across triplets, over that of the photos.
    paint_spread: f64,
    /// Mean logit of matched pairs less that of swapped ones.
    logit_gap: f64,
    /// [`colour_follows`].
    colour_follows: f64,
    /// [`patch_distance`] of each half of the swaps to the other half's photos, over that of the untouched photos.
    patch_distance: f64,
}

impl Numbers {
    fn score(&self) -> f64 {
        // NaN if one of the two is NaN, and then never the best.
        NOTHING - self.colour_follows + PATCH_WEIGHT * (self.patch_distance - 1.0).clamp(0.0, f64::MAX)
    }
}

fn numbers(trainer: &Trainer, triplet: &Triplet) -> Numbers {
    let unit = |values: &Tensor| match trainer.config.range() {
        ValueRange::Unit => values.shallow_clone(),
        ValueRange::Symmetric => (values + 1.0) * 0.5,
    };
    let swap = trainer.swap(triplet);
    // The same people, each in the target of the next.
    let other = Triplet {
        human: triplet.human.shallow_clone(),
        worn: triplet.worn.shallow_clone(),
        target: triplet.target.roll([-1], [0]),
    };
    let score = |human: &Tensor, article: &Tensor| trainer.score(human, article).mean(Kind::Float).double_value(&[]);
    let (human, composite, paint) = (unit(&triplet.human), unit(&swap.composite), unit(&swap.paint));
    let spread = |values: &Tensor| {
        let deviation = values.std_dim([0i64].as_slice(), false, false);
        deviation.mean(Kind::Float).double_value(&[])
    };
    let half = human.size()[0] / 2;
    let halves = |values: &Tensor| [values.narrow(0, 0, half), values.narrow(0, half, half)];
    let ([one, two], [first, second]) = (halves(&composite), halves(&human));
    let crossed = 0.5 * (patch_distance(&one, &second) + patch_distance(&two, &first));
    Numbers {
        mask_area: swap.mask.mean(Kind::Float).double_value(&[]),
        paint_spread: spread(&paint) / spread(&human).max(1e-6),
        logit_gap: score(&triplet.human, &triplet.worn) - score(&swap.composite, &triplet.target),
        colour_follows: colour_follows(
            [&composite, &unit(&trainer.swap(&other).composite)],
            [&unit(&triplet.target), &unit(&other.target)],
            &swap.mask,
        ),
        patch_distance: crossed / patch_distance(&first, &second).max(1e-6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor() -> Monitor {
        Monitor { humans: Vec::new(), targets: Vec::new(), memory: Memory::default() }
    }

    const GOOD: Numbers =
        Numbers { mask_area: 0.2, paint_spread: 0.6, logit_gap: 2.0, colour_follows: 0.4, patch_distance: 1.2 };
    /// A photo left alone.
    const CLOSED: Numbers =
        Numbers { mask_area: 1e-3, paint_spread: 0.6, logit_gap: 2.0, colour_follows: 0.0, patch_distance: 1.0 };

    /// The warnings of each of `looks` looks at the same numbers.
    fn warnings(monitor: &mut Monitor, numbers: Numbers, looks: u64) -> Vec<Vec<String>> {
        let one = |k| monitor.judge(numbers, k, 1000).warnings;
        (1..=looks).map(one).collect()
    }

    #[test]
    fn a_sign_is_a_warning_at_the_third_look_and_again_when_it_comes_back() {
        let mut monitor = monitor();
        // A mask that was never open has not closed.
        assert!(warnings(&mut monitor, CLOSED, 5).concat().is_empty());
        assert!(warnings(&mut monitor, GOOD, 1).concat().is_empty());
        assert!(warnings(&mut monitor, CLOSED, 2).concat().is_empty());
        assert!(warnings(&mut monitor, GOOD, 1).concat().is_empty());
        for _ in 0..2 {
            let words = warnings(&mut monitor, CLOSED, 5);
            assert!(words[2][0].starts_with("step 3: the mask has closed"));
            assert_eq!(words.concat().len(), 1);
            assert!(warnings(&mut monitor, GOOD, 1).concat().is_empty());
        }
    }

    #[test]
    fn each_sign_has_a_warning() {
        for (numbers, words) in [
            (Numbers { mask_area: 0.99, ..GOOD }, "covers nearly everything"),
            (Numbers { paint_spread: 0.01, ..GOOD }, "the paint is the same"),
            (Numbers { logit_gap: 40.0, ..GOOD }, "beyond doubt"),
            (Numbers { patch_distance: 2.5, ..GOOD }, "far less like photos than those of step 1"),
            (Numbers { colour_follows: 0.1, ..GOOD }, "less than half as well as those of step 1"),
        ] {
            let mut monitor = monitor();
            assert!(warnings(&mut monitor, GOOD, 1).concat().is_empty());
            let got = warnings(&mut monitor, numbers, 4).concat();
            assert!(got.len() == 1 && got[0].contains(words), "{words}: {got:?}");
        }
    }

    #[test]
    fn a_late_run_whose_swaps_hardly_follow_is_a_warning() {
        let weak = Numbers { colour_follows: 0.15, ..GOOD };
        for numbers in [CLOSED, weak] {
            let mut monitor = monitor();
            let mut words = |step| monitor.judge(numbers, step, 1000).warnings;
            assert!([200, 400, 600, 800, 900].map(&mut words).concat().is_empty());
            assert!(words(1000)[0].contains("most of the run is over"));
            let mut trial = self::monitor();
            let mut words = |step| trial.judge(numbers, step, 100).warnings;
            assert!([90, 92, 94, 96, 98, 100].map(&mut words).concat().is_empty());
        }
        let mut good = monitor();
        let mut words = |numbers, step| good.judge(numbers, step, 100).warnings;
        assert!(words(GOOD, 50).is_empty());
        assert!([70, 80, 90].map(|step| words(CLOSED, step)).concat()[0].contains("closed"));
    }

    #[test]
    fn the_best_is_the_lowest_score_below_that_of_doing_nothing() {
        let mut monitor = monitor();
        let mut best = |mask_area, colour_follows, step| {
            let numbers = Numbers { mask_area, colour_follows, ..GOOD };
            monitor.judge(numbers, step, 1000).best
        };
        assert!(!best(0.001, 0.9, 1), "a closed mask is no swap");
        assert!(!best(0.2, 0.03, 2), "1 - .03 + .1 * .2 is not below .98");
        assert!(best(0.2, 0.3, 3));
        assert!(!best(0.2, 0.2, 4));
        assert!(!best(0.97, 0.9, 5));
        assert!(best(0.2, 0.4, 6));
        assert!(!best(0.2, f64::NAN, 7));
        assert_eq!((monitor.memory.best_step, monitor.memory.since_best), (6, 1));
    }
}
