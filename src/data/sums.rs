//! The hashes of decoded pictures, kept beside a list: the next start on a large set decodes only what has changed.
//!
//! A file of 32 bytes for each picture: the hash of its path, length and time and of how it is read, then that of its
//! pixels. No error stops a training: a broken file is as none, and a folder that takes none keeps none.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::packed::Stock;
use super::set::{File, loaded_size};
use super::shard::{Stamp, nanoseconds};
use super::source::Source;
use crate::config::Config;
use crate::storage::write_unsynced;

/// The file's name.
const NAME: &str = ".cagan-sums";
/// The first bytes of the file.
const HEAD: &[u8] = b"cagan sums 1\n";
/// Changes with what decoding and fitting make of a file.
const READING: &[u8] = concat!("1 ", env!("CARGO_PKG_VERSION")).as_bytes();
/// The files of a set for which it is worth the file.
const LEAST: usize = 1000;
/// The largest number of hashes that are kept for other sets of the folder: 1 GiB.
const MOST: usize = 1 << 25;
/// Hashes between two writes: a start that is killed goes on from there.
const OFTEN: usize = 100_000;
/// A file that changed so shortly before may change again without another time.
const SETTLED: Duration = Duration::from_secs(2);

/// A file as it is read, and the hash of its pixels.
type Sum = [u128; 2];

/// The hashes of an earlier start, and those of this one.
#[derive(Debug)]
pub(super) struct Sums {
    folder: PathBuf,
    /// Sorted.
    known: Vec<Sum>,
    new: Mutex<Vec<Sum>>,
    /// Which of the files may be kept: those that did not change since.
    before: i64,
    /// How files are read.
    reading: Vec<u8>,
}

impl Sums {
    /// Reads the hashes of a folder; None for a set of few files or of no folder.
    pub fn open(folder: Option<&Path>, files: usize, config: &Config) -> Option<Sums> {
        let folder = folder.filter(|_| files >= LEAST)?;
        let known = std::fs::read(folder.join(NAME)).ok().and_then(|bytes| parsed(&bytes)).unwrap_or_default();
        let sizes = loaded_size(config).map(i64::to_le_bytes);
        Some(Sums {
            folder: folder.into(),
            known,
            new: Mutex::default(),
            before: nanoseconds(SystemTime::now() - SETTLED),
            reading: [READING, &sizes.concat()].concat(),
        })
    }

    /// The key of a file as it is now; None for a picture in memory, and for a file that is new or gone.
    pub fn key(&self, file: &File, stock: &Stock) -> Option<u128> {
        let source = stock.source(file.place);
        let (path, stamp) = match &source {
            Source::File(path) => (path.as_path(), Stamp::of(&std::fs::metadata(path).ok()?)),
            Source::Member(shard, path) => (&**path, shard.stamp()),
            Source::Encoded(..) | Source::Pixels(..) => return None,
        };
        if stamp.changed >= self.before {
            return None;
        }
        // The folder may be moved with its list.
        let name = path.strip_prefix(&self.folder).unwrap_or(path);
        let mut sum = Xxh3Default::new();
        sum.update(&self.reading);
        sum.update(format!("{:?}", file.fit).as_bytes());
        sum.update(&stamp.bytes.to_le_bytes());
        sum.update(&stamp.changed.to_le_bytes());
        sum.update(name.as_os_str().as_encoded_bytes());
        Some(sum.digest128())
    }

    /// The hash of the pixels, if an earlier start found it.
    pub fn get(&self, key: u128) -> Option<u128> {
        let place = self.known.binary_search_by_key(&key, |sum| sum[0]).ok()?;
        Some(self.known[place][1])
    }

    /// Keeps the hash of the pixels.
    pub fn put(&self, key: u128, pixels: u128) {
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push([key, pixels]);
    }

    /// Writes the hashes if there are many new ones, or, at the end, if there are any.
    pub fn write(&mut self, is_end: bool) {
        let new = self.new.get_mut().unwrap_or_else(PoisonError::into_inner);
        if new.is_empty() || !is_end && new.len() < OFTEN {
            return;
        }
        if self.known.len() > MOST {
            self.known.clear();
        }
        self.known.append(new);
        self.known.sort_unstable();
        self.known.dedup();
        // Who cannot write the folder decodes again.
        let _ = write_unsynced(&self.folder.join(NAME), &bytes_of(&self.known));
    }
}

fn bytes_of(sums: &[Sum]) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.extend(sums.iter().flatten().flat_map(|number| number.to_le_bytes()));
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// Returns the hashes of a file's bytes; None for broken ones.
fn parsed(bytes: &[u8]) -> Option<Vec<Sum>> {
    let (body, check) = bytes.split_last_chunk()?;
    let numbers = body.strip_prefix(HEAD)?;
    let is_whole = xxh3_64(body) == u64::from_le_bytes(*check) && numbers.len().is_multiple_of(size_of::<Sum>());
    let (numbers, _) = numbers.as_chunks();
    is_whole.then(|| {
        let numbers: Vec<u128> = numbers.iter().map(|number| u128::from_le_bytes(*number)).collect();
        numbers.as_chunks().0.to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_as_none() {
        let sums = vec![[1, 2], [3, u128::MAX]];
        let bytes = bytes_of(&sums);
        assert_eq!(parsed(&bytes), Some(sums));
        for end in 0..bytes.len() {
            assert_eq!(parsed(&bytes[..end]), None);
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(parsed(&changed), None);
        }
        assert_eq!(parsed(&bytes_of(&[])), Some(Vec::new()));
    }
}
