//! Folder layouts: which files are humans, which are articles, and which belong together.
//!
//! ```text
//! human/0001.jpg     article/0001.png     by stem
//! image/0001_0.jpg   cloth/0001_1.jpg     by stem, with or without an ending `_0`, `_1`: the try-on sets' convention
//! 1/0001_1.jpg       5/0001_5.jpg         by the stem before `_1` and `_5`
//! 0001_1.jpg         0001_5.jpg           the same in one folder
//! images/0001_0.jpg  images/0001_1.jpg    human and article in one folder, as in DressCode
//! 02_1_front.jpg     02_6_flat.jpg        the same, as in DeepFashion In-shop
//! ```
//!
//! Each may be in the folder itself, in its subfolders `train`, `val`, `valid`, `validation`, `test`, or in several
//! folders further down: DressCode has one for each category, In-shop one for each product, and an archive unpacks into
//! one. The text files of try-on sets are read by [`super::texts`].

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::names::{ENDINGS, Finder, fresh, is_picture_name, name};
use super::row::Row;
use super::sets::{Note, PassedOver, SPLITS, SUFFIXES, Set, Side, by_stem, category_of};
use super::texts;
use crate::error::{AtPath, Error, Result};

/// The folders of humans and of articles.
const FOLDERS: [[&str; 2]; 3] = [["human", "article"], ["image", "cloth"], ["1", "5"]];
/// The folder of a DressCode category in which its pictures are.
const TOGETHER: &str = "images";
/// Files that systems leave everywhere.
const LITTER: [&str; 4] = ["Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX"];
/// Folders below the given one in which sets are looked for: In-shop has four between a set and its pictures.
const DEEPEST: usize = 5;
/// Folders without a set after which the search ends: someone gave a home folder.
const MOST_EMPTY: usize = 2000;

/// A folder's rows, and what they leave out.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The rows, sorted by id. A picture without a partner has a row of its own.
    pub rows: Vec<Row>,
    /// Files that no layout takes.
    pub passed_over: Vec<PassedOver>,
    /// Choices and omissions.
    pub notes: Vec<Note>,
}

/// Lists a folder in one of the layouts.
///
/// # Errors
/// [`Error::NotFound`] for a missing folder or one of none of the layouts; [`Error::Content`] for two pictures of one
/// stem and for a broken text file.
pub fn list(folder: &Path) -> Result<Found> {
    if !folder.is_dir() {
        return Err(Error::NotFound { path: folder.into(), what: "folder or list of pairs" });
    }
    let mut found = Found::default();
    let mut search = Search { sets: Vec::new(), notes: Vec::new(), empty: 0 };
    search.look(folder, "", 0)?;
    let Search { sets, notes, .. } = search;
    if sets.is_empty() {
        return Err(unknown(folder));
    }
    found.notes = notes;
    let further: Vec<&str> = sets.iter().filter(|set| set.split.is_none()).map(|set| set.place.as_str()).collect();
    if let [place] = further[..]
        && !place.is_empty()
    {
        found.notes.push(Note::new(format!("the set is one folder further down: read `{place}`"), false));
    }
    if further.len() > 1 {
        let known = |place: &str| {
            place.ends_with("_body") || place.ends_with("dresses") || name(Path::new(place)).starts_with("id_")
        };
        let shown: Vec<String> = further.iter().take(4).map(|place| format!("`{place}`")).collect();
        let more = further.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let strange = !further.iter().all(|place| known(place));
        let text = format!("read {} sets further down as one: {}{more}", further.len(), shown.join(", "));
        found.notes.push(Note::new(text, strange));
    }
    let above = match texts::above(&sets)? {
        Some(text) => Some(text.rows(folder, &sets, &mut found.notes)?),
        None => None,
    };
    let listed = above.is_some();
    let mut parts = Vec::new();
    for set in &sets {
        if !listed {
            parts.push(rows(set, &mut found.notes)?);
        }
        found.passed_over.extend_from_slice(&set.passed);
        found.notes.extend_from_slice(&set.notes);
    }
    found.rows = above.unwrap_or_else(|| joined(parts, &sets));
    Ok(found)
}

