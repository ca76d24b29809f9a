//! Draws the pairs, targets, flips and crops of a step. A pure function of (seed, step): a resumed run repeats an
//! uninterrupted one.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::config::Config;
use crate::random::rng;

/// How one picture of a batch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureDraw {
    /// The place of its pair; of a target that of its article: the pairs' own, then those without a human.
    pub index: usize,
    /// Whether it is mirrored.
    pub flip: bool,
    /// Upper left corner of the crop: (row, column).
    pub corner: [i64; 2],
}

/// Factors of brightness, contrast and saturation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColourDraw {
    /// The factor of the brightness.
    pub brightness: f64,
    /// The factor of the contrast.
    pub contrast: f64,
    /// The factor of the saturation.
    pub saturation: f64,
}

/// How the pictures of one step are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The photos.
    pub human: Vec<PictureDraw>,
    /// The worn articles.
    pub worn: Vec<PictureDraw>,
    /// The targets.
    pub target: Vec<PictureDraw>,
    /// One for each triplet; empty without colour jitter.
    pub colours: Vec<ColourDraw>,
}

impl Draw {
    /// Draws a step: pairs from shuffled passes over the set, targets uniform among the articles that the human's pair
    /// may meet.
    ///
    /// Human and worn article are mirrored together, the target on its own. Every picture has its own crop. A triplet's
    /// three pictures share one draw of colours: an article then still looks as it does on the body.
    pub fn of_step(config: &Config, targets: &Targets, step: u64) -> Draw {
        let batch = config.batch_size as u64;
        let mut order = Shuffled::new(config.seed, targets.pairs());
        let mut rng = rng(config.seed, "triplets", step);
        let mut draw = Draw { human: Vec::new(), worn: Vec::new(), target: Vec::new(), colours: colours(config, step) };
        for place in step * batch..(step + 1) * batch {
            let index = order.at(place);
            let other = loop {
                let other = rng.random_range(0..targets.articles());
                if targets.may_meet(index, other) {
                    break other;
                }
            };
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

    /// Keeps some rows.
    pub fn of_rows(mut self, rows: Range<usize>) -> Draw {
        for side in [&mut self.human, &mut self.worn, &mut self.target] {
            *side = side[rows.clone()].to_vec();
        }
        if !self.colours.is_empty() {
            self.colours = self.colours[rows].to_vec();
        }
        self
    }
}

fn colours(config: &Config, step: u64) -> Vec<ColourDraw> {
    let strength = config.colour_jitter;
    if strength == 0.0 {
        return Vec::new();
    }
    let mut rng = rng(config.seed, "colours", step);
    let mut factor = || rng.random_range(1.0 - strength..=1.0 + strength);
    let mut draw = || ColourDraw { brightness: factor(), contrast: factor(), saturation: factor() };
    (0..config.batch_size).map(|_| draw()).collect()
}

/// Decides which targets a pair may meet: never its own article, one of the same content, or one of its group.
#[derive(Clone, Debug)]
pub struct Targets {
    pairs: usize,
    /// Each article's content: equal numbers for equal contents.
    contents: Vec<u32>,
    /// Each article's group. An article without one is alone in its group.
    groups: Vec<u32>,
}

impl Targets {
    /// Takes the contents of all articles, the pairs' first, and the groups of the pairs.
    ///
    /// # Errors
    /// The place of a pair that may meet no article.
    pub fn new<C: Eq + Hash, G: Eq + Hash>(
        contents: &[C],
        groups: &[Option<G>],
    ) -> std::result::Result<Targets, usize> {
        let contents: Vec<u32> = numbered(contents.iter().map(Some));
        let mut groups: Vec<u32> = numbered(groups.iter().map(Option::as_ref));
        let pairs = groups.len();
        let alone = groups.iter().max().map_or(0, |most| most + 1);
        groups.extend((alone..).take(contents.len() - pairs));
        let counted = |numbers: &[u32]| {
            let mut counts = vec![0; numbers.iter().max().map_or(0, |most| *most as usize + 1)];
            numbers.iter().for_each(|number| counts[*number as usize] += 1);
            counts
        };
        let sizes: [Vec<usize>; 2] = [counted(&contents), counted(&groups)];
        let size = |i: usize| [sizes[0][contents[i] as usize], sizes[1][groups[i] as usize]];
        // An article that is alone in one of them is alone in both.
        let shared = |i: &usize| size(*i).iter().all(|size| *size > 1);
        let mut both: HashMap<(u32, u32), usize> = HashMap::new();
        for i in (0..contents.len()).filter(shared) {
            *both.entry((contents[i], groups[i])).or_default() += 1;
        }
        for i in 0..pairs {
            let [content, group] = size(i);
            let both = if shared(&i) { both[&(contents[i], groups[i])] } else { 1 };
            if content + group - both == contents.len() {
                return Err(i);
            }
        }
        Ok(Targets { pairs, contents, groups })
    }

    /// The number of pairs.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// The number of articles: the pairs' and those without a human.
    pub fn articles(&self) -> usize {
        self.contents.len()
    }

    /// Whether an article may be the target of a pair.
    pub fn may_meet(&self, pair: usize, article: usize) -> bool {
        self.contents[pair] != self.contents[article] && self.groups[pair] != self.groups[article]
    }
}

/// Numbers values by their first occurrence. Each `None` gets a number of its own.
fn numbered<T: Eq + Hash>(values: impl Iterator<Item = Option<T>>) -> Vec<u32> {
    let mut known = HashMap::new();
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        next - 1
    };
    values
        .map(|value| match value {
            None => fresh(),
            Some(value) => *known.entry(value).or_insert_with(&mut fresh),
        })
        .collect()
}

/// An endless sequence of shuffled passes over the set.
struct Shuffled {
    seed: u64,
    count: usize,
    pass: Option<u64>,
    order: Order,
}

/// The order of one pass.
enum Order {
    /// Of a small set: shuffled.
    Listed(Vec<usize>),
    /// Of a large set: computed place by place, in the same time for any size. A permutation of so many numbers keeps no
    /// list. For few numbers it would be less even than a shuffle.
    Keyed(Keyed),
}

impl Shuffled {
    /// The largest set that is shuffled: some 20 us a step.
    const LISTED: usize = 4096;

