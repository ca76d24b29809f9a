//! Atomic writes: a reader sees a whole file, the old one or the new one.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::lacking::{Guarantee, note};
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
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) && entry.path().is_file() {
            std::fs::remove_file(entry.path()).at(entry.path())?;
        }
    }
    Ok(())
}

/// Replaces a file at once: writes a temporary file in the same folder, syncs it and renames it.
///
/// An existing file keeps its permissions and its owner, a new one obeys the umask. A link stays a link, and the file
/// behind it is replaced. A pipe or a device takes the bytes. What the file system refuses of this, [`lacking`] tells.
///
/// # Errors
/// [`Error::Io`] with the path; the old file then stays.
///
/// [`lacking`]: super::lacking
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
    let old = std::fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file() && !old.is_dir()) {
        // A rename would put a file in the place of a pipe or a device.
        return write_into(path, bytes, false).at(path);
    }
    let target = followed(path);
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = unfinished(folder, old.as_ref()).at(path)?;
    file.as_file_mut().write_all(bytes).at(path)?;
    if let Some(old) = &old {
        keep_rights(file.as_file(), old, folder).at(path)?;
    }
    if sync == Sync::Disk {
        synced(file.as_file(), folder).at(path)?;
    }
    if let Err(refused) = file.persist(&target) {
        // A file that is mounted alone, as into a container, and some mounts of object stores.
        let alone = matches!(
            refused.error.kind(),
            ErrorKind::ResourceBusy | ErrorKind::Unsupported | ErrorKind::CrossesDevices
        );
        if !alone {
            return Err(Error::Io { path: path.into(), source: refused.error });
        }
        note(Guarantee::Renames, folder);
        write_into(&target, bytes, true).at(path)?;
    }
    // The rename itself must reach the disk too.
    if sync == Sync::Disk {
        match File::open(folder) {
            Ok(opened) => synced(&opened, folder).at(path)?,
            Err(_) => note(Guarantee::Syncs, folder),
        }
    }
    Ok(())
}

/// Makes a temporary file in a folder, which nobody can read who cannot read `old`.
fn unfinished(folder: &Path, old: Option<&Metadata>) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // tempfile's default is 0o600; of these bits the system takes the umask.
    #[cfg(unix)]
    builder.permissions(PermissionsExt::from_mode(old.map_or(0o666, |old| old.mode() & 0o666)));
    #[cfg(not(unix))]
    let _ = old;
    // The error of the system, by whose number Python picks an exception, is inside.
    builder.tempfile_in(folder).map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.source()?.downcast_ref::<std::io::Error>()?.raw_os_error());
        inner.map_or(error, std::io::Error::from_raw_os_error)
    })
}

/// Writes into what a path leads to, in place.
fn write_into(path: &Path, bytes: &[u8], truncate: bool) -> std::io::Result<()> {
    OpenOptions::new().write(true).create(truncate).truncate(truncate).open(path)?.write_all(bytes)
}

/// Resolves links, also those whose file is missing.
fn followed(path: &Path) -> PathBuf {
    /// The system's own limit.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if let Ok(whole) = std::fs::canonicalize(&path) {
            return whole;
        }
        match std::fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => break,
        }
    }
    path
}

/// Gives a file the owner and the permissions of the one that it replaces.
#[cfg(unix)]
fn keep_rights(file: &File, old: &Metadata, folder: &Path) -> std::io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let both = fchown(file, Some(old.uid()), Some(old.gid()));
        if both.is_err() {
            // The group alone is often allowed.
            let _ = fchown(file, None, Some(old.gid()));
            note(Guarantee::Owners, folder);
        }
    }
    // A change of the owner may have taken bits away.
    if file.metadata()?.mode() != old.mode() && file.set_permissions(old.permissions()).is_err() {
        note(Guarantee::Modes, folder);
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_rights(file: &File, old: &Metadata, folder: &Path) -> std::io::Result<()> {
    if file.set_permissions(old.permissions()).is_err() {
        note(Guarantee::Modes, folder);
    }
    Ok(())
}

/// Waits until the disk has a file or a folder. A file system that cannot sync is noted.
fn synced(file: &File, folder: &Path) -> std::io::Result<()> {
    /// The number of "bad file descriptor", as some answer for a folder.
    const EBADF: i32 = 9;
    let Err(error) = file.sync_all() else { return Ok(()) };
    let refused =
        matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied);
    if refused || error.raw_os_error() == Some(EBADF) {
        note(Guarantee::Syncs, folder);
        return Ok(());
    }
    Err(error)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

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
        // A link whose file is missing too, through a second one.
        std::fs::remove_file(&real).unwrap();
        let second = folder.path().join("second");
        symlink("link", &second).unwrap();
        write_atomically(&second, b"newer").unwrap();
        assert!(link.is_symlink() && second.is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"newer");
    }

    #[test]
    fn a_device_takes_the_bytes() {
        let device = Path::new("/dev/null");
        write_atomically(device, b"1").unwrap();
        assert!(!std::fs::metadata(device).unwrap().is_file());
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
