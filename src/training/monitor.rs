//! Watches what collapse looks like, on fixed triplets without crops and mirrors, and tells in plain words.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::log::rounded;
use super::trainer::Trainer;
use crate::data::Triplet;
use crate::error::Result;
use crate::metrics::{colour_left, patch_distance};
use crate::pixels::ValueRange;
use crate::random::rng;

/// Triplets that a look takes, at the most.
const TRIPLETS: usize = 32;
/// Mask areas between which a swap counts as one.
const OPEN: std::ops::RangeInclusive<f64> = 0.01..=0.9;

/// What the monitor remembers from look to look; part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Whether the mask has ever been open.
    opened: bool,
    /// Whether the paint has ever differed between triplets: a fresh generator's does not.
    varied: bool,
    best: Option<f64>,
    pub best_step: u64,
    /// Looks since the best one.
    pub since_best: u64,
    least_realism: Option<f64>,
    /// What was said and still holds.
    said: BTreeSet<String>,
}

/// What a look found.
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
    /// Draws the triplets: people from all over the set, each with another's article.
    pub fn new(trainer: &Trainer) -> Monitor {
        let count = trainer.data.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut rng(trainer.config.seed, "monitor", 0));
        // An even number, since the photos are held against each other by halves.
        let taken = count.min(TRIPLETS) / 2 * 2;
        Monitor {
            humans: order[..taken].to_vec(),
            targets: (0..taken).map(|k| order[(k + 1) % taken]).collect(),
            memory: Memory::default(),
        }
    }

    /// Looks at the generator that snapshots are of.
    ///
    /// # Errors
    /// Where pictures stream, one that cannot be decoded any more.
    pub fn look(&mut self, trainer: &mut Trainer) -> Result<Look> {
        let triplet = trainer.data.plain(&self.humans, &self.targets)?;
        let found = trainer.with_averaged(|trainer| tch::no_grad(|| numbers(trainer, &triplet)));
        Ok(self.judge(found, trainer.step))
    }

    /// Remembers the numbers and finds words for them.
    fn judge(&mut self, found: Numbers, step: u64) -> Look {
        let memory = &mut self.memory;
        let open = OPEN.contains(&found.mask_area);
        memory.opened |= found.mask_area >= *OPEN.start();
        memory.varied |= found.paint_spread > 0.1;
        let score = found.colour_left + found.realism;
        let best = open && score.is_finite() && memory.best.is_none_or(|best| score < best);
        if best {
            (memory.best, memory.best_step, memory.since_best) = (Some(score), step, 0);
        } else if memory.best.is_some() {
            memory.since_best += 1;
        }
        let least = memory.least_realism.unwrap_or(f64::INFINITY);
        if open {
            memory.least_realism = Some(least.min(found.realism));
        }
        let best_step = memory.best_step;
        let signs = [
            (
                memory.opened && found.mask_area < 0.1 * OPEN.start(),
                "the mask has closed: the swaps are the photos".to_owned(),
            ),
            (
                found.mask_area > 0.97,
                "the mask covers nearly everything: the swaps repaint whole pictures".to_owned(),
            ),
            (
                memory.varied && open && found.paint_spread < 0.05,
                "the paint is the same for every triplet, whoever wears whatever".to_owned(),
            ),
            (
                found.logit_gap > 15.0,
                "the discriminator tells swaps from matched pairs beyond doubt: the generator learns little from it"
                    .to_owned(),
            ),
            (
                open && found.realism > 2.5 * least,
                format!("the swaps look far less like photos than they did; the best so far were those of step {best_step}"),
            ),
        ];
        let mut warnings = Vec::new();
        for (k, (holds, words)) in signs.into_iter().enumerate() {
            let name = k.to_string();
            if !holds {
                memory.said.remove(&name);
            } else if memory.said.insert(name) {
                warnings.push(format!("step {step}: {words}"));
            }
        }
        let mut line = Map::new();
        line.insert("step".into(), json!(step));
        for (name, value) in [
            ("monitor/mask_area", found.mask_area),
            ("monitor/paint_spread", found.paint_spread),
            ("monitor/logit_gap", found.logit_gap),
            ("monitor/colour_left", found.colour_left),
            ("monitor/realism", found.realism),
            ("monitor/score", score),
        ] {
            line.insert(name.into(), json!(rounded(value)));
        }
        line.insert("monitor/best_step".into(), json!(memory.best_step));
        Look {
            line,
            warnings,
            best,
        }
    }
}

