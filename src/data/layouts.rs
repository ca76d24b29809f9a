//! Folder layouts: which files are humans, which are articles, and which belong together.
//!
//! ```text
//! human/0001.jpg     article/0001.png     by stem
//! image/0001_0.jpg   cloth/0001_1.jpg     by stem, with or without an ending `_0`, `_1`: the try-on sets' convention
//! 0001_1.jpg         0001_5.jpg           human and article in one folder, by the stem before `_1` and `_5`
//! ```
//!
//! Each may be in the folder itself or in its subfolders `train`, `val`, `valid`, `validation`, `test`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::row::Row;
use crate::error::{AtPath, Error, Result};

/// The file endings of pictures.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "jfif"];
/// The folders of a set's splits.
const SPLITS: [&str; 5] = ["train", "val", "valid", "validation", "test"];
/// The folders of humans and of articles.
const FOLDERS: [[&str; 2]; 2] = [["human", "article"], ["image", "cloth"]];
/// The endings of stems of humans and of articles in one folder.
const SUFFIXES: [&str; 2] = ["_1", "_5"];

/// Lists a folder in one of the layouts, sorted by id. A picture without a partner has a row of its own.
///
/// # Errors
/// [`Error::NotFound`] for a missing folder or one of none of the layouts; [`Error::Content`] for two pictures of one
/// stem.
pub fn list(folder: &Path) -> Result<Vec<Row>> {
    if !folder.is_dir() {
        return Err(Error::NotFound { path: folder.into(), what: "folder" });
    }
    if let Some(rows) = list_one(folder)? {
        return Ok(rows);
    }
    let mut all = Vec::new();
    for split in SPLITS {
        let part = folder.join(split);
        if part.is_dir() {
            let Some(rows) = list_one(&part)? else {
                return Err(unknown(&part));
            };
            all.push((split, rows));
        }
    }
    if all.is_empty() {
        return Err(unknown(folder));
    }
    // An id may occur in two splits: then the split's name joins every id.
    let mut seen = BTreeMap::new();
    let clash = (all.iter().flat_map(|(_, rows)| rows)).any(|row| seen.insert(&row.id, ()).is_some());
    let rows = all.into_iter().flat_map(|(split, rows)| {
        rows.into_iter().map(move |row| Row {
            id: if clash { format!("{split}_{}", row.id) } else { row.id },
            split: Some(split.into()),
            ..row
        })
    });
    Ok(rows.collect())
}

fn unknown(folder: &Path) -> Error {
    Error::NotFound {
        path: folder.into(),
        what: "pairs (expected `human/` and `article/`, `image/` and `cloth/`, files `<id>_1` and `<id>_5`, \
            or `pairs.csv`)",
    }
}

fn list_one(folder: &Path) -> Result<Option<Vec<Row>>> {
    for [humans, articles] in FOLDERS {
        let [human, article] = [folder.join(humans), folder.join(articles)];
        match (human.is_dir(), article.is_dir()) {
            (true, true) => {}
            (false, false) => continue,
            (true, false) => return Err(missing(article)),
            // `image` and `cloth` are common words: one alone is no layout.
            (false, true) if humans == "human" => return Err(missing(human)),
            (false, true) => continue,
        }
        let (humans, articles) = (pictures(&human)?, pictures(&article)?);
        if let Some(text) = pairs_text(folder) {
            return Ok(Some(by_text(&text, humans, articles)?));
        }
        return Ok(Some(by_stem(humans, articles)));
    }
    let files = pictures(folder)?;
    let side = |suffix: &str| -> BTreeMap<String, PathBuf> {
        let stems = files.iter().filter_map(|(stem, path)| {
            let id = stem.strip_suffix(suffix).filter(|id| !id.is_empty())?;
            Some((id.to_owned(), path.clone()))
        });
        stems.collect()
    };
    let [humans, articles] = SUFFIXES.map(side);
    if humans.keys().any(|id| articles.contains_key(id)) {
        return Ok(Some(by_stem(humans, articles)));
    }
    Ok(None)
}