    fn new(seed: u64, count: usize) -> Self {
        Shuffled { seed, count, pass: None, order: Order::Listed(Vec::new()) }
    }

    fn at(&mut self, place: u64) -> usize {
        let pass = place / self.count as u64;
        if self.pass != Some(pass) {
            let mut rng = rng(self.seed, "order", pass);
            self.order = match self.count {
                ..=Self::LISTED => {
                    let mut order: Vec<usize> = (0..self.count).collect();
                    order.shuffle(&mut rng);
                    Order::Listed(order)
                }
                count => Order::Keyed(Keyed::new(count as u64, &mut rng)),
            };
            self.pass = Some(pass);
        }
        let place = place % self.count as u64;
        match &self.order {
            Order::Listed(order) => order[place as usize],
            Order::Keyed(order) => order.at(place) as usize,
        }
    }
}

/// A permutation of the numbers below `count`, by a balanced Feistel network of four rounds (Luby & Rackoff 1988, "How to
/// construct pseudorandom permutations"), and by cycle walking for a count that is no power of four (Black & Rogaway
/// 2002, "Ciphers with arbitrary finite domains").
struct Keyed {
    count: u64,
    /// The bits of each half.
    half: u32,
    keys: [u64; 4],
}

impl Keyed {
    fn new(count: u64, rng: &mut impl RngExt) -> Self {
        // The least power of four that holds the count: at most four times as many.
        let half = (u64::BITS - (count - 1).leading_zeros()).div_ceil(2).max(1);
        Keyed { count, half, keys: [0; 4].map(|_: u64| rng.random()) }
    }

    fn at(&self, place: u64) -> u64 {
        let mut value = place;
        loop {
            value = self.permuted(value);
            if value < self.count {
                return value;
            }
        }
    }

    fn permuted(&self, value: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (scrambled(right ^ key) & mask));
        }
        (left << self.half) | right
    }
}

