//! Pictures and looks that the rows of a list share: each is decoded once, and each person looked at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use image::RgbImage;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::arrays::Picture;
use crate::inference::{Look, Person};
use crate::pixels::BUDGET;

/// What is kept for rows to come, in bytes.
pub const KEPT: u64 = BUDGET / 4;

/// What a picture is known by. Rows with equal keys share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// No picture.
    Nothing,
    /// The one picture of all rows.
    Shared,
    /// A file: path, length, time of its last change.
    File(PathBuf, u64, SystemTime),
    /// The hash of a file's bytes.
    Encoded(u128),
    /// The hash of pixels.
    Pixels(u128),
    /// Nothing is known of it, as of a pipe or a missing file: side and row.
    Alone(usize, usize),
}

impl Key {
    /// The key of a row's picture on a side.
    pub fn of(picture: &Picture, side: usize, row: usize) -> Key {
        match picture {
            Picture::Path(path) => {
                let about = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
                match about.and_then(|about| Some((about.len(), about.modified().ok()?))) {
                    Some((length, changed)) => Key::File(path.clone(), length, changed),
                    None => Key::Alone(side, row),
                }
            }
            Picture::Encoded(bytes) => Key::Encoded(xxh3_128(bytes)),
            Picture::Pixels(picture) => {
                let mut sum = Xxh3Default::new();
                sum.update(&picture.width().to_le_bytes());
                sum.update(picture.as_raw());
                Key::Pixels(sum.digest128())
            }
        }
    }
}

/// A person of one row or more.
#[derive(Debug)]
pub struct Dressed {
    /// The pictures, until they are looked at.
    given: Mutex<Option<Person>>,
    look: OnceLock<Arc<Look>>,
}

impl Dressed {
    /// A person that is not looked at yet.
    pub fn new(person: Person) -> Self {
        Dressed { given: Mutex::new(Some(person)), look: OnceLock::new() }
    }

    /// Takes the pictures of one that is not looked at.
    pub fn take(&self) -> Option<Person> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the look.
    pub fn keep(&self, look: Look) {
        self.look.get_or_init(|| look.into());
    }

    /// The look. It is there once the part that the person came with is swapped.
    ///
    /// # Panics
    /// Before that.
    pub fn look(&self) -> &Look {
        self.look.get().expect("the person was looked at")
    }

    /// The photo's pixels.
    pub fn pixels(&self) -> u64 {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let photo = given.as_ref().map(|person| &person.human).or_else(|| self.look.get().map(|look| &look.photo));
        photo.map_or(0, |photo| photo.as_raw().len() as u64 / 3)
    }

    /// The photo, without a copy if nobody else needs it.
    pub fn into_photo(self: Arc<Self>) -> RgbImage {
        let photo = match Arc::try_unwrap(self) {
            Ok(alone) => match alone.look.into_inner().map(Arc::try_unwrap) {
                Some(Ok(look)) => look.photo,
                Some(Err(look)) => look.photo.clone(),
                None => unreachable!("the person was looked at"),
            },
            Err(shared) => shared.look().photo.clone(),
        };
        Arc::unwrap_or_clone(photo)
    }
}

impl From<Arc<Look>> for Dressed {
    fn from(look: Arc<Look>) -> Self {
        Dressed { given: Mutex::new(None), look: look.into() }
    }
}

/// Values by key within a number of bytes; the one that was not used for longest goes first.
#[derive(Debug)]
struct Recent<K, V> {
    found: HashMap<K, (V, u64, u64)>,
    most: u64,
    bytes: u64,
    tick: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// The largest number of values: looking for the oldest one takes time.
    const MOST: usize = 1024;

    fn new(most: u64) -> Self {
        Recent { found: HashMap::new(), most, bytes: 0, tick: 0 }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.tick += 1;
        let (value, used, _) = self.found.get_mut(key)?;
        *used = self.tick;
        Some(value.clone())
    }

    fn put(&mut self, key: K, value: V, bytes: u64) {
        if bytes > self.most {
            return;
        }
        self.tick += 1;
        if let Some((_, _, before)) = self.found.insert(key, (value, self.tick, bytes)) {
            self.bytes -= before;
        }
        self.bytes += bytes;
        while self.bytes > self.most || self.found.len() > Self::MOST {
            let oldest = self.found.iter().min_by_key(|(_, (_, used, _))| *used).map(|(key, _)| key.clone());
            let Some((_, _, bytes)) = oldest.and_then(|key| self.found.remove(&key)) else { break };
            self.bytes -= bytes;
        }
    }
}

/// The people and the targets of the last rows.
#[derive(Debug)]
pub struct Kept {
    people: Recent<[Key; 2], Arc<Dressed>>,
    targets: Recent<Key, Arc<RgbImage>>,
}

impl Kept {
    /// Nothing yet.
    pub fn new() -> Self {
        Kept { people: Recent::new(KEPT / 4 * 3), targets: Recent::new(KEPT / 4) }
    }

    /// The person with this photo and worn article.
    pub fn person(&mut self, keys: &[Key; 2]) -> Option<Arc<Dressed>> {
        self.people.get(keys)
    }

    /// The target.
    pub fn target(&mut self, key: &Key) -> Option<Arc<RgbImage>> {
        self.targets.get(key)
    }

    /// Keeps a person, whose look takes about `bytes`.
    pub fn put_person(&mut self, keys: [Key; 2], person: &Arc<Dressed>, bytes: u64) {
        if !keys.iter().any(|key| matches!(key, Key::Alone(..))) {
            self.people.put(keys, person.clone(), bytes);
        }
    }

    /// Keeps a target.
    pub fn put_target(&mut self, key: Key, target: &Arc<RgbImage>) {
        if !matches!(key, Key::Alone(..)) {
            let bytes = target.as_raw().len() as u64;
            self.targets.put(key, target.clone(), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_not_used_for_longest_goes() {
        let mut kept = Recent::new(100);
        kept.put("a", 1, 40);
        kept.put("b", 2, 40);
        assert_eq!(kept.get(&"a"), Some(1));
        kept.put("c", 3, 40);
        assert_eq!([kept.get(&"a"), kept.get(&"b"), kept.get(&"c")], [Some(1), None, Some(3)]);
        // Too large to be kept; another value for a key takes the place of the first.
        kept.put("d", 4, 101);
        kept.put("a", 5, 10);
        assert_eq!([kept.get(&"d"), kept.get(&"a")], [None, Some(5)]);
        assert_eq!(kept.bytes, 50);
    }
}
