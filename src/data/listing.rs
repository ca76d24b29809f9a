//! Parses `pairs.csv`, changes its cells, and writes it back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::layouts;
use super::row::Row;
use super::table::{Record, Table};
use crate::error::{AtPath, Error, Named, Result};
use crate::storage::write_atomically;

/// The columns that every list has.
const REQUIRED: [&str; 3] = ["id", "human", "article"];
/// The columns that a list may have; all others are the user's own, and stay as they are.
const OPTIONAL: [&str; 5] = ["group", "split", "exclude", "reason", "reviewed"];

/// Reads a list as [`parse`] does.
///
/// # Errors
/// [`Error::Content`] with the file, the line and the reason.
pub fn read(csv: &Path) -> Result<Vec<Row>> {
    let bytes = std::fs::read(csv).at(csv)?;
    let folder = csv.parent().unwrap_or(Path::new(""));
    parse(&bytes, folder).map_err(|message| Error::content(csv, message))
}

/// Parses `pairs.csv`: the columns id, human and article, and optionally group, split, exclude, reason and reviewed, in
/// any order, with any others beside them. Spaces around their cells and names do not count. Paths are relative to the
/// folder; an empty cell of human or article is no picture. A short row is filled with empty cells.
///
/// ```
/// let rows = cagan::data::parse_csv(b"id,human,article\na,h/1.jpg,a/1.jpg\n", "shop".as_ref())?;
/// assert_eq!(rows[0].human.as_deref(), Some("shop/h/1.jpg".as_ref()));
/// let error = cagan::data::parse_csv(b"id,human\n", "".as_ref()).unwrap_err();
/// assert_eq!(error, "line 1: expected the columns id, human, article, got id, human");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The line and the reason, without the file's name: a missing or repeated column, an empty or repeated id, an exclude
/// or reviewed that is neither yes nor no, a row with too many cells, broken quotes, other bytes than UTF-8.
pub fn parse(bytes: &[u8], folder: &Path) -> std::result::Result<Vec<Row>, String> {
    rows_of(&known(Table::parse(bytes)?)?, folder)
}

/// Trims the names and the cells of the columns that have a meaning, and checks that each is there as often as it must.
fn known(mut table: Table) -> std::result::Result<Table, String> {
    for place in 0..table.columns.len() {
        let name = table.columns[place].trim().to_owned();
        if !REQUIRED.contains(&name.as_str()) && !OPTIONAL.contains(&name.as_str()) {
            continue;
        }
        if table.columns[..place].contains(&name) {
            return Err(format!("line 1: expected each column once, got {name} twice"));
        }
        table.columns[place] = name;
        for Record { cells, .. } in &mut table.records {
            cells[place] = cells[place].trim().to_owned();
        }
    }
    if REQUIRED.iter().any(|name| !table.columns.iter().any(|column| column == name)) {
        let got = if table.columns.is_empty() { "none".into() } else { table.columns.join(", ") };
        return Err(format!("line 1: expected the columns {}, got {got}", REQUIRED.join(", ")));
    }
    Ok(table)
}

fn rows_of(table: &Table, folder: &Path) -> std::result::Result<Vec<Row>, String> {
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::with_capacity(table.records.len());
    for record in &table.records {
        let at = |message: String| format!("line {}: {message}", record.line);
        let row = row_of(&table.columns, record, folder).map_err(at)?;
        if let Some(line) = lines.insert(row.id.clone(), record.line) {
            return Err(at(format!("id: `{}` is also on line {line}", row.id)));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn row_of(columns: &[String], record: &Record, folder: &Path) -> std::result::Result<Row, String> {
    let mut row = Row { line: record.line, ..Row::default() };
    for (column, cell) in columns.iter().zip(&record.cells) {
        let text = || (!cell.is_empty()).then(|| cell.clone());
        let path = || text().map(|cell| folder.join(cell));
        match column.as_str() {
            "id" => row.id = cell.clone(),
            "human" => row.human = path(),
            "article" => row.article = path(),
            "group" => row.group = text(),
            "split" => row.split = text(),
            "exclude" => row.exclude = flag("exclude", cell)?,
            "reason" => row.reason = cell.clone(),
            "reviewed" => row.reviewed = flag("reviewed", cell)?,
            _ => {}
        }
    }
    match row.id.is_empty() {
        true => Err("id: expected a name, got none".into()),
        false => Ok(row),
    }
}

fn flag(column: &str, cell: &str) -> std::result::Result<bool, String> {
    match cell.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "x" => Ok(true),
        "" | "0" | "false" | "no" => Ok(false),
        _ => Err(format!("{column}: expected 1, true, yes, x, or 0, false, no, nothing, got `{cell}`")),
    }
}

/// The list of a folder's pairs, to be changed: `pairs.csv`, or the folder's pictures while that file does not exist.
#[derive(Debug)]
pub struct Listing {
    folder: PathBuf,
    path: PathBuf,
    table: Table,
    /// The table's rows, with their cells parsed.
    rows: Vec<Row>,
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
        if !folder.is_dir() {
            return Err(Error::NotFound { path: folder.into(), what: "folder" });
        }
        let path = folder.join("pairs.csv");
        let (mut stamp, mut written) = (None, None);
        let table = if path.is_file() {
            // Before the bytes: a write between the two must make the list stale.
            stamp = stamp_of(&path);
            let bytes = std::fs::read(&path).at(&path)?;
            let table = Table::parse(&bytes).and_then(known).map_err(|message| Error::content(&path, message))?;
            written = Some(bytes);
            table
        } else {
            table_of(&layouts::list(folder)?, folder)?
        };
        let rows = rows_of(&table, folder).map_err(|message| Error::content(&path, message))?;
        if rows.is_empty() {
            return Err(Error::content(folder, "expected pairs, got none"));
        }
        Ok(Listing { folder: folder.into(), path, table, rows, written, stamp })
    }

    /// The folder of the pairs.
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
        let place = self.rows.iter().position(|row| row.id == id);
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
        let old = std::mem::replace(&mut records[row].cells[place], text.to_owned());
        match row_of(columns, &records[row], &self.folder) {
            Ok(parsed) => {
                self.rows[row] = parsed;
                Ok(())
            }
            Err(message) => {
                records[row].cells[place] = old;
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

fn stamp_of(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// The rows of a folder as a table with paths relative to the folder.
fn table_of(rows: &[Row], folder: &Path) -> Result<Table> {
    let mut table = Table::new(&REQUIRED);
    let has_splits = rows.iter().any(|row| row.split.is_some());
    for row in rows {
        let relative = |path: &Option<PathBuf>| {
            let path = path.as_deref().map(|path| path.strip_prefix(folder).unwrap_or(path));
            path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let cells = vec![row.id.clone(), relative(&row.human), relative(&row.article)];
        if let Some(name) = cells.iter().find(|cell| cell.chars().any(char::is_control)) {
            return Err(Error::content(folder, format!("expected printable names, got {name:?}")));
        }
        table.records.push(Record { line: 0, cells });
    }
    if has_splits {
        table.add_column("split");
        for (record, row) in table.records.iter_mut().zip(rows) {
            record.cells[REQUIRED.len()] = row.split.clone().unwrap_or_default();
        }
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
            human: Some("f/h.png".into()),
            article: Some("f/a.png".into()),
            group: Some("anna".into()),
            split: Some("train".into()),
            line: 2,
            ..Row::default()
        };
        assert_eq!(rows[0], first);
        assert_eq!((rows[1].human.as_deref(), rows[1].line), (None, 4));
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
                error("id;human;article\n"),
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
        line 1: expected the columns id, human, article, got id;human;article
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
