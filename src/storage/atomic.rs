//! Atomic writes: a reader sees a whole file, the old one or the new one.

use std::fs::{File, Permissions};
use std::io::Write;
use std::path::Path;

use crate::error::{AtPath, Error, Result};

/// The prefix of a file's name until it is whole.
const UNFINISHED: &str = ".writing-";

/// Removes the unfinished files that a killed process left in a folder. No other process may be writing there.
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

/// Replaces a file at once: writes a temporary file in the same folder, syncs it and renames it.
///
/// An existing file keeps its permissions, a new one obeys the umask. A link stays a link.
///
/// # Errors
/// [`Error::Io`] with the path; the old file then stays.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("list.csv");
/// for text in ["old", "new"] {
///     cagan::storage::write_atomically(&path, text.as_bytes()).unwrap();
///     assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
/// }
/// ```
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_renamed(path, bytes, Sync::Disk)
}

/// Writes as [`write_atomically`] does, but without syncing, which takes longer than drawing a picture. A power cut may
/// leave an empty file: only for files that can be made again.
///
/// # Errors
/// [`Error::Io`] with the path; the old file then stays.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    write_renamed(path, bytes, Sync::Never)
}

/// Whether a write waits for the disk.
#[derive(Clone, Copy, PartialEq)]
enum Sync {
    Disk,
    Never,
}

fn write_renamed(path: &Path, bytes: &[u8], sync: Sync) -> Result<()> {
    // The rename would replace a link by a file.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // tempfile's default is 0o600; of these bits the system takes the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).at(path)?;
    file.write_all(bytes).at(path)?;
    let old: Option<Permissions> = std::fs::metadata(&target).ok().map(|old| old.permissions());
    if let Some(old) = old {
        file.as_file().set_permissions(old).at(path)?;
    }
    if sync == Sync::Disk {
        file.as_file().sync_all().at(path)?;
    }
    file.persist(&target).map_err(|e| Error::Io { path: path.into(), source: e.error })?;
    // The rename itself must reach the disk too.
    if sync == Sync::Disk
        && let Ok(folder) = File::open(folder)
    {
        folder.sync_all().at(path)?;
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_obeys_the_umask_and_an_old_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let [plain, ours] = ["plain", "ours"].map(|name| folder.path().join(name));
        std::fs::write(&plain, b"1").unwrap();
        write_atomically(&ours, b"1").unwrap();
        assert_eq!(mode(&ours), mode(&plain));
        std::fs::set_permissions(&ours, Permissions::from_mode(0o640)).unwrap();
        write_unsynced(&ours, b"2").unwrap();
        assert_eq!((mode(&ours), std::fs::read(&ours).unwrap()), (0o640, b"2".to_vec()));
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [real, link] = ["real", "link"].map(|name| folder.path().join(name));
        std::fs::write(&real, b"old").unwrap();
        symlink(&real, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn leftovers_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".writing-abc", "kept"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        remove_leftovers(folder.path()).unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"]);
    }
}
