//! CSV text to cells and back (RFC 4180). Reading is strict: a quote that is never closed would swallow rows.

use csv::{Terminator, WriterBuilder};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The cells of a CSV file, its byte order mark and its line ends: enough to write it back unchanged.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub columns: Vec<String>,
    pub records: Vec<Record>,
    /// Whether the file begins with a byte order mark, as spreadsheets write it.
    mark: bool,
    /// Whether lines end in CR LF.
    crlf: bool,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Record {
    /// The line that it begins at; a quoted cell may span lines.
    pub line: usize,
    /// One cell for each column.
    pub cells: Vec<String>,
}

impl Table {
    /// Makes a table without rows.
    pub fn new(columns: &[&str]) -> Table {
        Table { columns: columns.iter().map(|name| (*name).to_owned()).collect(), ..Table::default() }
    }

    /// Parses a file. A row with fewer cells than columns is filled with empty ones; an empty line is skipped.
    ///
    /// # Errors
    /// The line and the reason: other bytes than UTF-8, broken quotes, or a row with more cells than columns.
    pub fn parse(bytes: &[u8]) -> Result<Table, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("line {line}: expected UTF-8, got other bytes")
        })?;
        let rest = text.strip_prefix(BYTE_ORDER_MARK);
        let mut records = records(rest.unwrap_or(text))?.into_iter();
        let columns = records.next().map(|header| header.cells).unwrap_or_default();
        let mut table = Table { columns, records: Vec::new(), mark: rest.is_some(), crlf: text.contains("\r\n") };
        for mut record in records {
            let (expected, got) = (table.columns.len(), record.cells.len());
            if got > expected {
                return Err(format!("line {}: expected {expected} cells, got {got}", record.line));
            }
            record.cells.resize_with(expected, String::new);
            table.records.push(record);
        }
        Ok(table)
    }

    /// Appends an empty column.
    pub fn add_column(&mut self, name: &str) {
        self.columns.push(name.to_owned());
        self.records.iter_mut().for_each(|record| record.cells.push(String::new()));
    }

    /// Writes the table with the byte order mark and the line ends of the parsed file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = if self.mark { BYTE_ORDER_MARK.as_bytes().to_vec() } else { Vec::new() };
        let terminator = if self.crlf { Terminator::CRLF } else { Terminator::Any(b'\n') };
        let mut writer = WriterBuilder::new().terminator(terminator).from_writer(&mut bytes);
        for cells in std::iter::once(&self.columns).chain(self.records.iter().map(|record| &record.cells)) {
            writer.write_record(cells).expect("memory takes rows of one length");
        }
        writer.flush().expect("memory takes all");
        drop(writer);
        bytes
    }
}

/// Splits a text into rows; the header is one of them.
fn records(text: &str) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let mut record = Record { line, cells: Vec::new() };
        loop {
            let (value, after) =
                cell(rest).ok_or_else(|| format!("line {line}: expected a closing quote, got none"))?;
            line += rest[..rest.len() - after.len()].matches('\n').count();
            record.cells.push(value);
            let mut characters = after.chars();
            match characters.next() {
                Some(',') => rest = characters.as_str(),
                Some('\r' | '\n') => {
                    rest = after.strip_prefix("\r\n").unwrap_or(characters.as_str());
                    line += 1;
                    break;
                }
                None => {
                    rest = after;
                    break;
                }
                Some(other) => return Err(format!("line {line}: expected `,` after a closing quote, got `{other}`")),
            }
        }
        if record.cells != [""] {
            records.push(record);
        }
    }
    Ok(records)
}

/// Takes one cell off a text; None for a quote that is never closed.
fn cell(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\r', '\n']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
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
            None => return Some((value, after)),
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
        let text = "a,b,c\r\n\"x,\"\"y\"\"\nz\",5\" heel, 3 \r\n\r\nlast,\"\"";
        let expected = owned(&[(1, &["a", "b", "c"]), (2, &["x,\"y\"\nz", "5\" heel", " 3 "]), (5, &["last", "", ""])]);
        assert_eq!(cells(text), expected);
        assert_eq!(cells("a,b\r1,2\r"), owned(&[(1, &["a", "b"]), (2, &["1", "2"])]));
        assert_eq!(cells(""), owned(&[(1, &[])]));
    }

    #[test]
    fn a_table_is_written_as_it_came() {
        for text in ["a,b\n1,\n", "\u{feff}a,b\r\n\"1,2\",\"x\"\"y\"\r\n", "a,b\n\"two\nlines\", \n"] {
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
    }
}
