//! The files of a run that hold one JSON object a line, in the order of the steps.

use std::fs::{FileType, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{AtPath, Error, Result};
use crate::storage::write_atomically;

/// Appends a line, at once and whole. Makes the file if it is missing. A torn line before it stays apart.
///
/// # Errors
/// [`Error::Io`] with the path; the file is then unchanged.
pub fn append(path: &Path, line: &Map<String, Value>) -> Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).at(path)?;
    let length = file.metadata().at(path)?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).at(path)?;
    }
    let mut text = serde_json::to_string(line).expect("numbers and names") + "\n";
    if last != [b'\n'] {
        text.insert(0, '\n');
    }
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        // A full disk took a part of the line, which the next one would follow. Shortening needs no room.
        let _ = file.set_len(length);
    }
    written.at(path)
}

/// Keeps the whole lines of at most `step`, whatever else the file holds. Makes the file if it is missing.
///
/// # Errors
/// [`Error::Io`] with the path, and [`Error::Content`] for a pipe. A full disk is no error: shortening needs no room.
pub fn cut(path: &Path, step: u64) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).at(path)?;
    let kind = file.metadata().at(path)?.file_type();
    if !kind.is_file() {
        // What is written to a device is gone, and a pipe would keep its reader waiting.
        return match is_pipe(kind) {
            true => Err(Error::content(path, "expected a file of lines, got a pipe")),
            false => Ok(()),
        };
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).at(path)?;
    let kept = kept_lines(&bytes, step);
    if kept.len() == bytes.len() {
        return Ok(());
    }
    if !bytes.starts_with(&kept) && write_atomically(path, &kept).is_ok() {
        return Ok(());
    }
    // Readers pass over what is no line.
    let end = lines_of(&bytes).scan(0, |end, line| {
        *end += line.len();
        Some((line, *end))
    });
    let end = end.filter(|(line, _)| keeps(line, step)).last().map_or(0, |(_, end)| end);
    file.set_len(end as u64).at(path)
}

#[cfg(unix)]
fn is_pipe(kind: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_pipe(_: FileType) -> bool {
    false
}

/// Returns the step of the last whole line; `None` without one, and for a file that cannot be read.
pub fn last_step(path: &Path) -> Option<u64> {
    last_step_of(&path.is_file().then(|| std::fs::read(path).ok()).flatten()?)
}

/// Returns the step of the last whole line of a file's bytes; `None` without one.
///
/// ```
/// use cagan::training::last_step_of;
/// assert_eq!(last_step_of(b"{\"step\":2}\n{\"step\":4}\n{\"step\":6,\"torn"), Some(4));
/// ```
pub fn last_step_of(bytes: &[u8]) -> Option<u64> {
    bytes.split(|&byte| byte == b'\n').filter_map(step_of).next_back()
}

/// Returns the whole lines of at most `step`, whatever else a file's bytes hold.
///
/// ```
/// use cagan::training::kept_lines;
/// assert_eq!(kept_lines(b"{\"step\":2}\nno line\n{\"step\":4}\n", 3), b"{\"step\":2}\n");
/// ```
pub fn kept_lines(bytes: &[u8], step: u64) -> Vec<u8> {
    lines_of(bytes).filter(|line| keeps(line, step)).flatten().copied().collect()
}

fn lines_of(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n')
}

fn keeps(line: &[u8], step: u64) -> bool {
    line.ends_with(b"\n") && step_of(line).is_some_and(|of| of <= step)
}

fn step_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(line).ok()?["step"].as_u64()
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
    fn any_bytes_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let garbage: &[&[u8]] =
            &[b"", b"\0\xff\xfe", b"\n\n[1]\n", b"{\"step\":-1}\n", b"{\"step\":1e99}\n{", b"null\n7"];
        for (before, after) in garbage.iter().flat_map(|before| garbage.iter().map(move |after| (before, after))) {
            std::fs::write(&path, [before, &b"\n{\"step\":2}\n"[..], after, b"\n{\"step\":3}\n", before].concat())
                .unwrap();
            assert_eq!(last_step(&path), Some(3));
            append(&path, serde_json::json!({"step": 4}).as_object().unwrap()).unwrap();
            assert_eq!(last_step(&path), Some(4));
            cut(&path, 3).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":2}\n{\"step\":3}\n");
        }
    }

    #[test]
    fn numbers_keep_six_digits() {
        assert_eq!([0.123_456_78, -1_234_567.0, 0.0].map(rounded), [0.123_457, -1_234_570.0, 0.0]);
    }
}
