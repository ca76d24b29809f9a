//! Many short texts in one piece of memory, each with a number.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::error::{Error, Result};

/// Texts one after the other. Each takes its bytes and four more.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    bytes: String,
    /// Where each text ends, from the start of its block on.
    ends: Vec<u32>,
    /// Where each block of [`BLOCK`] texts starts.
    starts: Vec<usize>,
}

/// The texts of a block. All texts may take more than 4 GiB, those of a block not.
const BLOCK: usize = 1024;

impl Strings {
    /// Appends a text and returns its number.
    ///
    /// # Errors
    /// [`Error::Memory`] for more texts than numbers.
    pub fn push(&mut self, text: &str) -> Result<u32> {
        let full = || Error::Memory("more names than a set can number".into());
        let number = u32::try_from(self.ends.len()).ok().filter(|number| *number < Self::NONE).ok_or_else(full)?;
        if self.ends.len().is_multiple_of(BLOCK) {
            self.starts.push(self.bytes.len());
        }
        let start = *self.starts.last().expect("a block was begun");
        let end = u32::try_from(self.bytes.len() + text.len() - start).map_err(|_| full())?;
        self.bytes.push_str(text);
        self.ends.push(end);
        Ok(number)
    }

    /// A number that no text has.
    pub const NONE: u32 = u32::MAX;

    /// The text of a number.
    pub fn get(&self, number: u32) -> &str {
        let place = number as usize;
        let block = self.starts[place / BLOCK];
        let start = if place.is_multiple_of(BLOCK) { 0 } else { self.ends[place - 1] };
        &self.bytes[block + start as usize..block + self.ends[place] as usize]
    }

    /// Gives back memory that was taken for more texts.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.starts.shrink_to_fit();
    }
}

/// Finds the numbers of texts that are there already.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    table: HashTable<u32>,
    hasher: std::hash::RandomState,
}

impl Numbers {
    /// Returns the number of a text, if it is there.
    pub fn find(&self, text: &str, strings: &Strings) -> Option<u32> {
        let same = |number: &u32| strings.get(*number) == text;
        self.table.find(self.hasher.hash_one(text), same).copied()
    }

    /// Returns the number of a text, which is appended if it is new.
    ///
    /// # Errors
    /// As [`Strings::push`].
    pub fn of(&mut self, text: &str, strings: &mut Strings) -> Result<u32> {
        let hash = |text: &str| self.hasher.hash_one(text);
        let same = |number: &u32| strings.get(*number) == text;
        match self.table.entry(hash(text), same, |number| hash(strings.get(*number))) {
            Entry::Occupied(found) => Ok(*found.get()),
            Entry::Vacant(place) => {
                let number = strings.push(text)?;
                place.insert(number);
                Ok(number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once_and_found_by_its_number() {
        let (mut strings, mut numbers) = (Strings::default(), Numbers::default());
        // More than two blocks, with an empty text at the start of the second.
        let texts: Vec<String> =
            (0..2500).map(|k| if k == BLOCK { String::new() } else { format!("{k:x}é") }).collect();
        for round in 0..2 {
            for (k, text) in texts.iter().enumerate() {
                assert_eq!(numbers.of(text, &mut strings).unwrap(), k as u32, "{round}");
            }
        }
        strings.shrink();
        for (k, text) in texts.iter().enumerate() {
            assert_eq!(strings.get(k as u32), text);
        }
    }
}