/// Makes one list of the rows of several sets.
fn joined(parts: Vec<Vec<Row>>, sets: &[Set]) -> Vec<Row> {
    // An id may occur in two folders: then the folder's name joins every id.
    let mut seen = HashSet::new();
    let own: Vec<HashSet<&str>> = parts.iter().map(|rows| rows.iter().map(|row| row.id.as_str()).collect()).collect();
    let clash = own.iter().flatten().any(|id| !seen.insert(*id));
    let mut taken = HashSet::new();
    let mut all = Vec::new();
    for (rows, set) in parts.into_iter().zip(sets) {
        for row in rows {
            let id = if clash { set.id_of(&row.id) } else { row.id.clone() };
            let id = fresh(&id, |id| taken.contains(id));
            taken.insert(id.clone());
            let split = row.split.clone().or_else(|| set.split.clone());
            let several = set.product && set.humans.files.len() > 1;
            let group = if several { Some(set.place.clone()) } else { row.group.clone() };
            all.push(Row { id, split, group, ..row });
        }
    }
    all
}

/// Returns the only folder in a folder that has a `pairs.csv`, as archives unpack, if the folder has no layout itself.
pub(super) fn listed_below(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut listed = entries.filter(|path| path.join("pairs.csv").is_file());
    let found = listed.next()?;
    listed.next().is_none().then_some(found)
}

/// Says that [`listed_below`] found a list.
pub(super) fn note_of_list(below: &Path) -> Note {
    Note::new(format!("the list is one folder further down: read `{}`", below.display()), false)
}

fn unknown(folder: &Path) -> Error {
    Error::NotFound {
        path: folder.into(),
        what: "pairs (expected `human/` and `article/`, `image/` and `cloth/`, files `<id>_1` and `<id>_5`, \
            `pairs.csv`, or tar files of `<key>.human.jpg` and `<key>.article.jpg`; human= and article= take two folders or \
            patterns of any name)",
    }
}

/// The sets in a folder and below it.
struct Search {
    sets: Vec<Set>,
    notes: Vec<Note>,
    /// Folders without a set.
    empty: usize,
}

