//! What a step takes: which pairs, which targets, which flips and crops. A pure function of (seed, step), so that a resumed run
//! repeats an uninterrupted one.

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::config::Config;
use crate::random::rng;

/// How one picture of a batch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureDraw {
    /// Which pair it belongs to.
    pub index: i64,
    pub flip: bool,
    /// Upper left corner of the crop: (row, column).
    pub corner: [i64; 2],
}

/// How the pictures of one step are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    pub human: Vec<PictureDraw>,
    pub worn: Vec<PictureDraw>,
    pub target: Vec<PictureDraw>,
}

impl Draw {
    /// The draw of a step: pairs from shuffled passes over the set, targets uniform among the other pairs.
    ///
    /// Human and worn article are mirrored together, the target on its own; every picture has its own crop.
    pub fn of_step(config: &Config, count: usize, step: u64) -> Draw {
        let batch = config.batch_size as u64;
        let mut order = Shuffled::new(config.seed, count);
        let mut rng = rng(config.seed, "triplets", step);
        let mut draw = Draw {
            human: Vec::new(),
            worn: Vec::new(),
            target: Vec::new(),
        };
        for place in step * batch..(step + 1) * batch {
            let index = order.at(place);
            // Uniform over the others: the numbers from the own one on move up by one.
            let other = rng.random_range(0..count as i64 - 1);
            let other = other + i64::from(other >= index);
            let mut flip = || config.flip && rng.random::<bool>();
            let (flip_pair, flip_target) = (flip(), flip());
            let mut picture = |index, flip| PictureDraw {
                index,
                flip,
                corner: [0; 2].map(|_: i64| rng.random_range(0..=config.crop_margin)),
            };
            draw.human.push(picture(index, flip_pair));
            draw.worn.push(picture(index, flip_pair));
            draw.target.push(picture(other, flip_target));
        }
        draw
    }
}

/// An endless row of shuffled passes over the set.
struct Shuffled {
    seed: u64,
    count: usize,
    pass: Option<u64>,
    order: Vec<i64>,
}

impl Shuffled {
    fn new(seed: u64, count: usize) -> Self {
        Shuffled {
            seed,
            count,
            pass: None,
            order: (0..count as i64).collect(),
        }
    }

    fn at(&mut self, place: u64) -> i64 {
        let pass = place / self.count as u64;
        if self.pass != Some(pass) {
            self.order = (0..self.count as i64).collect();
            self.order.shuffle(&mut rng(self.seed, "order", pass));
            self.pass = Some(pass);
        }
        self.order[(place % self.count as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use serde_json::json;

    fn config() -> Config {
        Config::with(Preset::Paper, json!({"batch_size": 3, "seed": 5})).unwrap()
    }

    #[test]
    fn each_pass_takes_every_pair_once_and_the_target_is_never_worn() {
        let draws: Vec<Draw> = (0..7)
            .map(|step| Draw::of_step(&config(), 7, step))
            .collect();
        // 7 steps of 3 are 3 passes over 7.
        let humans: Vec<i64> = draws
            .iter()
            .flat_map(|d| &d.human)
            .map(|p| p.index)
            .collect();
        for pass in humans.chunks(7) {
            let mut pass = pass.to_vec();
            pass.sort();
            assert_eq!(pass, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(humans[..7], humans[7..14]);
        let mut targets = [0; 7];
        for draw in &draws {
            for ((human, worn), target) in draw.human.iter().zip(&draw.worn).zip(&draw.target) {
                assert_eq!((human.index, human.flip), (worn.index, worn.flip));
                assert_ne!(human.index, target.index);
                targets[target.index as usize] += 1;
            }
        }
        assert!(targets.iter().filter(|n| **n > 0).count() > 4);
    }

    #[test]
    fn a_draw_depends_on_seed_and_step_alone() {
        let config = config();
        let draw = Draw::of_step(&config, 9, 4);
        assert_eq!(draw, Draw::of_step(&config, 9, 4));
        assert_ne!(draw, Draw::of_step(&config, 9, 5));
        let other = Config { seed: 6, ..config };
        assert_ne!(draw, Draw::of_step(&other, 9, 4));
    }

    #[test]
    fn with_two_pairs_the_target_is_the_other() {
        let config = Config {
            batch_size: 2,
            ..config()
        };
        for step in 0..20 {
            let draw = Draw::of_step(&config, 2, step);
            for (human, target) in draw.human.iter().zip(&draw.target) {
                assert_eq!(target.index, 1 - human.index);
            }
        }
    }
}