fn missing(path: PathBuf) -> Error {
    Error::NotFound { path, what: "folder, beside the other half of the pairs" }
}

/// Lists the pictures of a folder by stem.
fn pictures(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if !ENDINGS.contains(&ending.to_ascii_lowercase().as_str()) || !path.is_file() {
            continue;
        }
        let Some(stem) = path.file_stem().and_then(|s| s.to_str()) else {
            let text = "expected a file name in UTF-8, got another encoding";
            return Err(Error::content(&path, text));
        };
        if stem.starts_with('.') {
            continue;
        }
        if let Some(other) = found.insert(stem.to_owned(), path.clone()) {
            let (one, two) = (name(&other), name(&path));
            let text = format!("expected one picture for `{stem}`, got {one} and {two}");
            return Err(Error::content(folder, text));
        }
    }
    Ok(found)
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into()
}

/// Cuts the ending off: `0001_0` and `0001_1` are pictures of one product.
fn base(stem: &str) -> &str {
    let cut = stem.strip_suffix("_0").or_else(|| stem.strip_suffix("_1"));
    cut.filter(|base| !base.is_empty()).unwrap_or(stem)
}

fn by_stem(humans: BTreeMap<String, PathBuf>, mut articles: BTreeMap<String, PathBuf>) -> Vec<Row> {
    // `0001_0` pairs with `0001_1` only where no stem is on both sides.
    let plain = humans.keys().any(|stem| articles.contains_key(stem));
    let partner = |stem: &str| match plain {
        true => stem.to_owned(),
        false => stem.strip_suffix("_0").map_or(stem.to_owned(), |base| format!("{base}_1")),
    };
    let mut rows = Vec::new();
    for (id, human) in humans {
        rows.push(Row { article: articles.remove(&partner(&id)), human: Some(human), id, ..Row::default() });
    }
    rows.extend(articles.into_iter().map(|(id, article)| Row { id, article: Some(article), ..Row::default() }));
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

/// Finds the text file of a try-on set's pairs: `train_pairs.txt` in the folder `train` or beside it, else `pairs.txt`.
fn pairs_text(folder: &Path) -> Option<PathBuf> {
    let own = format!("{}_pairs.txt", name(folder));
    let above = folder.parent().map(|above| above.join(&own));
    let found = [Some(folder.join(&own)), above, Some(folder.join("pairs.txt"))];
    found.into_iter().flatten().find(|path| path.is_file())
}

/// Pairs humans and articles as the text does. In the test splits of try-on sets the text lists the article to try on,
/// not the one worn: it gives a human another article than that of its own stem. Then the stems decide.
fn by_text(text: &Path, humans: BTreeMap<String, PathBuf>, articles: BTreeMap<String, PathBuf>) -> Result<Vec<Row>> {
    let content = std::fs::read_to_string(text).at(text)?;
    let stem = |name: &str| {
        let name = Path::new(name).file_stem().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let mut rows = Vec::new();
    let mut used = BTreeMap::new();
    for (number, line) in content.lines().enumerate() {
        let line_number = number + 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [human, article] = match words[..] {
            [] => continue,
            [human, article] | [human, article, _] => [stem(human), stem(article)],
            _ => {
                let text_got = format!("line {line_number}: expected `human article`, got `{line}`");
                return Err(Error::content(text, text_got));
            }
        };
        let own = [human.clone(), format!("{}_1", base(&human))];
        if own.iter().any(|own| *own != article && articles.contains_key(own)) && !own.contains(&article) {
            return Ok(by_stem(humans, articles));
        }
        if used.insert(human.clone(), line_number).is_some() {
            let first = format!("line {line_number}: `{human}` is also on an earlier line");
            return Err(Error::content(text, first));
        }
        rows.push(Row {
            human: humans.get(&human).cloned(),
            article: articles.get(&article).cloned(),
            line: line_number,
            id: human,
            ..Row::default()
        });
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}
