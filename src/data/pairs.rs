//! The pairs of a folder: a human and the article that the human wears, and the articles that nobody wears.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::layouts::{self, Row};
use super::listing;
use crate::error::{AtPath, Error, Named, Result};
use crate::random::rng;

/// One pair on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub id: String,
    pub human: PathBuf,
    pub article: PathBuf,
    /// Pairs of one group share a person or an article: a split never parts them, and none is another's target.
    pub group: Option<String>,
    pub split: Option<String>,
}

/// An article without a human: it can be a target, and is never worn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    pub id: String,
    pub path: PathBuf,
}

/// What was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub id: String,
    pub path: PathBuf,
    pub reason: String,
}

/// What to do about a file that is missing, alone or broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    #[default]
    Raise,
    /// Leave the pair out, and list it.
    Skip,
}

/// How a folder is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub on_error: OnError,
    /// Whether articles without a human join as targets; otherwise each is an error.
    pub extra_articles: bool,
}

/// An ordered list of pairs.
#[derive(Clone, Debug)]
pub struct Pairs {
    pub folder: PathBuf,
    pub pairs: Vec<Pair>,
    /// Targets beside the pairs' own articles.
    pub extra: Vec<Article>,
    /// What `pairs.csv` excludes.
    pub excluded: Vec<LeftOut>,
    /// What [`OnError::Skip`] left out.
    pub skipped: Vec<LeftOut>,
    pub on_error: OnError,
}

impl Pairs {
    /// Lists the pairs of a folder: `pairs.csv` if it is there, else one of the layouts of [`layouts`]. Sorted by id
    /// where folders are read, in the file's order where a CSV is. No picture is opened.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a folder that is not there or of no known layout; [`Error::Content`] for a folder
    /// without pairs, a CSV that is refused, and, where errors are raised, for a human or an article without its
    /// partner or its file.
    pub fn open(folder: impl AsRef<Path>, options: &Options) -> Result<Pairs> {
        let folder = folder.as_ref();
        let csv = folder.join("pairs.csv");
        let listed = csv.is_file();
        let rows = match listed {
            true => listing::read(&csv)?,
            false => layouts::list(folder)?,
        };
        let mut pairs = Pairs {
            folder: folder.into(),
            pairs: Vec::new(),
            extra: Vec::new(),
            excluded: Vec::new(),
            skipped: Vec::new(),
            on_error: options.on_error,
        };
        let file = if listed { &csv } else { folder };
        let mut lines = Vec::new();
        for row in rows {
            if let Some(reason) = row.excluded {
                pairs.excluded.push(LeftOut {
                    path: row.human.or(row.article).unwrap_or_default(),
                    id: row.id,
                    reason,
                });
                continue;
            }
            match whole(row, listed, options.extra_articles) {
                Ok(Whole::Pair(pair)) => pairs.pairs.push(pair),
                Ok(Whole::Article(article)) => pairs.extra.push(article),
                Err((left_out, line)) => {
                    lines.push(line);
                    pairs.skipped.push(left_out);
                }
            }
        }
        if options.on_error == OnError::Raise && !lines.is_empty() {
            return Err(pairs.refusal(file, &lines));
        }
        if pairs.pairs.is_empty() {
            let (excluded, skipped) = (pairs.excluded.len(), pairs.skipped.len());
            let left = match (excluded, skipped) {
                (0, 0) => String::new(),
                _ => format!(" ({excluded} excluded, {skipped} skipped)"),
            };
            let text = format!("expected pairs of a human and an article, got none{left}");
            return Err(Error::content(file, text));
        }
        Ok(pairs)
    }

