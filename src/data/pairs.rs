//! The pairs of a folder: humans with the articles they wear, and articles without a human.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::row::Row;
use super::{layouts, listing};
use crate::error::{Error, Named, Result};

/// One pair on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The pair's name.
    pub id: String,
    /// The photo's file.
    pub human: PathBuf,
    /// The product picture's file.
    pub article: PathBuf,
    /// Pairs of one group share a person or an article: they stay on one side of a split, and none is another's target.
    pub group: Option<String>,
    /// The part of the set, as `train`.
    pub split: Option<String>,
}

/// An article without a human: a target, never worn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The article's name.
    pub id: String,
    /// Its file.
    pub path: PathBuf,
}

/// A pair or an article that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The name of the pair or the article.
    pub id: String,
    /// The file that the reason is about.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
}

/// How a missing, lone or broken file is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Fails.
    #[default]
    Raise,
    /// Leaves the pair out and lists it.
    Skip,
}

/// How a folder is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How a missing, lone or broken file is handled.
    pub on_error: OnError,
    /// Whether articles without a human join as targets. Otherwise each is an error.
    pub extra_articles: bool,
}

/// An ordered list of pairs.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// The folder that was read.
    pub folder: PathBuf,
    /// The pairs, in order.
    pub pairs: Vec<Pair>,
    /// Further targets: the articles without a human.
    pub extra: Vec<Article>,
    /// Pairs that `pairs.csv` excludes.
    pub excluded: Vec<LeftOut>,
    /// Pairs that [`OnError::Skip`] left out.
    pub skipped: Vec<LeftOut>,
    /// How a file that cannot be decoded later is handled.
    pub on_error: OnError,
}

impl Pairs {
    /// Lists the pairs of a folder: those of `pairs.csv` in its order, else those of one of the [`layouts`] sorted by
    /// id. It opens no picture.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing folder or one of no known layout; [`Error::Content`] for a folder without
    /// pairs, a broken CSV and, with [`OnError::Raise`], a human or an article without its partner or its file.
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
            if row.exclude {
                let path = row.human.or(row.article).unwrap_or_default();
                pairs.excluded.push(LeftOut { id: row.id, path, reason: row.reason });
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

    /// Makes one error of all skipped pairs, with their lines in the list.
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

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether no pair is there.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns the pair with that id.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest id.
    pub fn find(&self, id: &str) -> Result<&Pair> {
        self.pairs
            .iter()
            .find(|pair| pair.id == id)
            .ok_or_else(|| Error::unknown(Named::Id, id, self.pairs.iter().map(|p| p.id.as_str())))
    }

    /// Counts the pairs of each named split. Pairs without a split do not count.
    pub fn splits(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for split in self.pairs.iter().filter_map(|pair| pair.split.as_deref()) {
            *counts.entry(split).or_default() += 1;
        }
        counts
    }

    /// Returns the pairs of one named split. Articles without a human go with every split.
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

    /// Returns the pairs for which `wanted(place, pair)` is true.
    pub(super) fn with(&self, wanted: impl Fn(usize, &Pair) -> bool) -> Pairs {
        let pairs = (self.pairs.iter().enumerate()).filter(|(i, pair)| wanted(*i, pair));
        Pairs { pairs: pairs.map(|(_, pair)| pair.clone()).collect(), ..self.clone() }
    }
}

enum Whole {
    Pair(Pair),
    Article(Article),
}

/// Makes a pair of a row with both its files, or an article of one that may be alone. Otherwise returns the reason and
/// the line.
fn whole(row: Row, listed: bool, extra: bool) -> std::result::Result<Whole, (LeftOut, usize)> {
    let line = row.line;
    let refuse = |path: &Path, reason: &str| {
        let left_out = LeftOut { id: row.id.clone(), path: path.into(), reason: reason.into() };
        Err((left_out, line))
    };
    for path in [&row.human, &row.article].into_iter().flatten() {
        // A layout lists existing files only.
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
