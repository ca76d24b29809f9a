//! Guarantees that a file system does not give. Work goes on without them, and the user hears of it once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What a file system may not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// One process alone holds a lock.
    Locks,
    /// A replaced file keeps its permissions.
    Modes,
    /// A replaced file keeps its owner.
    Owners,
    /// A file that is saved outlasts a power cut.
    Syncs,
    /// A file is replaced at once.
    Renames,
}

impl Guarantee {
    fn lack(self) -> &'static str {
        match self {
            Guarantee::Locks => "it has no locks, so nothing keeps a second process from training in the same folder",
            Guarantee::Modes => "it refuses permissions, so a replaced file has those of a new one",
            Guarantee::Owners => "it refuses another owner, so a replaced file belongs to this user",
            Guarantee::Syncs => "it cannot sync, so a power cut may lose the files written last",
            Guarantee::Renames => "it replaces no file at once, so a crash may tear the file that is being written",
        }
    }
}

/// The notes that nobody has taken yet, and the file systems of all notes.
struct Notes {
    waiting: Vec<(Guarantee, PathBuf)>,
    known: BTreeSet<(Guarantee, u64)>,
}

static NOTES: Mutex<Notes> = Mutex::new(Notes { waiting: Vec::new(), known: BTreeSet::new() });
/// Whether a note waits: asked after each computation.
static WAITS: AtomicBool = AtomicBool::new(false);

/// Notes that the file system of a folder lacks a guarantee, once for each file system.
pub fn note(guarantee: Guarantee, folder: &Path) {
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.known.insert((guarantee, file_system(folder))) {
        notes.waiting.push((guarantee, folder.into()));
        WAITS.store(true, Relaxed);
    }
}

#[cfg(unix)]
fn file_system(folder: &Path) -> u64 {
    std::fs::metadata(folder).map_or(0, |about| std::os::unix::fs::MetadataExt::dev(&about))
}

#[cfg(not(unix))]
fn file_system(_: &Path) -> u64 {
    0
}

/// Takes the notes as one warning; `None` if there is nothing new.
///
/// ```
/// assert_eq!(cagan::storage::lacking(), None);
/// ```
pub fn lacking() -> Option<String> {
    if !WAITS.swap(false, Relaxed) {
        return None;
    }
    let notes = std::mem::take(&mut NOTES.lock().unwrap_or_else(PoisonError::into_inner).waiting);
    let (_, folder) = notes.first()?;
    let lacks: Vec<&str> = notes.iter().map(|(guarantee, _)| guarantee.lack()).collect();
    Some(format!("{}: the file system gives less than others: {}", folder.display(), lacks.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_is_told_once() {
        let folder = Path::new("no such folder");
        note(Guarantee::Owners, folder);
        note(Guarantee::Owners, folder);
        note(Guarantee::Renames, folder);
        let text = lacking().unwrap();
        assert!(text.starts_with("no such folder: ") && text.matches("so a replaced file").count() == 1, "{text}");
        assert!(text.contains("a crash may tear"), "{text}");
        note(Guarantee::Owners, folder);
        assert_eq!(lacking(), None);
    }
}