    /// What was skipped as one error, with the lines that it came from.
    fn refusal(&self, file: &Path, lines: &[usize]) -> Error {
        const SHOWN: usize = 5;
        let one = |(left_out, line): (&LeftOut, &usize)| {
            let place = match line {
                0 => String::new(),
                line => format!("line {line}: "),
            };
            let path = &left_out.path;
            let path = path.strip_prefix(&self.folder).unwrap_or(path).display();
            format!("{place}{path}: {}", left_out.reason)
        };
        let shown: Vec<String> = self.skipped.iter().zip(lines).take(SHOWN).map(one).collect();
        let more = match lines.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let out = "; on_error=\"skip\" leaves such pairs out";
        Error::content(file, format!("{}{more}{out}", shown.join(", ")))
    }

    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pair with that id.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest id.
    pub fn find(&self, id: &str) -> Result<&Pair> {
        self.pairs
            .iter()
            .find(|pair| pair.id == id)
            .ok_or_else(|| Error::unknown(Named::Id, id, self.pairs.iter().map(|p| p.id.as_str())))
    }

    /// How many pairs each named split has; pairs of no split do not count.
    pub fn splits(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for split in self.pairs.iter().filter_map(|pair| pair.split.as_deref()) {
            *counts.entry(split).or_default() += 1;
        }
        counts
    }

    /// The pairs of one named split. Articles without a human go with every split.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a split without pairs.
    pub fn of_split(&self, split: &str) -> Result<Pairs> {
        let splits = self.splits();
        if !splits.contains_key(split) {
            return Err(Error::unknown(Named::Split, split, splits.into_keys()));
        }
        Ok(self.with(|_, pair| pair.split.as_deref() == Some(split)))
    }

    fn with(&self, wanted: impl Fn(usize, &Pair) -> bool) -> Pairs {
        let pairs = (self.pairs.iter().enumerate()).filter(|(i, pair)| wanted(*i, pair));
        Pairs { pairs: pairs.map(|(_, pair)| pair.clone()).collect(), ..self.clone() }
    }

    /// Splits off a share of the pairs, drawn by `seed`: (the rest, the share), both in their old order. Pairs of one
    /// group, and pairs that share a human's or an article's file or its exact bytes, stay on one side; the share comes
    /// as near to what was asked as that allows, and is not above it.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share outside (0, 1) or one that leaves a side empty; a file that cannot be read.
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
        Ok((self.with(|i, _| !chosen[i]), self.with(|i, _| chosen[i])))
    }

    /// The pairs that belong together, by group, file or bytes, in the order of their first.
    fn tied(&self) -> Result<Vec<Vec<usize>>> {
        let files: Vec<&Path> =
            (self.pairs.iter()).flat_map(|pair| [pair.human.as_path(), pair.article.as_path()]).collect();
        let sizes: Vec<u64> =
            (files.par_iter()).map(|path| Ok(std::fs::metadata(path).at(path)?.len())).collect::<Result<_>>()?;
        let mut of_size: HashMap<u64, usize> = HashMap::new();
        sizes.iter().for_each(|size| *of_size.entry(*size).or_default() += 1);
        // Only files of one size can have the same bytes.
        let hashes: Vec<Option<u128>> = (files.par_iter().zip(&sizes))
            .map(|(path, size)| match of_size[size] {
                1 => Ok(None),
                _ => Ok(Some(xxh3_128(&std::fs::read(path).at(path)?))),
            })
            .collect::<Result<_>>()?;
        // Each pair points to an earlier one that it is tied to, or to itself.
        let mut parent: Vec<usize> = (0..self.len()).collect();
        fn root(parent: &mut [usize], mut i: usize) -> usize {
            while parent[i] != i {
                parent[i] = parent[parent[i]];
                i = parent[i];
            }
            i
        }
        let (mut by_hash, mut by_group) = (HashMap::new(), HashMap::new());
        for (i, pair) in self.pairs.iter().enumerate() {
            let hashes = [2 * i, 2 * i + 1].into_iter().filter_map(|file| hashes[file]);
            let mut firsts: Vec<usize> = hashes.map(|hash| *by_hash.entry(hash).or_insert(i)).collect();
            if let Some(group) = &pair.group {
                firsts.push(*by_group.entry(group).or_insert(i));
            }
            for first in firsts {
                let (a, b) = (root(&mut parent, first), root(&mut parent, i));
                parent[a.max(b)] = a.min(b);
            }
        }
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut place = HashMap::new();
        for i in 0..self.len() {
            let group = *place.entry(root(&mut parent, i)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(i);
        }
        Ok(groups)
    }
}