/// Scrambles bits (Steele et al. 2014, "Fast splittable pseudorandom number generators", `mix64` by Stafford).
fn scrambled(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use serde_json::json;

    fn config(batch_size: usize, seed: u64, colour_jitter: f64) -> Config {
        let overrides = json!({"batch_size": batch_size, "seed": seed, "colour_jitter": colour_jitter});
        Config::with(Preset::Paper, overrides).unwrap()
    }

    /// All articles differ, and no pair has a group.
    fn targets(pairs: usize) -> Targets {
        let contents: Vec<usize> = (0..pairs).collect();
        Targets::new(&contents, &vec![None::<u8>; pairs]).unwrap()
    }

    #[test]
    fn each_pass_takes_every_pair_once_and_the_target_is_never_worn() {
        let draws: Vec<Draw> = (0..7).map(|step| Draw::of_step(&config(3, 5, 0.0), &targets(7), step)).collect();
        // 7 steps of 3 are 3 passes over 7.
        let humans: Vec<usize> = draws.iter().flat_map(|d| &d.human).map(|p| p.index).collect();
        for pass in humans.chunks(7) {
            let mut pass = pass.to_vec();
            pass.sort();
            assert_eq!(pass, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(humans[..7], humans[7..14]);
        let mut met = [0; 7];
        for draw in &draws {
            for ((human, worn), target) in draw.human.iter().zip(&draw.worn).zip(&draw.target) {
                assert_eq!((human.index, human.flip), (worn.index, worn.flip));
                assert_ne!(human.index, target.index);
                met[target.index] += 1;
            }
        }
        assert!(met.iter().filter(|n| **n > 0).count() > 4);
    }

    #[test]
    fn a_draw_depends_on_seed_and_step_alone() {
        let jittered = config(3, 5, 0.2);
        let draw = Draw::of_step(&jittered, &targets(9), 4);
        assert_eq!(draw, Draw::of_step(&jittered, &targets(9), 4));
        assert_ne!(draw, Draw::of_step(&jittered, &targets(9), 5));
        let other = config(3, 6, 0.2);
        assert_ne!(draw, Draw::of_step(&other, &targets(9), 4));
        // Colours have their own random stream: without them the rest of the draw stays the same.
        let plain = config(3, 5, 0.0);
        let without = Draw { colours: vec![], ..draw };
        assert_eq!(without, Draw::of_step(&plain, &targets(9), 4));
    }

    #[test]
    fn the_rows_of_some_are_those_of_the_whole() {
        let whole = || Draw::of_step(&config(5, 5, 0.2), &targets(9), 4);
        let rows = whole().of_rows(2..4);
        assert_eq!((&rows.human[..], &rows.worn[..]), (&whole().human[2..4], &whole().worn[2..4]));
        assert_eq!((&rows.target[..], &rows.colours[..]), (&whole().target[2..4], &whole().colours[2..4]));
        assert_eq!(whole().of_rows(0..5), whole());
    }

    #[test]
    fn with_two_pairs_the_target_is_the_other() {
        let config = config(2, 5, 0.0);
        for step in 0..20 {
            let draw = Draw::of_step(&config, &targets(2), step);
            for (human, target) in draw.human.iter().zip(&draw.target) {
                assert_eq!(target.index, 1 - human.index);
            }
        }
    }

    #[test]
    fn a_target_is_of_another_content_and_another_group_and_may_have_no_human() {
        // Pairs 0 and 2 wear the same article, 1 and 3 are one group, article 4 has no human and equals that of pair 3.
        let contents = ["red", "blue", "red", "green", "green", "white"];
        let groups = [None, Some("anna"), None, Some("anna")];
        let targets = Targets::new(&contents, &groups).unwrap();
        let mut met = vec![vec![false; 6]; 4];
        for step in 0..200 {
            let draw = Draw::of_step(&config(3, 5, 0.0), &targets, step);
            for (human, target) in draw.human.iter().zip(&draw.target) {
                met[human.index][target.index] = true;
            }
        }
        let expected = [
            [false, true, false, true, true, true],
            [true, false, true, false, true, true],
            [false, true, false, true, true, true],
            [true, false, true, false, false, true],
        ];
        assert_eq!(met, expected.map(Vec::from));
    }

    #[test]
    fn a_pair_without_any_target_is_found() {
        let none = [None::<u8>; 3];
        assert_eq!(Targets::new(&["a", "a", "a"], &none).unwrap_err(), 0);
        assert!(Targets::new(&["a", "a", "b"], &none).is_ok());
        // Pair 1 shares its content with 0 and its group with 2.
        let groups = [None, Some(1), Some(1)];
        assert_eq!(Targets::new(&["a", "a", "b"], &groups).unwrap_err(), 1);
        assert!(Targets::new(&["a", "a", "b", "c"], &groups).is_ok());
    }

    #[test]
    fn a_pass_over_a_large_set_takes_each_pair_once_in_no_order() {
        for count in [Shuffled::LISTED + 1, 10_000, 1 << 14, (1 << 14) + 1] {
            let mut order = Shuffled::new(7, count);
            let passes: Vec<Vec<usize>> =
                (0..2u64).map(|pass| (0..count as u64).map(|k| order.at(pass * count as u64 + k)).collect()).collect();
            for pass in &passes {
                let mut sorted = pass.clone();
                sorted.sort_unstable();
                assert!(sorted.iter().copied().eq(0..count), "{count}");
                // Of a uniform order: the mean distance of neighbours and that from the place are a third of the count,
                // and one number in 1 stays in its place on average.
                let third = |distances: Vec<usize>| {
                    let mean = distances.iter().sum::<usize>() as f64 / distances.len() as f64 / count as f64;
                    assert!((mean - 1.0 / 3.0).abs() < 0.02, "{count}: {mean}");
                };
                third(pass.windows(2).map(|two| two[0].abs_diff(two[1])).collect());
                third(pass.iter().enumerate().map(|(k, at)| k.abs_diff(*at)).collect());
                assert!(pass.iter().enumerate().filter(|(k, at)| k == *at).count() < 10, "{count}");
            }
            assert_ne!(passes[0], passes[1]);
            // A function of the place alone.
            let mut again = Shuffled::new(7, count);
            assert_eq!(again.at(count as u64 + 5), passes[1][5]);
            assert_ne!(Shuffled::new(8, count).at(0), passes[0][0]);
        }
    }

    #[test]
    fn a_step_of_a_huge_set_takes_no_longer() {
        // Shuffled, 10^12 pairs would need 8 TB.
        let mut order = Shuffled::new(0, 1_000_000_000_000);
        let drawn: std::collections::HashSet<usize> = (0..10_000).map(|k| order.at(k)).collect();
        assert_eq!(drawn.len(), 10_000);
        assert!(drawn.iter().all(|index| *index < 1_000_000_000_000));
    }
}
