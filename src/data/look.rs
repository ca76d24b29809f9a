//! The first look at all pictures, shared out among the processes that train together.

use rayon::ThreadPool;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::packed::Stock;
use super::pairs::Pairs;
use super::set::{File, loaded_size};
use super::share::{Crew, Share, agreed};
use super::sums::Sums;
use crate::config::Config;
use crate::error::{Error, Result};

/// A picture's hash, and its bytes where they are wanted.
pub type Seen = Result<(u128, Vec<u8>)>;

/// How a part of the files is looked at.
#[derive(Debug)]
pub struct Look<'a> {
    pub crew: &'a dyn Crew,
    pub pool: &'a ThreadPool,
    pub config: &'a Config,
    pub(super) stock: &'a Stock,
    /// Whether the pictures are kept.
    pub keeps: bool,
    /// The hashes of an earlier start, where the pictures are not kept.
    pub(super) sums: Option<&'a Sums>,
}

impl Look<'_> {
    /// Decodes the files from the place `first` on, each in one of the processes.
    ///
    /// # Errors
    /// As [`Crew::sum`].
    pub fn at(&self, first: usize, files: &[File]) -> Result<Vec<Seen>> {
        let share = self.crew.share();
        // The crew does not go to the threads.
        let Look { pool, config, stock, keeps, sums, .. } = *self;
        let decode = |file: &File| seen(file, stock, config, keeps, sums);
        if share == Share::WHOLE {
            return Ok(pool.install(|| files.par_iter().map(decode).collect()));
        }
        // Before any of them is decoded. The first process writes the hashes of all.
        let key = |file: &File| sums.filter(|_| share.rank == 0).and_then(|sums| sums.key(file, stock));
        let others = |(place, file): (usize, &File)| if share.takes(first + place) { None } else { key(file) };
        let keys: Vec<Option<u128>> = pool.install(|| files.par_iter().enumerate().map(others).collect());
        let own = |(place, file): (usize, &File)| share.takes(first + place).then(|| decode(file));
        let mut seen: Vec<Option<Seen>> = pool.install(|| files.par_iter().enumerate().map(own).collect());
        let numbers = self.summed(&seen)?;
        let pixels = self.keeps.then(|| self.pixels(&seen)).transpose()?;
        let each = files.iter().zip(&mut seen).zip(numbers.chunks_exact(3)).enumerate();
        Ok(each
            .map(|(place, ((file, own), numbers))| match (own.take(), numbers) {
                (Some(own), _) => own,
                // The message is that of this machine.
                (None, [_, _, broken]) if *broken != 0 => file.decode(stock, config).and_then(|_| {
                    let source = stock.source(file.place);
                    Err(Error::content(source.name(), "cannot be decoded by another process of this run"))
                }),
                (None, numbers) => {
                    let bytes = pixels
                        .as_ref()
                        .map_or_else(Vec::new, |pixels| crate::pixels::to_vec(&pixels.get(place as i64)));
                    let hash = u128::from(numbers[0] as u64) << 64 | u128::from(numbers[1] as u64);
                    if let (Some(key), Some(sums)) = (keys[place], sums)
                        && sums.get(key) != Some(hash)
                    {
                        sums.put(key, hash);
                    }
                    Ok((hash, bytes))
                }
            })
            .collect())
    }

    /// Both halves of each picture's hash, and whether it is broken.
    fn summed(&self, seen: &[Option<Seen>]) -> Result<Vec<i64>> {
        let numbers = seen.iter().flat_map(|seen| match seen {
            None => [0; 3],
            Some(Ok((hash, _))) => [(hash >> 64) as i64, *hash as i64, 0],
            Some(Err(_)) => [0, 0, 1],
        });
        let sums = Tensor::from_slice(&numbers.collect::<Vec<_>>());
        self.crew.sum(&sums)?;
        Ok(Vec::<i64>::try_from(sums)?)
    }

    /// The pictures of all processes, `[files, 3, H, W]`.
    fn pixels(&self, seen: &[Option<Seen>]) -> Result<Tensor> {
        let [height, width] = loaded_size(self.config);
        let pixels = Tensor::f_zeros([seen.len() as i64, 3, height, width], (Kind::Uint8, Device::Cpu))?;
        for (place, seen) in seen.iter().enumerate() {
            if let Some(Ok((_, bytes))) = seen {
                pixels.get(place as i64).copy_(&Tensor::from_slice(bytes).reshape([3, height, width]));
            }
        }
        self.crew.sum(&pixels)?;
        Ok(pixels)
    }
}

/// Decodes a file, unless its hash is known and its pixels are not wanted.
fn seen(file: &File, stock: &Stock, config: &Config, keeps: bool, sums: Option<&Sums>) -> Seen {
    let kept = sums.and_then(|sums| Some((sums, sums.key(file, stock)?)));
    if let Some(hash) = kept.and_then(|(sums, key)| sums.get(key)) {
        return Ok((hash, Vec::new()));
    }
    let bytes = file.decode(stock, config)?;
    let hash = xxh3_128(&bytes);
    if let Some((sums, key)) = kept {
        sums.put(key, hash);
    }
    Ok((hash, if keeps { bytes } else { Vec::new() }))
}

/// Checks that all processes were given the same pairs in the same order, by their names.
///
/// # Errors
/// [`Error::Setting`]; that of another process.
pub fn check_same(pairs: &Pairs, files: usize, crew: &dyn Crew) -> Result<()> {
    if crew.share() == Share::WHOLE {
        return Ok(());
    }
    let mut names = Xxh3Default::new();
    for id in pairs.ids().chain(pairs.packed.extra().map(|(id, _)| id)) {
        names.update(&(id.len() as u64).to_le_bytes());
        names.update(id.as_bytes());
    }
    let own = [pairs.len() as i64, files as i64, names.digest() as i64];
    let first = Tensor::from_slice(&if crew.share().rank == 0 { own } else { [0; 3] });
    crew.sum(&first)?;
    let first = Vec::<i64>::try_from(first)?;
    let same = match own == first[..] {
        true => Ok(()),
        false => {
            let rule = format!("those of process 0 ({} pairs, {} files) in all processes", first[0], first[1]);
            Err(Error::setting("pairs", rule, format!("{} pairs, {} files, or other names", own[0], own[1])))
        }
    };
    agreed(crew, same)
}