enum Whole {
    Pair(Pair),
    Article(Article),
}

/// A row with both its files, or an article that may stand alone; otherwise what is wrong, and in which line.
fn whole(row: Row, listed: bool, extra: bool) -> std::result::Result<Whole, (LeftOut, usize)> {
    let line = row.line;
    let refuse = |path: &Path, reason: &str| {
        let left_out = LeftOut { id: row.id.clone(), path: path.into(), reason: reason.into() };
        Err((left_out, line))
    };
    for path in [&row.human, &row.article].into_iter().flatten() {
        // What a layout lists was seen a moment ago.
        if listed && !path.is_file() {
            return refuse(path, "no such file");
        }
    }
    match (&row.human, &row.article) {
        (Some(human), None) => refuse(human, "a human without its article"),
        (None, Some(article)) if !extra => {
            refuse(article, "an article without its human (extra_articles lets it join as a target)")
        }
        (None, None) => refuse(Path::new(&row.id), "neither human nor article"),
        (None, Some(_)) => Ok(Whole::Article(Article { path: row.article.expect("it is there"), id: row.id })),
        (Some(_), Some(_)) => Ok(Whole::Pair(Pair {
            human: row.human.expect("it is there"),
            article: row.article.expect("it is there"),
            id: row.id,
            group: row.group,
            split: row.split,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of files whose bytes are their numbers, human and article apart.
    fn pairs(folder: &Path, n: usize) -> Pairs {
        let file = |name: String| {
            let path = folder.join(&name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let pair = |i: usize| Pair {
            id: format!("{i}"),
            human: file(format!("h{i}")),
            article: file(format!("a{i}")),
            group: None,
            split: None,
        };
        Pairs {
            folder: folder.into(),
            pairs: (0..n).map(pair).collect(),
            extra: Vec::new(),
            excluded: Vec::new(),
            skipped: Vec::new(),
            on_error: OnError::Raise,
        }
    }

    fn ids(pairs: &Pairs) -> Vec<&str> {
        pairs.pairs.iter().map(|pair| pair.id.as_str()).collect()
    }

    #[test]
    fn a_split_parts_all_pairs_and_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let all = pairs(folder.path(), 10);
        let (rest, share) = all.split(0.3, 1).unwrap();
        assert_eq!((rest.len(), share.len()), (7, 3));
        let mut both = [ids(&rest), ids(&share)].concat();
        both.sort();
        assert_eq!(both, ids(&all));
        assert_eq!(all.split(0.3, 1).unwrap().1.pairs, share.pairs);
        assert_ne!(all.split(0.3, 2).unwrap().1.pairs, share.pairs);
        for share in [0.0, 1.0, 0.01, f64::NAN] {
            assert!(all.split(share, 0).is_err());
        }
    }

    #[test]
    fn a_split_never_parts_a_group_a_file_or_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = pairs(folder.path(), 12);
        for i in [0, 5] {
            all.pairs[i].group = Some("anna".into());
        }
        all.pairs[6].article = all.pairs[5].article.clone();
        std::fs::write(&all.pairs[7].human, std::fs::read(&all.pairs[6].human).unwrap()).unwrap();
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
        all.pairs.iter_mut().for_each(|pair| pair.group = Some("one".into()));
        let error = all.split(0.5, 0).unwrap_err().to_string();
        assert!(error.contains("smallest group, which has 12 of 12 pairs"), "{error}");
    }
}
