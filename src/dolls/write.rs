//! Writes a folder of dolls: an ordinary folder of pairs, with true swaps beside them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use image::{GrayImage, RgbImage};
use rand::RngExt;
use rayon::prelude::*;

use super::doll::{changes, dressed, garment, pose};
use super::flow::{Grey16, flow};
use crate::error::{AtPath, Error, Result};
use crate::pixels::{png, png16};
use crate::random::rng;
use crate::storage::{write_atomically, write_unsynced};

/// The default seed.
pub const SEED: u64 = 0;

/// The default height and width: the paper's.
pub const SIZE: [u32; 2] = [128, 96];

/// The default number of true swaps of each person; a single pair has none.
pub const SWAPS: u64 = 1;

/// A shorter part of the drawing is followed by a larger one.
const PART: Duration = Duration::from_millis(200);

/// Draws `count` pairs into `folder` as `human/<id>.png` and `article/<id>.png`, and `swaps` true swaps of each person
/// into other people's articles: `swaps/<human id>__<target id>.png`, its mask (see [`super::swap`]) as `.alpha.png`,
/// and a list of all, `swaps/list.csv`, with the columns human and target. With true swaps go each worn article's own
/// mask, `worn/<id>.png` (see [`super::worn`]), and the true flow of each swap, `flow/<human id>__<target id>.png` (see
/// [`super::flow`]).
///
/// # Errors
/// [`Error::Setting`] for a count outside 1 to 1,000,000, a side outside 16 to 1024, or more swaps than other articles;
/// [`Error::Io`]. Settings are checked before anything is written.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// cagan::dolls::write(folder.path(), 3, 7, [32, 24], 1).unwrap();
/// let list = std::fs::read_to_string(folder.path().join("swaps/list.csv")).unwrap();
/// let (human, target) = list.lines().nth(1).unwrap().split_once(',').unwrap();
/// for file in [format!("swaps/{human}__{target}.alpha.png"), format!("flow/{human}__{target}.png")] {
///     assert!(folder.path().join(file).is_file());
/// }
/// let error = cagan::dolls::write(folder.path(), 3, 7, [32, 24], 3).unwrap_err();
/// assert_eq!(error.to_string(), "swaps: expected at most 2, the other articles of 3 pairs, got 3");
/// ```
pub fn write(folder: &Path, count: u64, seed: u64, size: [u32; 2], swaps: u64) -> Result<()> {
    write_observed(folder, count, seed, size, swaps, || Ok(()))
}

/// Writes as [`write`] does, and calls `observe` several times a second.
///
/// # Errors
/// Those of [`write`] and an error of `observe`, after which the pictures drawn so far stay.
pub fn write_observed<E: From<Error> + Send>(
    folder: &Path,
    count: u64,
    seed: u64,
    size: [u32; 2],
    swaps: u64,
    mut observe: impl FnMut() -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    if !(1..=1_000_000).contains(&count) {
        return Err(Error::setting("count", "1 to 1000000", count).into());
    }
    if let Some(side) = size.into_iter().find(|side| !(16..=1024).contains(side)) {
        return Err(Error::setting("size", "sides of 16 to 1024", side).into());
    }
    if swaps >= count && swaps > 0 {
        let expected = match count {
            1 => "0, there being no other article".to_owned(),
            _ => format!("at most {}, the other articles of {count} pairs", count - 1),
        };
        return Err(Error::setting("swaps", expected, swaps).into());
    }
    let names: &[&str] = match swaps {
        0 => &["human", "article"],
        _ => &["human", "article", "swaps", "worn", "flow"],
    };
    for name in names {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).at(&folder)?;
    }
    let colours = |path: &str, picture: &RgbImage| {
        let bytes = png(picture.as_raw(), size.map(|side| side as usize), 3);
        write_unsynced(&folder.join(path), &bytes)
    };
    let grey = |path: &str, picture: &GrayImage| {
        let bytes = png(picture.as_raw(), size.map(|side| side as usize), 1);
        write_unsynced(&folder.join(path), &bytes)
    };
    let deep = |path: &str, picture: &Grey16| {
        let bytes = png16(picture.as_raw(), [2 * size[0] as usize, size[1] as usize]);
        write_unsynced(&folder.join(path), &bytes)
    };
    let draw = |number| {
        let own = garment(seed, number);
        let worn = dressed(seed, number, &own, size);
        colours(&format!("human/{number:05}.png"), &worn.picture())?;
        colours(&format!("article/{number:05}.png"), &own.lie(size).picture())?;
        if swaps > 0 {
            grey(&format!("worn/{number:05}.png"), &worn.garment())?;
        }
        let pose = pose(seed, number, size);
        for target in targets(seed, number, count, swaps) {
            let article = garment(seed, target);
            let new = dressed(seed, number, &article, size);
            let name = format!("{number:05}__{target:05}");
            colours(&format!("swaps/{name}.png"), &new.picture())?;
            grey(&format!("swaps/{name}.alpha.png"), &changes(&worn, &new))?;
            deep(&format!("flow/{name}.png"), &flow(&article, &new, &pose))?;
        }
        Ok::<(), Error>(())
    };
    let (mut begun, mut part) = (0, rayon::current_num_threads() as u64);
    while begun < count {
        let start = Instant::now();
        let end = count.min(begun + part);
        (begun..end).into_par_iter().try_for_each(draw)?;
        observe()?;
        begun = end;
        // Large parts keep all threads busy, short ones hear a signal soon.
        if start.elapsed() < PART {
            part *= 2;
        }
    }
    if swaps == 0 {
        return Ok(());
    }
    let mut list = "human,target\n".to_owned();
    for number in 0..count {
        for target in targets(seed, number, count, swaps) {
            list.push_str(&format!("{number:05},{target:05}\n"));
        }
    }
    write_atomically(&folder.join("swaps/list.csv"), list.as_bytes())?;
    Ok(())
}

/// Draws the pairs whose articles person `number` tries on: different ones, never `number` itself, equally likely.
fn targets(seed: u64, number: u64, count: u64, swaps: u64) -> Vec<u64> {
    let mut rng = rng(seed, "doll/swaps", number);
    // Floyd's algorithm for drawing without repeats.
    let mut drawn = BTreeSet::new();
    for last in count - 1 - swaps..count - 1 {
        let other = rng.random_range(0..=last);
        if !drawn.insert(other) {
            drawn.insert(last);
        }
    }
    // Skips the own number.
    let others = drawn.into_iter();
    others.map(|other| other + u64::from(other >= number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_others_without_repeats() {
        let mut seen = BTreeSet::new();
        for seed in 0..60 {
            for swaps in 0..5 {
                let targets = targets(seed, 2, 5, swaps);
                assert_eq!(targets.len() as u64, swaps);
                assert!(targets.windows(2).all(|pair| pair[0] < pair[1]));
                assert!(targets.iter().all(|target| *target < 5 && *target != 2));
                if swaps == 1 {
                    seen.extend(targets);
                }
            }
        }
        assert_eq!(seen, BTreeSet::from([0, 1, 3, 4]));
        assert!(targets(9, 0, 1, 0).is_empty());
    }
}
