//! Files that are numbered by their step.

use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};

/// Lists the files `step_<number>.<ending>` of a folder with their steps, oldest first. A folder that does not exist has
/// none.
///
/// # Errors
/// [`crate::Error::Io`] with the folder.
pub fn numbered(folder: &Path, ending: &str) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name
            .and_then(|name| name.strip_prefix("step_")?.strip_suffix(ending)?.strip_suffix('.'))
            .and_then(|step| step.parse().ok());
        if let Some(step) = step {
            found.push((path, step));
        }
    }
    found.sort_by_key(|(_, step)| *step);
    Ok(found)
}

/// Returns the newest safetensors file of [`numbered`].
///
/// # Errors
/// As [`numbered`].
pub fn latest(folder: &Path) -> Result<Option<(PathBuf, u64)>> {
    Ok(numbered(folder, "safetensors")?.pop())
}