impl Search {
    /// Looks into a folder: for a set, for its splits, for sets further down.
    fn look(&mut self, folder: &Path, place: &str, depth: usize) -> Result<()> {
        if let Some(set) = set_of(folder)? {
            self.sets.push(Set { place: place.into(), ..set });
            return Ok(());
        }
        let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
        let before = self.sets.len();
        let mut empty = Vec::new();
        for split in SPLITS {
            let part = folder.join(split);
            if !part.is_dir() {
                continue;
            }
            match set_of(&part)? {
                Some(set) if set.humans.files.is_empty() && set.articles.files.is_empty() => {
                    empty.push((split, "its folders have no pictures"));
                }
                Some(set) => self.sets.push(Set { place: below(split), split: Some(split.into()), ..set }),
                None if is_empty(&part) => empty.push((split, "it is empty")),
                None => empty.push((split, "it is of no known layout")),
            }
        }
        if self.sets.len() > before {
            for (split, what) in empty {
                self.notes.push(Note::new(format!("`{}` has no pairs: {what}", below(split)), true));
            }
            return Ok(());
        }
        self.empty += 1;
        if depth == DEEPEST || self.empty > MOST_EMPTY && self.sets.is_empty() {
            return Ok(());
        }
        for (name, child) in subfolders(folder) {
            // The fault of another folder must not hide a set.
            if let Err(error) = self.look(&child, &below(&name), depth + 1) {
                self.notes.push(Note::new(format!("passed over: {error}"), true));
            }
        }
        Ok(())
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Lists the folders in a folder, sorted.
fn subfolders(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A link to a folder above would never end.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && !name.starts_with('.') && !LITTER.contains(&name.as_str()) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    found
}

/// Reads the sides of a folder of one of the layouts.
fn set_of(folder: &Path) -> Result<Option<Set>> {
    let set = sides_of(folder)?;
    Ok(set.map(|set| Set { category: category_of(folder), ..set }))
}

fn sides_of(folder: &Path) -> Result<Option<Set>> {
    for [humans, articles] in FOLDERS {
        let [human, article] = [folder.join(humans), folder.join(articles)];
        match (human.is_dir(), article.is_dir()) {
            (true, true) => {}
            (true, false) if humans != "1" => return Err(missing(article)),
            (false, true) if humans == "human" => return Err(missing(human)),
            // `cloth`, `1` and `5` are common words: one alone is no layout.
            _ => continue,
        }
        let mut set = Set { folder: folder.into(), ..Set::default() };
        let mut side = |path: &Path| -> Result<Side> {
            let (files, passed) = pictures(path)?;
            set.passed.extend(passed);
            Ok(Side::new(files))
        };
        (set.humans, set.articles) = (side(&human)?, side(&article)?);
        let between: Vec<&str> = ["2", "3", "4"].into_iter().filter(|name| folder.join(name).is_dir()).collect();
        if humans == "1" && !between.is_empty() {
            let text = format!("`1` is read as humans and `5` as articles, `{}` not at all", between.join("`, `"));
            set.notes.push(Note::new(text, true));
        }
        return Ok(Some(set));
    }
    let together = folder.join(TOGETHER);
    let found = if together.is_dir() { in_one_folder(&together)? } else { None };
    match found {
        Some(set) => Ok(Some(Set { folder: folder.into(), ..set })),
        None => in_one_folder(folder),
    }
}

fn missing(path: PathBuf) -> Error {
    Error::NotFound { path, what: "folder, beside the other half of the pairs" }
}

/// Reads humans and articles that lie in one folder, told apart by the endings of their stems.
fn in_one_folder(folder: &Path) -> Result<Option<Set>> {
    // Most folders have no such file, and two pictures of one stem are no error there.
    let names = |suffix: &str| {
        let mut names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        names.any(|entry| entry.file_name().to_str().is_some_and(|name| super::names::stem(name).ends_with(suffix)))
    };
    let likely = SUFFIXES.iter().any(|[_, article]| names(article));
    if !likely {
        return Ok(None);
    }
    let (files, passed) = pictures(folder)?;
    for [human, article] in SUFFIXES {
        let side = |suffix: &str| -> BTreeMap<String, PathBuf> {
            let stems = files.iter().filter_map(|(stem, path)| {
                let id = stem.strip_suffix(suffix).filter(|id| !id.is_empty())?;
                Some((id.to_owned(), path.clone()))
            });
            stems.collect()
        };
        let (humans, articles) = (side(human), side(article));
        let both = humans.keys().filter(|id| articles.contains_key(*id)).count();
        // The endings also number any pictures. A person has few others.
        let enough = human == "_1_front" || 5 * both >= files.len();
        if both == 0 || !enough {
            continue;
        }
        let others = files.len() - humans.len() - articles.len();
        let mut set = Set { folder: folder.into(), passed, whole: true, ..Set::default() };
        set.product = human == "_1_front";
        let (mut humans, mut articles) = (humans, articles);
        if set.product {
            humans.retain(|id, _| articles.contains_key(id));
            articles.retain(|id, _| humans.contains_key(id));
        } else if others > 0 {
            let text = format!("{}: {others} pictures are neither `<id>{human}` nor `<id>{article}`", folder.display());
            // One name in all files numbers the pictures of anything.
            set.notes.push(Note::new(text, both == 1));
        }
        (set.humans, set.articles) = (Side::with_ending(humans, human), Side::with_ending(articles, article));
        return Ok(Some(set));
    }
    Ok(None)
}

/// Lists the pictures of a folder by stem, and the files that are none. A name with the ending of a picture is one.
pub(super) fn pictures(folder: &Path) -> Result<(BTreeMap<String, PathBuf>, Vec<PassedOver>)> {
    let mut found = BTreeMap::new();
    let mut passed = Vec::new();
    for entry in std::fs::read_dir(folder).at(folder)? {
        let entry = entry.at(folder)?;
        let path = entry.path();
        let full = entry.file_name();
        let text = full.to_string_lossy();
        if text.starts_with('.') || LITTER.contains(&&*text) {
            continue;
        }
        let mut pass = |reason: String, picture: bool| {
            passed.push(PassedOver { path: path.clone(), reason, picture });
        };
        let kind = entry.file_type().at(&path)?;
        // A link that points nowhere is a picture of its name: its drive may be mounted later.
        let kind =
            if kind.is_symlink() { std::fs::metadata(&path).map_or(kind, |there| there.file_type()) } else { kind };
        if kind.is_dir() {
            pass("a folder".into(), false);
            continue;
        }
        if !is_picture_name(&text) {
            let ending = text.rsplit_once('.').map_or("nothing".into(), |(_, ending)| format!("`.{ending}`"));
            pass(format!("its name ends in {ending}, expected .{}", ENDINGS.join(", .")), is_picture(&path));
            continue;
        }
        let Some(stem) = path.file_stem().and_then(|s| s.to_str()).filter(|_| full.to_str().is_some()) else {
            let text = "expected a file name in UTF-8, got another encoding";
            return Err(Error::content(&path, text));
        };
        if let Some(other) = found.insert(stem.to_owned(), path.clone()) {
            let (one, two) = (name(&other), name(&path));
            let text = format!("expected one picture for `{stem}`, got {one} and {two}");
            return Err(Error::content(folder, text));
        }
    }
    passed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((found, passed))
}

/// Whether a file begins as pictures do.
fn is_picture(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 12];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut start));
    matches!(
        (read, start),
        (
            Ok(4..),
            [0xff, 0xd8, 0xff, ..]
                | [0x89, b'P', b'N', b'G', ..]
                | [b'G', b'I', b'F', b'8', ..]
                | [b'B', b'M', ..]
                | [b'I', b'I', 42, 0, ..]
                | [b'M', b'M', 0, 42, ..]
                | [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P']
                | [_, _, _, _, b'f', b't', b'y', b'p', ..]
        )
    )
}

