//! Parses `pairs.csv`, changes its cells, and writes it back.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::layouts;
use super::names::{Finder, Namer, stem};
use super::row::Row;
use super::sets::{Note, PassedOver};
use super::shards::{self, source_of};
use super::source::Source;
use super::table::{Record, Table};
use crate::error::{AtPath, Error, Named, Result};
use crate::storage::write_atomically;

/// The columns that every list has. A list without ids gets those of its files.
const REQUIRED: [&str; 3] = ["id", "human", "article"];
/// The columns that a list may have; all others are the user's own, and stay as they are.
const OPTIONAL: [&str; 5] = ["group", "split", "exclude", "reason", "reviewed"];
/// Characters of a header that an error shows.
const SHOWN: usize = 200;
/// Words that programs write into empty cells.
const EMPTY: [&str; 6] = ["nan", "NaN", "NaT", "None", "<NA>", "NULL"];

/// Whether a list exists.
///
/// # Errors
/// [`Error::Content`] for what has its name and is no file: a folder, a link to a file that is gone; [`Error::Io`] where
/// the system does not tell.
pub fn exists(csv: &Path) -> Result<bool> {
    let found = match std::fs::symlink_metadata(csv) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        found => found.at(csv)?,
    };
    let what = match std::fs::metadata(csv) {
        Ok(file) if file.is_file() => return Ok(true),
        Ok(folder) if folder.is_dir() => "a folder",
        Err(_) if found.is_symlink() => "a link to a file that does not exist",
        _ => "something else",
    };
    Err(Error::content(csv, format!("expected a list of pairs, got {what}")))
}

/// Reads a list as [`parse`] does, and hands on one row after the other.
///
/// # Errors
/// [`Error::Content`] with the file, the line and the reason; those of `take`.
pub(super) fn read(csv: &Path, take: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
    let bytes = std::fs::read(csv).at(csv)?;
    let folder = csv.parent().unwrap_or(Path::new(""));
    each(&bytes, folder, |message| Error::content(csv, message), take)
}

/// Parses `pairs.csv`: the columns human and article, and optionally id, group, split, exclude, reason and reviewed, in
/// any order, with any others beside them. Between cells stand commas, semicolons or tabs. Spaces around cells and names
/// do not count, unless they are quoted. Paths are relative to the folder; an empty cell of human or article is no
/// picture. A short row is filled with empty cells. Without ids the rows are named by their files.
///
/// ```
/// let rows = cagan::data::parse_csv(b"id,human,article\na,h/1.jpg,a/1.jpg\n", "shop".as_ref())?;
/// assert_eq!(rows[0].human.as_ref().unwrap().path(), Some("shop/h/1.jpg".as_ref()));
/// let error = cagan::data::parse_csv(b"id,human\n", "".as_ref()).unwrap_err();
/// assert_eq!(error, "line 1: expected the columns id, human, article, got id, human");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The line and the reason, without the file's name: a missing or repeated column, an empty or repeated id, an exclude
/// or reviewed that is neither yes nor no, a row with too many cells, broken quotes, other bytes than UTF-8.
pub fn parse(bytes: &[u8], folder: &Path) -> std::result::Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut take = |row| {
        rows.push(row);
        Ok(())
    };
    each(bytes, folder, |message| message, &mut take)?;
    Ok(rows)
}

/// Parses a list and hands on its rows. An error of the text comes before the first row.
fn each<E>(
    bytes: &[u8],
    folder: &Path,
    refuse: impl Fn(String) -> E,
    take: &mut dyn FnMut(Row) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let (Table { mut columns, .. }, records) = Table::begun(bytes).map_err(&refuse)?;
    records.clone().check().map_err(&refuse)?;
    known_columns(&mut columns).map_err(&refuse)?;
    let mut names = Names::new(&mut columns);
    let mut lines = Lines::default();
    for record in records {
        let mut record = record.map_err(&refuse)?;
        tidy(&mut record, &columns, folder);
        let row = (names.add(&mut record))
            .and_then(|()| row_of(&columns, &record, folder).map_err(|message| at(record.line, message)))
            .and_then(|row| lines.add(&row).map(|()| row));
        take(row.map_err(&refuse)?)?;
    }
    Ok(())
}

fn at(line: usize, message: String) -> String {
    format!("line {line}: {message}")
}

