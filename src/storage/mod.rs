//! Files that are whole or not there: atomic writes, and tensors with a header as safetensors.

mod snapshot;
mod tensors;

use std::io::Write;
use std::path::{Path, PathBuf};

pub use snapshot::Snapshot;
pub use tensors::{CHECKSUM, Format, TensorFile, parse_tensors, read_tensors, write_tensors};

use crate::error::{AtPath, Error, Result};

/// What the names of files begin with that are not whole yet.
const UNFINISHED: &str = ".writing-";

/// Removes what a killed process left of [`write_atomically`] in a folder that nobody else writes to.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).at(folder)? {
        let entry = entry.at(folder)?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            std::fs::remove_file(entry.path()).at(entry.path())?;
        }
    }
    Ok(())
}

/// Writes a file so that a reader sees the old content or the new one, never a part: a temporary file in the same
/// folder, synced, then renamed.
///
/// # Errors
/// [`Error::Io`] with the path; the old file is then still there.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_renamed(path, bytes, true)
}

/// Writes a file that can be made again: whole or not there, as [`write_atomically`], but not synced, which takes
/// longer than drawing a picture. After a power cut the file may be empty.
///
/// # Errors
/// [`Error::Io`] with the path; the old file is then still there.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    write_renamed(path, bytes, false)
}

fn write_renamed(path: &Path, bytes: &[u8], sync: bool) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder).at(path)?;
    file.write_all(bytes).at(path)?;
    if sync {
        file.as_file().sync_all().at(path)?;
    }
    // A temporary file is private by default; a run folder's files are as readable as any other.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(permissions).at(path)?;
    }
    file.persist(path).map_err(|e| Error::Io { path: path.into(), source: e.error })?;
    // The rename itself must reach the disk too.
    if sync && let Ok(folder) = std::fs::File::open(folder) {
        folder.sync_all().at(path)?;
    }
    Ok(())
}

/// The `step_<number>.safetensors` files of a folder with their steps, oldest first; none where there is no such
/// folder.
///
/// # Errors
/// [`Error::Io`] with the folder.
pub fn numbered(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name
            .and_then(|name| name.strip_prefix("step_")?.strip_suffix(".safetensors"))
            .and_then(|step| step.parse().ok());
        if let Some(step) = step {
            found.push((path, step));
        }
    }
    found.sort_by_key(|(_, step)| *step);
    Ok(found)
}

/// The newest of [`numbered`].
///
/// # Errors
/// As [`numbered`].
pub fn latest(folder: &Path) -> Result<Option<(PathBuf, u64)>> {
    Ok(numbered(folder)?.pop())
}