/// Pairs the two sides of a set, by its text files or by stems.
fn rows(set: &Set, notes: &mut Vec<Note>) -> Result<Vec<Row>> {
    match texts::of(set)? {
        Some(text) => text.rows(&set.folder, std::slice::from_ref(set), notes),
        None => Ok(by_stem(set, |_| true)),
    }
}

/// Lists two folders or the files of two patterns as `human` and `article`. See [`super::pattern`].
///
/// # Errors
/// [`Error::NotFound`] for a missing folder; [`Error::Content`] for a pattern without files, and for two pictures of
/// one name.
pub fn by_names(folder: &Path, human: &str, article: &str) -> Result<Found> {
    if !folder.is_dir() {
        return Err(Error::NotFound { path: folder.into(), what: "folder" });
    }
    let mut set = Set { folder: folder.into(), whole: true, ..Set::default() };
    let mut side = |given: &str| -> Result<Side> {
        if given.contains(['*', '?']) {
            return Ok(Side::new(super::pattern::matched(folder, given)?));
        }
        let path = folder.join(given);
        let path = match path.is_dir() {
            true => path,
            false => Finder::default().find_folder(&path).ok_or(Error::NotFound { path, what: "folder" })?,
        };
        let (files, passed) = pictures(&path)?;
        set.passed.extend(passed);
        Ok(Side::new(files))
    };
    let (humans, articles) = (side(human)?, side(article)?);
    if humans.files == articles.files {
        let got = format!("the same {} files for both", humans.files.len());
        return Err(Error::setting("article", "other pictures than the humans'", got));
    }
    (set.humans, set.articles) = (humans, articles);
    set.whole = false;
    let mut found = Found { rows: by_stem(&set, |_| true), ..Found::default() };
    let mut taken = HashSet::new();
    for row in &mut found.rows {
        row.id = fresh(&row.id, |id| taken.contains(id));
        taken.insert(row.id.clone());
    }
    found.passed_over = set.passed;
    Ok(found)
}