/// Trims the names and the cells of the columns that have a meaning, and checks that each is there as often as it must.
fn known(mut table: Table, folder: &Path) -> std::result::Result<Table, String> {
    known_columns(&mut table.columns)?;
    table.records.iter_mut().for_each(|record| tidy(record, &table.columns, folder));
    if !table.columns.iter().any(|column| column == "id") {
        let mut names = Names::new(&mut table.columns.clone());
        for record in &mut table.records {
            names.add(record)?;
        }
        table.name_column("id");
    }
    Ok(table)
}

/// Trims the cells of the columns that have a meaning.
fn tidy(record: &mut Record, columns: &[String], folder: &Path) {
    for (place, name) in columns.iter().enumerate().take(record.cells.len()) {
        match name.as_str() {
            "id" => {
                let whole = record.quoted[place] && !record.cells[place].trim().is_empty();
                keep(record, place, whole);
            }
            "human" | "article" => trim_path(record, place, folder),
            name if OPTIONAL.contains(&name) => keep(record, place, false),
            _ => {}
        }
    }
}

/// Trims the names of the columns that have a meaning.
fn known_columns(columns: &mut [String]) -> std::result::Result<(), String> {
    for place in 0..columns.len() {
        let name = columns[place].trim().to_owned();
        if !REQUIRED.contains(&name.as_str()) && !OPTIONAL.contains(&name.as_str()) {
            continue;
        }
        if columns[..place].contains(&name) {
            return Err(format!("line 1: expected each column once, got {name} twice"));
        }
        columns[place] = name;
    }
    let has = |name: &str| columns.iter().any(|column| column == name);
    if !has("human") || !has("article") {
        let got = if columns.is_empty() { "none".into() } else { columns.join(", ") };
        // A spreadsheet's own file, or an archive, has no lines.
        let got: String =
            if got.chars().count() > SHOWN { got.chars().take(SHOWN).chain(['…']).collect() } else { got };
        return Err(format!("line 1: expected the columns {}, got {got}", REQUIRED.join(", ")));
    }
    Ok(())
}

/// Keeps a cell as it is, and marks it for quotes, or trims it.
fn keep(record: &mut Record, place: usize, whole: bool) {
    let cell = &mut record.cells[place];
    let trimmed = cell.trim();
    if trimmed.len() == cell.len() {
        return;
    }
    match whole {
        true => record.quoted[place] = true,
        false => *cell = trimmed.to_owned(),
    }
}

/// Trims a path, but for a quoted one and for one that names a file only with its spaces.
fn trim_path(record: &mut Record, place: usize, folder: &Path) {
    let cell = &record.cells[place];
    let trimmed = cell.trim();
    if trimmed.len() == cell.len() {
        return;
    }
    let [is_trimmed, is_whole] = [trimmed, cell].map(|name| folder.join(name).is_file());
    let whole = match record.quoted[place] {
        true => is_whole || !is_trimmed,
        false => is_whole && !is_trimmed,
    };
    keep(record, place, whole && !trimmed.is_empty());
}

/// Names the rows of a list without ids: the stem of each row's file, with a number where it is taken.
struct Names {
    /// The columns of human and article; None for a list with ids.
    files: Option<[usize; 2]>,
    names: Namer,
    number: usize,
}

impl Names {
    /// Adds the column of ids, if it is missing.
    fn new(columns: &mut Vec<String>) -> Names {
        let of = |name: &str| columns.iter().position(|column| column == name).expect("the list has it");
        let files = (!columns.iter().any(|column| column == "id")).then(|| ["human", "article"].map(of));
        if files.is_some() {
            columns.push("id".into());
        }
        Names { files, names: Namer::default(), number: 0 }
    }

    /// Adds the name of the next row.
    fn add(&mut self, record: &mut Record) -> std::result::Result<(), String> {
        if let Some(files) = self.files {
            let file = files.into_iter().map(|place| stem(&record.cells[place])).find(|stem| !stem.is_empty());
            let id = self.names.fresh(file.unwrap_or(&self.number.to_string())).map_err(|error| error.to_string())?;
            record.push(id, false);
            self.number += 1;
        }
        Ok(())
    }
}

/// The lines of the ids so far.
#[derive(Default)]
struct Lines {
    ids: Namer,
    lines: Vec<usize>,
}

impl Lines {
    /// Takes the id of a row.
    fn add(&mut self, row: &Row) -> std::result::Result<(), String> {
        match self.ids.place(&row.id).map_err(|error| error.to_string())? {
            (_, true) => {
                self.lines.push(row.line);
                Ok(())
            }
            (place, false) => Err(at(row.line, format!("id: `{}` is also on line {}", row.id, self.lines[place]))),
        }
    }
}