/// What a look measures.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    /// Mean of the masks.
    mask_area: f64,
    /// Deviation of the paint across triplets, over that of the photos.
    paint_spread: f64,
    /// Mean logit of matched pairs less that of swapped ones.
    logit_gap: f64,
    /// [`colour_left`].
    colour_left: f64,
    /// [`patch_distance`] of the swaps to the photos, over that of one half of the photos to the other.
    realism: f64,
}

fn numbers(trainer: &Trainer, triplet: &Triplet) -> Numbers {
    let unit = |values: &Tensor| match ValueRange::of(trainer.config.architecture) {
        ValueRange::Unit => values.shallow_clone(),
        ValueRange::Symmetric => (values + 1.0) * 0.5,
    };
    let swap = trainer.swap(triplet);
    let score = |human: &Tensor, article: &Tensor| {
        (trainer.models.score(human, article))
            .mean(Kind::Float)
            .double_value(&[])
    };
    let (human, composite, paint) = (
        unit(&triplet.human),
        unit(&swap.composite),
        unit(&swap.paint),
    );
    let spread = |values: &Tensor| {
        let deviation = values.std_dim([0i64].as_slice(), false, false);
        deviation.mean(Kind::Float).double_value(&[])
    };
    let half = human.size()[0] / 2;
    let apart = patch_distance(&human.narrow(0, 0, half), &human.narrow(0, half, half));
    Numbers {
        mask_area: swap.mask.mean(Kind::Float).double_value(&[]),
        paint_spread: spread(&paint) / spread(&human).max(1e-6),
        logit_gap: score(&triplet.human, &triplet.worn) - score(&swap.composite, &triplet.target),
        colour_left: colour_left(&human, &composite, &unit(&triplet.target), &swap.mask),
        realism: patch_distance(&composite, &human) / apart.max(1e-6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor() -> Monitor {
        Monitor {
            humans: Vec::new(),
            targets: Vec::new(),
            memory: Memory::default(),
        }
    }

    const GOOD: Numbers = Numbers {
        mask_area: 0.2,
        paint_spread: 0.6,
        logit_gap: 2.0,
        colour_left: 0.5,
        realism: 0.8,
    };

    #[test]
    fn each_sign_is_said_once_and_again_when_it_comes_back() {
        let mut monitor = monitor();
        let mut words = |numbers, step| monitor.judge(numbers, step).warnings;
        // A mask that has not opened yet has not closed.
        let closed = Numbers {
            mask_area: 1e-4,
            ..GOOD
        };
        assert!(words(closed, 1).is_empty());
        assert!(words(GOOD, 2).is_empty());
        assert!(words(closed, 3)[0].starts_with("step 3: the mask has closed"));
        assert!(words(closed, 4).is_empty());
        assert!(words(GOOD, 5).is_empty());
        assert_eq!(words(closed, 6).len(), 1);
        assert!(words(closed, 6).is_empty());
        let all = Numbers {
            mask_area: 0.99,
            ..GOOD
        };
        assert!(words(all, 7)[0].contains("covers nearly everything"));
        let same = Numbers {
            paint_spread: 0.01,
            ..GOOD
        };
        assert!(words(same, 8)[0].contains("the paint is the same"));
        let lost = Numbers {
            logit_gap: 40.0,
            ..GOOD
        };
        assert!(words(lost, 9)[0].contains("beyond doubt"));
        let mud = Numbers {
            realism: 2.4,
            ..GOOD
        };
        assert!(words(mud, 10)[0].contains("the best so far were those of step 2"));
    }

    #[test]
    fn the_best_is_the_lowest_score_with_an_open_mask() {
        let mut monitor = monitor();
        let mut best = |mask_area, colour_left, step| {
            let numbers = Numbers {
                mask_area,
                colour_left,
                ..GOOD
            };
            monitor.judge(numbers, step).best
        };
        assert!(!best(0.001, 0.1, 1), "a closed mask is no swap");
        assert!(best(0.2, 0.7, 2));
        assert!(!best(0.2, 0.8, 3));
        assert!(!best(0.95, 0.1, 4));
        assert!(best(0.2, 0.6, 5));
        assert!(!best(0.2, f64::NAN, 6));
        assert_eq!(
            (monitor.memory.best_step, monitor.memory.since_best),
            (5, 1)
        );
    }
}
