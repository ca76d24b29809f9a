//! CSV text to cells and back (RFC 4180), with commas, semicolons or tabs between the cells. Reading is strict: a quote
//! that is never closed would swallow rows.

use std::borrow::Cow;

const BYTE_ORDER_MARK: char = '\u{feff}';
/// The characters that may stand between cells. Spreadsheets write semicolons where the comma is a decimal sign.
const DELIMITERS: [char; 3] = [',', ';', '\t'];

/// The cells of a CSV file, its byte order mark, its delimiter and its line ends: enough to write it back unchanged.
#[derive(Clone, Debug)]
pub struct Table {
    pub columns: Vec<String>,
    pub records: Vec<Record>,
    /// Which columns' names are quoted.
    quoted: Vec<bool>,
    /// Whether the file begins with a byte order mark, as spreadsheets write it.
    mark: bool,
    /// Whether lines end in CR LF.
    crlf: bool,
    delimiter: char,
    /// The line before the header that tells Excel the delimiter, with its end.
    told: String,
}

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The line that it begins at; a quoted cell may span lines.
    pub line: usize,
    /// One cell for each column.
    pub cells: Vec<String>,
    /// Which cells are quoted: their spaces count.
    pub quoted: Vec<bool>,
}

impl Record {
    /// Makes a row without quotes.
    pub fn new(line: usize, cells: Vec<String>) -> Record {
        Record { line, quoted: vec![false; cells.len()], cells }
    }

    /// Appends a cell.
    pub fn push(&mut self, cell: String, quoted: bool) {
        self.cells.push(cell);
        self.quoted.push(quoted);
    }
}

impl Table {
    /// Makes a table without rows.
    pub fn new(columns: &[&str]) -> Table {
        Table {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            records: Vec::new(),
            quoted: vec![false; columns.len()],
            mark: false,
            crlf: false,
            delimiter: DELIMITERS[0],
            told: String::new(),
        }
    }

    /// Parses a file. A row with fewer cells than columns is filled with empty ones; an empty line is skipped.
    ///
    /// # Errors
    /// The line and the reason: other bytes than UTF-8, broken quotes, or a row with more cells than columns.
    pub fn parse(bytes: &[u8]) -> Result<Table, String> {
        let (mut table, records) = Table::begun(bytes)?;
        table.records = records.collect::<Result<_, _>>()?;
        Ok(table)
    }

    /// Reads the header of a file. Returns the table without rows, and its rows one after the other.
    ///
    /// # Errors
    /// As [`Table::parse`], for the header.
    pub fn begun(bytes: &[u8]) -> Result<(Table, Records<'_>), String> {
        let text = utf8(bytes)?;
        let rest = text.trim_start_matches(BYTE_ORDER_MARK);
        let (told, delimiter) = told(rest).unwrap_or_else(|| ("", delimiter(rest)));
        let line = 1 + told.lines().count();
        let mut records = Records { rest: &rest[told.len()..], delimiter, line, columns: usize::MAX };
        let header = records.next().transpose()?.unwrap_or_default();
        records.columns = header.cells.len();
        let table = Table {
            columns: header.cells,
            records: Vec::new(),
            quoted: header.quoted,
            mark: rest.len() < text.len(),
            crlf: text.contains("\r\n"),
            delimiter,
            told: told.to_owned(),
        };
        Ok((table, records))
    }

    /// Names a column whose cells the rows have already.
    pub fn name_column(&mut self, name: &str) {
        self.columns.push(name.to_owned());
        self.quoted.push(false);
    }

    /// Appends an empty column.
    pub fn add_column(&mut self, name: &str) {
        self.name_column(name);
        self.records.iter_mut().for_each(|record| record.push(String::new(), false));
    }