/// Puts the files that lie under another spelling into the rows: with other separators, in another Unicode form, or in a
/// tar file.
fn find_files(rows: &mut [Row]) -> Result<()> {
    let mut finder = Finder::default();
    for source in rows.iter_mut().flat_map(|row| [&mut row.human, &mut row.article]).flatten() {
        let Source::File(path) = source else { continue };
        if path.is_file() {
            continue;
        }
        let found = match source_of(path.clone())? {
            Source::File(path) => finder.find(&path).map(Source::File),
            member => Some(member),
        };
        if let Some(found) = found {
            *source = found;
        }
    }
    Ok(())
}

fn rows_of(table: &Table, folder: &Path) -> std::result::Result<Vec<Row>, String> {
    let mut lines = Lines::default();
    let mut rows = Vec::with_capacity(table.records.len());
    for record in &table.records {
        let row = row_of(&table.columns, record, folder).map_err(|message| at(record.line, message))?;
        lines.add(&row)?;
        rows.push(row);
    }
    Ok(rows)
}

fn row_of(columns: &[String], record: &Record, folder: &Path) -> std::result::Result<Row, String> {
    let mut row = Row { line: record.line, ..Row::default() };
    for (column, cell) in columns.iter().zip(&record.cells) {
        let text = || (!cell.is_empty() && !EMPTY.contains(&cell.as_str())).then(|| cell.clone());
        let path = || text().map(|cell| Source::File(folder.join(cell)));
        match column.as_str() {
            "id" => row.id = cell.clone(),
            "human" => row.human = path(),
            "article" => row.article = path(),
            "group" => row.group = text(),
            "split" => row.split = text(),
            "exclude" => row.exclude = flag("exclude", cell)?,
            "reason" => row.reason = text().unwrap_or_default(),
            "reviewed" => row.reviewed = flag("reviewed", cell)?,
            _ => {}
        }
    }
    match row.id.is_empty() {
        true => Err("id: expected a name, got none".into()),
        false => Ok(row),
    }
}

/// Reads a yes or no of a list or a data frame. Programs write the number 1 as 1.0 beside empty cells.
///
/// ```
/// assert_eq!(cagan::data::read_flag("exclude", "1.0"), Ok(true));
/// assert!(cagan::data::read_flag("exclude", "maybe").unwrap_err().starts_with("exclude: expected 1, true"));
/// ```
///
/// # Errors
/// The column and the words that it takes.
pub fn flag(column: &str, cell: &str) -> std::result::Result<bool, String> {
    match cell.to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "yes" | "x" => Ok(true),
        "" | "0" | "0.0" | "false" | "no" => Ok(false),
        _ if EMPTY.contains(&cell) => Ok(false),
        _ => Err(format!("{column}: expected 1, true, yes, x, or 0, false, no, nothing, got `{cell}`")),
    }
}

/// The list of a folder's pairs, to be changed: `pairs.csv`, or the folder's pictures while that file does not exist.
#[derive(Debug)]
pub struct Listing {
    /// What the reading of the folder chose or left out.
    pub notes: Vec<Note>,
    /// Files of the folder that no layout takes.
    pub passed_over: Vec<PassedOver>,
    folder: PathBuf,
    path: PathBuf,
    table: Table,
    /// The table's rows, with their cells parsed.
    rows: Vec<Row>,
    /// The place of each id.
    places: HashMap<String, usize>,
    /// The file's bytes as they were read or written here.
    written: Option<Vec<u8>>,
    stamp: Option<Stamp>,
}

/// Time and size of the file. They change when another program writes it.
type Stamp = (SystemTime, u64);

impl Listing {
    /// Reads the list of a folder.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing folder, or one without `pairs.csv` and of no layout of [`layouts`];
    /// [`Error::Content`] as [`parse`], and for a folder without pairs.
    pub fn open(folder: &Path) -> Result<Listing> {
        Listing::open_at(folder, &folder.join("pairs.csv"), None)
    }

