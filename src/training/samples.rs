//! Sample grids of fixed triplets: articles down the left, people along the top, as in the article's result figure.

use std::path::Path;

use rand::seq::SliceRandom;
use tch::Tensor;

use super::trainer::Trainer;
use crate::data::Triplet;
use crate::error::Result;
use crate::pixels::{ValueRange, grid, png};
use crate::random::rng;
use crate::storage::write_atomically;

/// Writes a grid: in the top row each human and the article that it wears, then for each target one row of swaps, each
/// with its mask beside it.
///
/// # Errors
/// [`crate::Error::Io`] with the path; a picture that can no longer be decoded.
pub fn write(path: &Path, trainer: &Trainer) -> Result<()> {
    let (humans, targets) = fixed(trainer);
    let range = trainer.config.range();
    let count = humans.len() as i64;
    let picture = |batch: &Tensor, i: i64| Some(range.to_bytes(&batch.get(i)));
    let mut rows = Vec::new();
    for (row, &target) in targets.iter().enumerate() {
        let triplet: Triplet = trainer.data.plain(&humans, &vec![target; humans.len()])?;
        let swap = trainer.swap(&triplet);
        let masks = ValueRange::Unit.to_bytes(&swap.mask).expand([-1, 3, -1, -1], false);
        if row == 0 {
            let mut top = vec![None];
            for i in 0..count {
                top.extend([picture(&triplet.human, i), picture(&triplet.worn, i)]);
            }
            rows.push(top);
        }
        let mut line = vec![picture(&triplet.target, 0)];
        for i in 0..count {
            line.extend([picture(&swap.composite, i), Some(masks.get(i))]);
        }
        rows.push(line);
    }
    let (pixels, size) = grid(&rows, 2);
    write_atomically(path, &png(&pixels, size, 3))
}

/// Whether a grid's file is there and has its end.
pub fn is_whole(path: &Path) -> bool {
    /// The last chunk of a PNG, with its checksum.
    const END: &[u8] = b"IEND\xaeB`\x82";
    std::fs::read(path).is_ok_and(|bytes| bytes.ends_with(END))
}

/// Draws the pairs of the grid: people, then articles of other pairs while any are left.
fn fixed(trainer: &Trainer) -> (Vec<usize>, Vec<usize>) {
    let count = trainer.data.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut rng(trainer.config.seed, "samples", 0));
    let (humans, articles) = (trainer.config.sample_humans, trainer.config.sample_articles);
    let people = order.iter().copied().take(humans).collect();
    let targets = (0..articles.min(count)).map(|k| order[(humans + k) % count]);
    (people, targets.collect())
}