    /// Writes the table with the byte order mark, the delimiter, the quotes and the line ends of the parsed file. Quotes
    /// a cell that would be read as another one without them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        if self.mark {
            text.push(BYTE_ORDER_MARK);
        }
        text.push_str(&self.told);
        let rows = self.records.iter().map(|record| (&record.cells, &record.quoted));
        for (cells, quoted) in std::iter::once((&self.columns, &self.quoted)).chain(rows) {
            for (place, (cell, quoted)) in cells.iter().zip(quoted).enumerate() {
                if place > 0 {
                    text.push(self.delimiter);
                }
                let special = cell.contains(['"', '\r', '\n', self.delimiter]);
                match *quoted || special || cells.len() == 1 && cell.is_empty() {
                    true => text.extend(["\"", &cell.replace('"', "\"\""), "\""]),
                    false => text.push_str(cell),
                }
            }
            text.push_str(if self.crlf { "\r\n" } else { "\n" });
        }
        text.into_bytes()
    }
}

/// Returns the text of a list's bytes.
///
/// # Errors
/// The line with other bytes than UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "line 1: expected UTF-8, got UTF-32".into(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "line 1: expected UTF-8, got UTF-16".into(),
        _ => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("line {line}: expected UTF-8, got other bytes")
        }
    })
}

/// Returns the line that tells Excel the delimiter, as `sep=;`, and the delimiter.
fn told(text: &str) -> Option<(&str, char)> {
    let line = text.split_inclusive('\n').next()?;
    let delimiter = line.trim_end_matches(['\r', '\n']).strip_prefix("sep=")?;
    DELIMITERS.into_iter().find(|known| delimiter == known.to_string()).map(|delimiter| (line, delimiter))
}

/// Returns the delimiter that gives the header the most cells; a comma among equals.
fn delimiter(text: &str) -> char {
    let header = text.trim_start_matches(['\r', '\n']);
    let cells = |delimiter: char| {
        let (mut rest, mut count) = (header, 1);
        while let Some((_, _, after)) = cell(rest, delimiter) {
            let Some(next) = after.strip_prefix(delimiter) else { break };
            (rest, count) = (next, count + 1);
        }
        count
    };
    // Of equal ones `max_by_key` takes the last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| cells(*delimiter)).expect("there are some")
}

/// The rows of a text, one after the other. A short one is filled with empty cells; an empty line is skipped.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a str,
    delimiter: char,
    line: usize,
    columns: usize,
}