    /// Reads the list of a folder that is kept in another file: that file, or, while it does not exist, the folder's own
    /// list. `sides` are the folders or the patterns of the humans and of the articles, in place of a layout; a list that
    /// exists decides, and is told where it lacks their pairs.
    ///
    /// # Errors
    /// As [`Listing::open`].
    pub fn open_at(folder: &Path, path: &Path, sides: Option<&[String; 2]>) -> Result<Listing> {
        if !folder.is_dir() {
            return Err(Error::NotFound { path: folder.into(), what: "folder" });
        }
        let own = folder.join("pairs.csv");
        let parent = path.parent().unwrap_or(Path::new(""));
        let (mut stamp, mut written, mut left) = (None, None, layouts::Found::default());
        let named = sides.map(|[human, article]| layouts::by_names(folder, human, article)).transpose()?;
        let table = if exists(path)? {
            // Before the bytes: a write between the two must make the list stale.
            stamp = stamp_of(path);
            let bytes = std::fs::read(path).at(path)?;
            let table = Table::parse(&bytes).and_then(|table| known(table, parent));
            written = Some(bytes);
            table.map_err(|message| Error::content(path, message))?
        } else if let Some(named) = &named {
            table_of(&named.rows, parent)?
        } else if exists(&own)? {
            let bytes = std::fs::read(&own).at(&own)?;
            let table = Table::parse(&bytes).and_then(|table| known(table, folder));
            moved(table.map_err(|message| Error::content(&own, message))?, folder, parent)?
        } else {
            let mut found = layouts::list(folder);
            let is_none = matches!(found, Err(Error::NotFound { .. }));
            if is_none && let Some(shards) = shards::found(folder)? {
                let mut rows = Vec::new();
                let mut take = |row| {
                    rows.push(row);
                    Ok(())
                };
                let notes = shards::read(&shards, &mut take)?;
                found = Ok(layouts::Found { rows, notes, ..layouts::Found::default() });
            } else if is_none && let Some(below) = layouts::listed_below(folder) {
                let path = if path == own { below.join("pairs.csv") } else { path.to_owned() };
                let mut listing = Listing::open_at(&below, &path, None)?;
                listing.notes.push(layouts::note_of_list(&below));
                return Ok(listing);
            }
            left = found?;
            table_of(&left.rows, parent)?
        };
        let mut rows = rows_of(&table, parent).map_err(|message| Error::content(path, message))?;
        if rows.is_empty() {
            return Err(Error::content(folder, "expected pairs, got none"));
        }
        find_files(&mut rows)?;
        let places = places_of(&rows);
        if let Some(named) = named {
            left = named;
            let listed: HashSet<[Option<PathBuf>; 2]> = rows.iter().map(files_of).collect();
            let unlisted = left.rows.iter().filter(|row| !listed.contains(&files_of(row))).count();
            if written.is_some() && unlisted > 0 {
                let text = format!("`{}` decides: it lacks {unlisted} of the given pairs", path.display());
                left.notes.push(Note::new(text, true));
            }
        }
        let layouts::Found { notes, passed_over, .. } = left;
        Ok(Listing {
            notes,
            passed_over,
            folder: parent.into(),
            path: path.into(),
            table,
            rows,
            places,
            written,
            stamp,
        })
    }

