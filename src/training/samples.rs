//! Sample grids of fixed triplets: articles down the left, people along the top, as in the article's result figure.

use std::path::Path;

use rand::seq::SliceRandom;
use tch::{Kind, Tensor};

use super::trainer::Trainer;
use crate::data::Triplet;
use crate::error::Result;
use crate::pixels::{ValueRange, grid, png};
use crate::random::rng;
use crate::storage::write_atomically;

/// Pixels between two pictures.
const GAP: usize = 2;
/// The most bytes of a grid. Its pictures, the whole and its file are in memory at once, within the
/// [`crate::pixels::BUDGET`].
const BYTES: usize = 200 << 20;

/// Writes a grid: in the top row each human and the article that it wears, then for each target one row of swaps, each
/// with its mask beside it. Pictures of a grid that would be too large are shrunk by a whole number.
///
/// # Errors
/// [`crate::Error::Io`] with the path; a picture that can no longer be decoded.
pub fn write(path: &Path, trainer: &Trainer) -> Result<()> {
    let (humans, targets) = fixed(trainer);
    let range = trainer.config.range();
    let shrink = shrinking(trainer.stage.image_size, [targets.len() + 1, 2 * humans.len() + 1]);
    let shown = |bytes: Tensor| Some(shrunk(&bytes, shrink));
    let picture = |batch: &Tensor, i: i64| shown(range.to_bytes(&batch.get(i)));
    let mut top = vec![None];
    let mut rows = Vec::new();
    for (row, &target) in targets.iter().enumerate() {
        let mut line = Vec::new();
        for part in humans.chunks(trainer.batch()) {
            let triplet: Triplet = trainer.plain(part, &vec![target; part.len()])?;
            let swap = trainer.swap(&triplet);
            let masks = ValueRange::Unit.to_bytes(&swap.mask).expand([-1, 3, -1, -1], false);
            if line.is_empty() {
                line.push(picture(&triplet.target, 0));
            }
            for i in 0..part.len() as i64 {
                if row == 0 {
                    top.extend([picture(&triplet.human, i), picture(&triplet.worn, i)]);
                }
                line.extend([picture(&swap.composite, i), shown(masks.get(i))]);
            }
        }
        rows.push(line);
    }
    rows.insert(0, top);
    let (pixels, size) = grid(&rows, GAP);
    write_atomically(path, &png(&pixels, size, 3))
}

/// Returns the least whole number by which pictures are shrunk for a grid of rows and columns that is not too large.
fn shrinking(size: [i64; 2], cells: [usize; 2]) -> i64 {
    let length = |by: i64, side: usize| cells[side] * ((size[side] / by) as usize + GAP) + GAP;
    let fits = |by: &i64| 3 * length(*by, 0) * length(*by, 1) <= BYTES;
    (1..*size.iter().min().expect("two sides")).find(fits).unwrap_or(1)
}

/// Shrinks a picture by a whole number: each pixel is the mean of a square.
///
/// # Shapes
/// `bytes`: `[3, H, W]` of uint8. Returns `[3, H / by, W / by]`.
fn shrunk(bytes: &Tensor, by: i64) -> Tensor {
    if by == 1 {
        return bytes.shallow_clone();
    }
    let means = bytes.to_kind(Kind::Float).avg_pool2d([by, by], [by, by], [0, 0], false, true, None::<i64>);
    means.round().to_kind(Kind::Uint8)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_a_large_grid_are_shrunk() {
        assert_eq!(shrinking([128, 96], [5, 17]), 1);
        assert_eq!(shrinking([512, 384], [5, 17]), 1);
        // 65 x 129 pictures: 33,412 x 49,796 pixels.
        let by = shrinking([512, 384], [65, 129]);
        let bytes = |by: i64| 3 * (65 * (512 / by + 2) + 2) * (129 * (384 / by + 2) + 2);
        assert!(bytes(by) <= BYTES as i64 && bytes(by - 1) > BYTES as i64, "{by}");
    }

    #[test]
    fn each_pixel_of_a_shrunk_picture_is_a_mean() {
        let bytes = Tensor::from_slice(&[1u8, 3, 9, 5, 7, 9]).reshape([1, 2, 3]).expand([3, 2, 3], false);
        // (1 + 3 + 5 + 7) / 4; the third column is no square.
        assert_eq!(shrunk(&bytes, 2), Tensor::from_slice(&[4u8; 3]).reshape([3, 1, 1]));
        assert_eq!(shrunk(&bytes, 1), bytes);
    }
}
