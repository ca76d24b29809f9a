//! Random splits that keep connected pairs on one side.

use std::collections::HashMap;

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::disjoint::DisjointSets;
use super::packed::Place;
use super::pairs::Pairs;
use crate::error::{Error, Result};
use crate::random::rng;

impl Pairs {
    /// Splits off a share of the pairs, drawn by `seed`: (the rest, the share), both in their old order. Pairs of one
    /// group, and pairs that share a human's or an article's file or its exact bytes, stay on one side. The share comes
    /// as close to the given one as that allows, and never exceeds it.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share outside (0, 1) or one that leaves a side empty; [`Error::Io`] for a file that
    /// cannot be read.
    pub fn split(&self, share: f64, seed: u64) -> Result<(Pairs, Pairs)> {
        let count = (self.len() as f64 * share).round();
        let refuse = |rule: String| Err(Error::setting("share", rule, share));
        if !(share > 0.0 && share < 1.0) || count < 1.0 || count as usize >= self.len() {
            return refuse(format!("between 0 and 1, so that both sides of {} pairs have one", self.len()));
        }
        let groups = self.tied()?;
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.shuffle(&mut rng(seed, "split", 0));
        let mut chosen = vec![false; self.len()];
        let mut left = count as usize;
        for group in order.into_iter().map(|i| &groups[i]) {
            if group.len() <= left {
                left -= group.len();
                group.iter().for_each(|&i| chosen[i] = true);
            }
        }
        if left == count as usize {
            let smallest = groups.iter().map(Vec::len).min().unwrap_or(0);
            return refuse(format!("room for the smallest group, which has {smallest} of {} pairs", self.len()));
        }
        Ok((self.with(|i| !chosen[i]), self.with(|i| chosen[i])))
    }

    /// Groups the pairs that share a group, a file or its bytes, in the order of their first pairs.
    fn tied(&self) -> Result<Vec<Vec<usize>>> {
        let stock = self.packed.stock();
        let (mut files, mut numbers) = (Vec::new(), HashMap::new());
        let mut number = |place: Place| {
            *numbers.entry(stock.key(place)).or_insert_with(|| {
                files.push(place);
                files.len() as u32 - 1
            })
        };
        let sides: Vec<[u32; 2]> = (0..self.len())
            .map(|place| [self.packed.human(place), self.packed.article(place)].map(&mut number))
            .collect();
        drop(numbers);
        let sizes: Vec<u64> = files.par_iter().map(|file| stock.source(*file).size()).collect::<Result<_>>()?;
        let mut of_size: HashMap<u64, usize> = HashMap::new();
        sizes.iter().for_each(|size| *of_size.entry(*size).or_default() += 1);
        // Only files of one size can have the same bytes.
        let hashes: Vec<Option<u128>> = (files.par_iter().zip(&sizes))
            .map(|(file, size)| match of_size[size] {
                1 => Ok(None),
                _ => stock.source(*file).hash_stored().map(Some),
            })
            .collect::<Result<_>>()?;
        // The first pair of each file.
        let mut firsts = vec![usize::MAX; files.len()];
        let mut tied = DisjointSets::new(self.len());
        let (mut by_hash, mut by_group) = (HashMap::new(), HashMap::new());
        for (i, sides) in sides.iter().enumerate() {
            for file in sides.map(|file| file as usize) {
                let first = match hashes[file] {
                    Some(hash) => *by_hash.entry(hash).or_insert(i),
                    None => firsts[file].min(i),
                };
                firsts[file] = first;
                tied.join(first, i);
            }
            if let Some(group) = self.packed.group(i) {
                tied.join(*by_group.entry(group).or_insert(i), i);
            }
        }
        Ok(tied.groups())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Pair, Source};
    use std::path::Path;

    /// Pairs of files that all differ.
    fn listed(folder: &Path, n: usize) -> Vec<Pair> {
        let file = |name: String| {
            let path = folder.join(&name);
            std::fs::write(&path, name).unwrap();
            Source::from(path)
        };
        let pair = |i: usize| Pair {
            id: format!("{i}"),
            human: file(format!("h{i}")),
            article: file(format!("a{i}")),
            group: None,
            split: None,
        };
        (0..n).map(pair).collect()
    }

    fn of(list: &[Pair]) -> Pairs {
        let mut all = Pairs::default();
        all.set(list, &[]).unwrap();
        all
    }

    fn ids(pairs: &Pairs) -> Vec<&str> {
        pairs.ids().collect()
    }

    #[test]
    fn a_split_has_every_pair_once_and_repeats_by_its_seed() {
        let folder = tempfile::tempdir().unwrap();
        let all = of(&listed(folder.path(), 10));
        let (rest, share) = all.split(0.3, 1).unwrap();
        assert_eq!((rest.len(), share.len()), (7, 3));
        let mut both = [ids(&rest), ids(&share)].concat();
        both.sort();
        assert_eq!(both, ids(&all));
        assert_eq!(ids(&all.split(0.3, 1).unwrap().1), ids(&share));
        assert_ne!(ids(&all.split(0.3, 2).unwrap().1), ids(&share));
        for share in [0.0, 1.0, 0.01, f64::NAN] {
            assert!(all.split(share, 0).is_err());
        }
    }

    #[test]
    fn a_group_a_file_and_the_same_bytes_stay_on_one_side() {
        let folder = tempfile::tempdir().unwrap();
        let mut list = listed(folder.path(), 12);
        for i in [0, 5] {
            list[i].group = Some("anna".into());
        }
        list[6].article = list[5].article.clone();
        std::fs::copy(list[6].human.name(), list[7].human.name()).unwrap();
        let all = of(&list);
        // 0 - 5 by group, 5 - 6 by file, 6 - 7 by bytes.
        let tied = ["0", "5", "6", "7"];
        let mut sides = [0; 2];
        for seed in 0..40 {
            let (rest, share) = all.split(0.5, seed).unwrap();
            assert_eq!((rest.len(), share.len()), (6, 6));
            let inside = tied.iter().filter(|id| ids(&share).contains(id)).count();
            assert!(inside == 0 || inside == 4, "{inside}");
            sides[inside / 4] += 1;
        }
        assert!(sides[0] > 3 && sides[1] > 3, "{sides:?}");
        list.iter_mut().for_each(|pair| pair.group = Some("one".into()));
        let error = of(&list).split(0.5, 0).unwrap_err().to_string();
        assert!(error.contains("smallest group, which has 12 of 12 pairs"), "{error}");
    }
}