    /// The folder of the list, to which its paths are relative.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file, whether it exists yet or not.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.table.columns
    }

    /// The texts of a row, one for each column.
    pub fn cells(&self, row: usize) -> &[String] {
        &self.table.records[row].cells
    }

    /// Returns the place of the row with that id.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest id.
    pub fn find(&self, id: &str) -> Result<usize> {
        let place = self.places.get(id).copied();
        place.ok_or_else(|| Error::unknown(Named::Id, id, self.rows.iter().map(|row| row.id.as_str())))
    }

    /// Lists the groups of two rows or more by name, in the order of their first rows.
    pub fn groups(&self) -> Vec<(&str, Vec<usize>)> {
        let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (place, row) in self.rows.iter().enumerate() {
            let Some(name) = row.group.as_deref() else { continue };
            let group = *places.entry(name).or_insert_with(|| {
                groups.push((name, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(place);
        }
        groups.retain(|(_, rows)| rows.len() > 1);
        groups
    }

    /// Appends the columns that are missing.
    pub fn add_columns(&mut self, names: &[&str]) {
        for name in names {
            if !self.table.columns.iter().any(|column| column == name) {
                self.table.add_column(name);
            }
        }
    }

    /// Changes a cell, in a new column where that column is missing.
    ///
    /// # Errors
    /// [`Error::Content`] for a text that the column does not take; the old one then stays.
    pub fn set(&mut self, row: usize, column: &str, text: &str) -> Result<()> {
        self.add_columns(&[column]);
        let Table { columns, records, .. } = &mut self.table;
        let place = columns.iter().position(|name| name == column).expect("the column was added");
        let Record { cells, quoted, .. } = &mut records[row];
        if cells[place] == text {
            return Ok(());
        }
        let old = (std::mem::replace(&mut cells[place], text.to_owned()), quoted[place]);
        quoted[place] = text.trim() != text;
        let clash = column == "id" && self.places.contains_key(text);
        let parsed = match clash {
            true => Err(format!("id: `{text}` is also another row's")),
            false => row_of(columns, &records[row], &self.folder),
        };
        match parsed {
            Ok(parsed) => {
                let old = std::mem::replace(&mut self.rows[row], parsed);
                match column {
                    "human" | "article" => find_files(&mut self.rows[row..=row])?,
                    _ => (self.rows[row].human, self.rows[row].article) = (old.human, old.article),
                }
                if column == "id" {
                    self.places = places_of(&self.rows);
                }
                Ok(())
            }
            Err(message) => {
                let Record { cells, quoted, .. } = &mut self.table.records[row];
                (cells[place], quoted[place]) = old;
                Err(Error::content(&self.path, message))
            }
        }
    }

    /// Whether another program wrote the file since it was read or written here.
    pub fn is_stale(&self) -> bool {
        stamp_of(&self.path) != self.stamp
    }

    /// Writes the file atomically. A file that would not change is left alone.
    ///
    /// # Errors
    /// [`Error::Io`] with the path; the old file then stays.
    pub fn write(&mut self) -> Result<()> {
        let bytes = self.table.to_bytes();
        if self.written.as_ref() != Some(&bytes) {
            write_atomically(&self.path, &bytes)?;
            self.written = Some(bytes);
        }
        self.stamp = stamp_of(&self.path);
        Ok(())
    }
}

/// The files of a row, however they are spelt.
fn files_of(row: &Row) -> [Option<PathBuf>; 2] {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    [&row.human, &row.article].map(|source| source.as_ref().and_then(Source::address).map(real))
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn places_of(rows: &[Row]) -> HashMap<String, usize> {
    rows.iter().enumerate().map(|(place, row)| (row.id.clone(), place)).collect()
}

/// A path as a list in a folder names it: relative to the folder if it lies in it, else whole.
fn named(path: &Path, folder: &Path) -> Result<String> {
    let whole = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = match path.strip_prefix(folder) {
        Ok(inside) => inside.to_owned(),
        Err(_) => {
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            whole().strip_prefix(&folder).map_or_else(|_| whole(), Path::to_owned)
        }
    };
    match name.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(Error::content(folder, format!("expected printable names, got {name:?}"))),
    }
}

/// Names the files of a list in `from` as a list in `to` does.
fn moved(mut table: Table, from: &Path, to: &Path) -> Result<Table> {
    let paths: Vec<usize> = (0..table.columns.len())
        .filter(|&place| ["human", "article"].contains(&table.columns[place].as_str()))
        .collect();
    let mut finder = Finder::default();
    for record in &mut table.records {
        for &place in &paths {
            let cell = &mut record.cells[place];
            if !cell.is_empty() && !EMPTY.contains(&cell.as_str()) {
                let path = from.join(&*cell);
                let is_there = path.is_file() || matches!(source_of(path.clone())?, Source::Member(..));
                let found = if is_there { None } else { finder.find(&path) };
                *cell = named(&found.unwrap_or(path), to)?;
            }
        }
    }
    Ok(table)
}

/// The rows of a folder as the table of a list in `folder`.
fn table_of(rows: &[Row], folder: &Path) -> Result<Table> {
    type Cell = fn(&Row) -> &Option<String>;
    let names: Vec<&str> = REQUIRED.into_iter().collect();
    let mut table = Table::new(&names);
    let kept: [(&str, Cell); 2] = [("group", |row| &row.group), ("split", |row| &row.split)];
    let kept: Vec<_> = kept.into_iter().filter(|(_, value)| rows.iter().any(|row| value(row).is_some())).collect();
    kept.iter().for_each(|(name, _)| table.add_column(name));
    for row in rows {
        let path = |source: &Option<Source>| {
            let path = source.as_ref().and_then(Source::address);
            path.map_or(Ok(String::new()), |path| named(path, folder))
        };
        let mut cells = vec![row.id.clone(), path(&row.human)?, path(&row.article)?];
        if row.id.chars().any(char::is_control) {
            return Err(Error::content(folder, format!("expected printable names, got {:?}", row.id)));
        }
        cells.extend(kept.iter().map(|(_, value)| value(row).clone().unwrap_or_default()));
        let mut record = Record::new(0, cells);
        for place in 0..record.cells.len() {
            record.quoted[place] = record.cells[place].trim() != record.cells[place];
        }
        table.records.push(record);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_in_any_order_with_others_beside_them() {
        let text = "\u{feff}split, note,article,human , id,exclude,reason,group,reviewed\n\
            train,\"two\nlines\",a.png, h.png ,one,,,anna,\n\
            ,,a.png,,two,YES,no_human; other,,x\n\
            ,,,,three\n";
        let rows = parse(text.as_bytes(), Path::new("f")).unwrap();
        let first = Row {
            id: "one".into(),
            human: Some(Source::File("f/h.png".into())),
            article: Some(Source::File("f/a.png".into())),
            group: Some("anna".into()),
            split: Some("train".into()),
            line: 2,
            ..Row::default()
        };
        assert_eq!(rows[0], first);
        assert_eq!((rows[1].human.clone(), rows[1].line), (None, 4));
        assert!(rows[1].exclude && rows[1].reviewed);
        assert_eq!(rows[1].reasons().collect::<Vec<_>>(), ["no_human", "other"]);
        assert_eq!(rows[2], Row { id: "three".into(), line: 5, ..Row::default() });
    }

    #[test]
    fn a_broken_list_fails_with_its_line() {
        let error = |text: &str| parse(text.as_bytes(), Path::new("")).unwrap_err();
        let head = "id,human,article,exclude,reviewed\n";
        insta::assert_snapshot!(
            [
                error(""),
                error("id;human\n"),
                error("id,human,article, id\n"),
                error(&format!("{head}a,h,a,maybe,\n")),
                error(&format!("{head}a,h,a,,2\n")),
                error(&format!("{head}a,h,a,\na,h,a,\n")),
                error(&format!("{head} ,h,a,\n")),
                error(&format!("{head}a,h,a,,,,\n")),
                error(&format!("{head}a,\"h,a\n")),
            ]
            .join("\n"),
            @r"
        line 1: expected the columns id, human, article, got none
        line 1: expected the columns id, human, article, got id, human
        line 1: expected each column once, got id twice
        line 2: exclude: expected 1, true, yes, x, or 0, false, no, nothing, got `maybe`
        line 2: reviewed: expected 1, true, yes, x, or 0, false, no, nothing, got `2`
        line 3: id: `a` is also on line 2
        line 2: id: expected a name, got none
        line 2: expected 5 cells, got 7
        line 2: expected a closing quote, got none
        "
        );
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (side, name) in [("human", "a"), ("human", "b"), ("article", "a")] {
            std::fs::create_dir_all(folder.path().join(side)).unwrap();
            std::fs::write(folder.path().join(side).join(format!("{name}.png")), name).unwrap();
        }
        folder
    }

    fn text(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("pairs.csv")).unwrap()
    }

    #[test]
    fn a_folder_becomes_a_list_and_cells_change_in_place() {
        let folder = folder();
        let mut listing = Listing::open(folder.path()).unwrap();
        assert!(!listing.path().exists() && !listing.is_stale());
        listing.set(1, "exclude", "1").unwrap();
        assert!(listing.rows()[1].exclude);
        assert!(listing.set(0, "exclude", "maybe").unwrap_err().to_string().contains("exclude: expected 1"));
        listing.write().unwrap();
        let expected = "id,human,article,exclude\na,human/a.png,article/a.png,\nb,human/b.png,,1\n";
        assert_eq!(text(folder.path()), expected);
        // Own columns, the byte order mark and line ends stay.
        let own = "\u{feff}note,id,human,article\r\n\" x,y \",a,h,b\r\n";
        std::fs::write(listing.path(), own).unwrap();
        assert!(listing.is_stale());
        let mut listing = Listing::open(folder.path()).unwrap();
        listing.write().unwrap();
        assert_eq!(text(folder.path()), own);
        listing.set(listing.find("a").unwrap(), "group", "g").unwrap();
        listing.write().unwrap();
        assert!(!listing.is_stale());
        assert_eq!(text(folder.path()), own.replace("article\r", "article,group\r").replace("h,b", "h,b,g"));
    }
}