impl<'a> Records<'a> {
    /// Reads the cells of one row and returns the line that it begins at; None at the end.
    fn row(&mut self, take: &mut dyn FnMut(Cow<'a, str>, bool)) -> Result<Option<usize>, String> {
        while !self.rest.is_empty() {
            let begun = self.line;
            let mut held = None;
            let mut count = 0;
            loop {
                let (value, quoted, after) = cell(self.rest, self.delimiter)
                    .ok_or_else(|| format!("line {}: expected a closing quote, got none", self.line))?;
                if quoted {
                    let text = &self.rest[..self.rest.len() - after.len()];
                    self.line += text.bytes().filter(|byte| *byte == b'\n').count();
                }
                count += 1;
                // Whether the line is empty shows at its end.
                match count {
                    1 => held = Some((value, quoted)),
                    _ => {
                        held.take().into_iter().for_each(|(value, quoted)| take(value, quoted));
                        take(value, quoted);
                    }
                }
                let mut characters = after.chars();
                match characters.next() {
                    Some(next) if next == self.delimiter => self.rest = characters.as_str(),
                    Some('\r' | '\n') => {
                        self.rest = after.strip_prefix("\r\n").unwrap_or(characters.as_str());
                        self.line += 1;
                        break;
                    }
                    None => {
                        self.rest = after;
                        break;
                    }
                    Some(other) => {
                        let (line, delimiter) = (self.line, self.delimiter);
                        return Err(format!(
                            "line {line}: expected `{delimiter}` after a closing quote, got `{other}`"
                        ));
                    }
                }
            }
            if count > self.columns {
                return Err(format!("line {begun}: expected {} cells, got {count}", self.columns));
            }
            if held.as_ref().is_some_and(|(value, _)| value.is_empty()) {
                continue;
            }
            held.into_iter().for_each(|(value, quoted)| take(value, quoted));
            return Ok(Some(begun));
        }
        Ok(None)
    }

    /// Reads all rows and keeps none.
    ///
    /// # Errors
    /// The line and the reason: broken quotes, or a row with more cells than columns.
    pub fn check(mut self) -> Result<(), String> {
        while self.row(&mut |_, _| {})?.is_some() {}
        Ok(())
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut record = Record::default();
        let line = self.row(&mut |cell, quoted| record.push(cell.into_owned(), quoted)).transpose()?;
        Some(line.map(|line| {
            record.line = line;
            if self.columns != usize::MAX {
                record.cells.resize_with(self.columns, String::new);
                record.quoted.resize(self.columns, false);
            }
            record
        }))
    }
}

/// Takes one cell off a text: its value and whether it is quoted. None for a quote that is never closed. Spaces around
/// quotes do not count.
fn cell(text: &str, delimiter: char) -> Option<(Cow<'_, str>, bool, &str)> {
    let Some(mut rest) = text.trim_start_matches(' ').strip_prefix('"') else {
        let end = text.find([delimiter, '\r', '\n']).unwrap_or(text.len());
        return Some((Cow::Borrowed(&text[..end]), false, &text[end..]));
    };
    let mut value = String::new();
    loop {
        let (inside, after) = rest.split_once('"')?;
        value += inside;
        match after.strip_prefix('"') {
            // Two quotes stand for one.
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return Some((Cow::Owned(value), true, after.trim_start_matches(' '))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<(usize, Vec<String>)> {
        let table = Table::parse(text.as_bytes()).unwrap();
        let header = (1, table.columns);
        std::iter::once(header).chain(table.records.into_iter().map(|r| (r.line, r.cells))).collect()
    }

    fn owned(rows: &[(usize, &[&str])]) -> Vec<(usize, Vec<String>)> {
        rows.iter().map(|(line, cells)| (*line, cells.iter().map(|cell| (*cell).to_owned()).collect())).collect()
    }

    #[test]
    fn cells_may_be_quoted_span_lines_and_be_missing_at_the_end() {
        let text = "a,b,c\r\n\"x,\"\"y\"\"\nz\",5\" heel, 3 \r\n\r\nlast, \"\" ";
        let expected = owned(&[(1, &["a", "b", "c"]), (2, &["x,\"y\"\nz", "5\" heel", " 3 "]), (5, &["last", "", ""])]);
        assert_eq!(cells(text), expected);
        assert_eq!(cells("a,b\r1,2\r"), owned(&[(1, &["a", "b"]), (2, &["1", "2"])]));
        assert_eq!(cells(""), owned(&[(1, &[])]));
    }

    #[test]
    fn a_table_is_written_as_it_came() {
        for text in [
            "a,b\n1,\n",
            "\u{feff}a,b\r\n\"1,2\",\"x\"\"y\"\r\n",
            "a,b\n\"two\nlines\", \n",
            "\"a\",b\n\"1\",\" 2\"\n",
            "a;b\n\"1;2\";3,4\n",
            "a\tb,c\n1\t2, 3\n",
        ] {
            assert_eq!(String::from_utf8(Table::parse(text.as_bytes()).unwrap().to_bytes()).unwrap(), text);
        }
        let mut table = Table::parse(b"a\n1\n").unwrap();
        table.add_column("b");
        table.records[0].cells[1] = "2".into();
        assert_eq!(table.to_bytes(), b"a,b\n1,2\n");
    }

    #[test]
    fn a_broken_file_fails_with_its_line() {
        let error = |bytes: &[u8]| Table::parse(bytes).unwrap_err();
        assert_eq!(error(b"a,b\n1,\"2\n3"), "line 2: expected a closing quote, got none");
        assert_eq!(error(b"a,b\n\"1\n\"2,3"), "line 3: expected `,` after a closing quote, got `2`");
        assert_eq!(error(b"a,b\n1\n1,2,3\n"), "line 3: expected 2 cells, got 3");
        assert_eq!(error(b"a,b\n1,\xff\n"), "line 2: expected UTF-8, got other bytes");
        assert_eq!(error(b"\xff\xfea\0"), "line 1: expected UTF-8, got UTF-16");
    }
}
