//! The files of a run that hold one JSON object a line, in the order of the steps.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{AtPath, Result};

/// Appends a line, at once and whole. Makes the file if it is missing.
///
/// # Errors
/// [`crate::Error::Io`] with the path; the file is then unchanged.
pub fn append(path: &Path, line: &Map<String, Value>) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path).at(path)?;
    let length = file.metadata().at(path)?.len();
    let text = serde_json::to_string(line).expect("numbers and names") + "\n";
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        // A full disk took a part of the line, which the next one would follow. Shortening needs no room.
        let _ = file.set_len(length);
    }
    written.at(path)
}

/// Cuts the file after its last whole line of at most `step`. Makes the file if it is missing.
///
/// # Errors
/// [`crate::Error::Io`] with the path. A full disk is no error: shortening needs no room.
pub fn cut(path: &Path, step: u64) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).at(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).at(path)?;
    let keeps = |line: &[u8]| {
        let line: Option<Value> = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        line.and_then(|line| line["step"].as_u64()).is_some_and(|of| of <= step)
    };
    let (mut end, mut kept) = (0, 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        if keeps(line) {
            kept = end;
        }
    }
    if kept < bytes.len() {
        file.set_len(kept as u64).at(path)?;
    }
    Ok(())
}

/// Rounds to six significant digits: a float32 holds no more.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().expect("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_and_torn_lines_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        cut(&path, 0).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        for step in [2, 4, 6] {
            append(&path, serde_json::json!({"step": step}).as_object().unwrap()).unwrap();
        }
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"step\":4,\"torn").unwrap();
        for (step, lines) in [(6, 3), (5, 2), (4, 2), (1, 0)] {
            cut(&path, step).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text, "{\"step\":2}\n{\"step\":4}\n{\"step\":6}\n"[..11 * lines]);
        }
    }

    #[test]
    fn numbers_keep_six_digits() {
        assert_eq!([0.123_456_78, -1_234_567.0, 0.0].map(rounded), [0.123_457, -1_234_570.0, 0.0]);
    }
}
