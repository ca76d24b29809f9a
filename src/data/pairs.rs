//! The pairs of a folder: a human and the article that the human wears, matched by file stem or listed in `pairs.csv`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;

use crate::error::{AtPath, Error, Result};
use crate::random::rng;

/// File endings that are taken for pictures.
const ENDINGS: [&str; 9] = [
    "jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "jfif",
];

/// One pair on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub id: String,
    pub human: PathBuf,
    pub article: PathBuf,
}

/// An ordered list of pairs.
#[derive(Clone, Debug)]
pub struct Pairs {
    pub folder: PathBuf,
    pub pairs: Vec<Pair>,
}

impl Pairs {
    /// Lists the pairs of a folder: `pairs.csv` (columns id, human, article; paths relative to the folder) if it is there,
    /// else `human/` and `article/` matched by file stem. Sorted by id where folders are read, in the file's order where a CSV is.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a folder or file that is not there; [`Error::Content`] for an empty folder, a picture without
    /// its partner, an id that comes twice, and a CSV that lacks a column or has a broken row.
    pub fn open(folder: impl AsRef<Path>) -> Result<Pairs> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(Error::NotFound {
                path: folder.into(),
                what: "folder",
            });
        }
        let csv = folder.join("pairs.csv");
        let pairs = if csv.is_file() {
            listed(folder, &csv)?
        } else {
            matched(folder)?
        };
        Ok(Pairs {
            folder: folder.into(),
            pairs,
        })
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
            .ok_or_else(|| Error::unknown("id", id, self.pairs.iter().map(|p| p.id.as_str())))
    }

    /// Splits off a share of the pairs, drawn by `seed`: (the rest, the share), both in their old order.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share outside (0, 1) or one that leaves a side empty.
    pub fn split(&self, share: f64, seed: u64) -> Result<(Pairs, Pairs)> {
        let count = (self.len() as f64 * share).round();
        if !(share > 0.0 && share < 1.0) || count < 1.0 || count as usize >= self.len() {
            return Err(Error::setting(
                "share",
                format!(
                    "between 0 and 1, so that both sides of {} pairs have one",
                    self.len()
                ),
                share,
            ));
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut rng(seed, "split", 0));
        let mut chosen = vec![false; self.len()];
        for &i in &order[..count as usize] {
            chosen[i] = true;
        }
        let side = |wanted: bool| Pairs {
            folder: self.folder.clone(),
            pairs: (self.pairs.iter().zip(&chosen))
                .filter(|(_, c)| **c == wanted)
                .map(|(pair, _)| pair.clone())
                .collect(),
        };
        Ok((side(false), side(true)))
    }
}

/// Pictures of a folder by stem.
fn pictures(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    if !folder.is_dir() {
        return Err(Error::NotFound {
            path: folder.into(),
            what: "folder (expected `human/` and `article/`, or `pairs.csv`)",
        });
    }
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let Some(stem) = path.file_stem().and_then(|s| s.to_str()) else {
            continue;
        };
        let hidden = stem.starts_with('.');
        if hidden || !ENDINGS.contains(&ending.to_ascii_lowercase().as_str()) || !path.is_file() {
            continue;
        }
        let stem = stem.to_owned();
        if let Some(other) = found.insert(stem.clone(), path.clone()) {
            return Err(Error::content(
                folder,
                format!(
                    "expected one picture for `{stem}`, got {} and {}",
                    name(&other),
                    name(&path)
                ),
            ));
        }
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into()
}

fn matched(folder: &Path) -> Result<Vec<Pair>> {
    let (humans, mut articles) = (
        pictures(&folder.join("human"))?,
        pictures(&folder.join("article"))?,
    );
    let mut pairs = Vec::new();
    let mut lonely = Vec::new();
    for (id, human) in humans {
        match articles.remove(&id) {
            Some(article) => pairs.push(Pair { id, human, article }),
            None => lonely.push(format!("human/{}", name(&human))),
        }
    }
    lonely.extend(articles.values().map(|a| format!("article/{}", name(a))));
    if !lonely.is_empty() {
        let shown = lonely
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let more = match lonely.len().saturating_sub(5) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        return Err(Error::content(
            folder,
            format!(
                "expected a human and an article of every stem, got no partner for {shown}{more}"
            ),
        ));
    }
    if pairs.is_empty() {
        return Err(Error::content(
            folder,
            "expected pictures in human/ and article/, got none",
        ));
    }
    Ok(pairs)
}

fn listed(folder: &Path, csv: &Path) -> Result<Vec<Pair>> {
    let bad = |e: csv::Error| Error::content(csv, e.to_string());
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(csv)
        .map_err(bad)?;
    let headers = reader.headers().map_err(bad)?.clone();
    let column = |wanted: &str| {
        headers
            .iter()
            // A byte order mark is what spreadsheets put before the first name.
            .position(|name| name.trim_start_matches('\u{feff}') == wanted)
            .ok_or_else(|| {
                let got = headers.iter().collect::<Vec<_>>().join(", ");
                Error::content(
                    csv,
                    format!("expected the columns id, human, article, got {got}"),
                )
            })
    };
    let [id, human, article] = [column("id")?, column("human")?, column("article")?];
    let mut pairs: Vec<Pair> = Vec::new();
    let mut seen = BTreeMap::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(bad)?;
        let line = row + 2;
        let cell = |index: usize| match &record[index] {
            "" => Err(Error::content(
                csv,
                format!(
                    "line {line}: expected a value for {}, got none",
                    &headers[index]
                ),
            )),
            text => Ok(text.to_owned()),
        };
        let pair = Pair {
            id: cell(id)?,
            human: folder.join(cell(human)?),
            article: folder.join(cell(article)?),
        };
        for path in [&pair.human, &pair.article] {
            if !path.is_file() {
                return Err(Error::content(
                    csv,
                    format!("line {line}: {}: no such file", path.display()),
                ));
            }
        }
        if let Some(first) = seen.insert(pair.id.clone(), line) {
            return Err(Error::content(
                csv,
                format!(
                    "line {line}: id `{}` stands in line {first} already",
                    pair.id
                ),
            ));
        }
        pairs.push(pair);
    }
    if pairs.is_empty() {
        return Err(Error::content(
            csv,
            "expected rows under the header, got none",
        ));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(n: usize) -> Pairs {
        let pair = |i: usize| Pair {
            id: format!("{i}"),
            human: "h".into(),
            article: "a".into(),
        };
        Pairs {
            folder: "f".into(),
            pairs: (0..n).map(pair).collect(),
        }
    }

    #[test]
    fn a_split_parts_all_pairs_and_repeats() {
        let all = pairs(10);
        let (rest, share) = all.split(0.3, 1).unwrap();
        assert_eq!((rest.len(), share.len()), (7, 3));
        let mut ids: Vec<_> = (rest.pairs.iter().chain(&share.pairs))
            .map(|p| p.id.clone())
            .collect();
        ids.sort();
        assert_eq!(ids, (0..10).map(|i| i.to_string()).collect::<Vec<_>>());
        assert_eq!(all.split(0.3, 1).unwrap().1.pairs, share.pairs);
        assert_ne!(all.split(0.3, 2).unwrap().1.pairs, share.pairs);
        for share in [0.0, 1.0, 0.01, f64::NAN] {
            assert!(all.split(share, 0).is_err());
        }
    }
}
