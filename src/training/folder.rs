//! A run's folder.
//!
//! ```text
//! run_dir/config.json                     the resolved config
//! run_dir/skipped.csv                     the pairs that could not be read, if any
//! run_dir/resumes.jsonl                   a line for each time that the run went on from a checkpoint
//! run_dir/stats.jsonl                     a line of means every `log_every` steps
//! run_dir/monitor.jsonl                   a line every `monitor_every` steps
//! run_dir/samples/step_*.png              grids of fixed triplets
//! run_dir/snapshots/step_*.safetensors    generators, for use
//! run_dir/snapshots/best.safetensors      the generator of the monitor's lowest score
//! run_dir/checkpoints/step_*.safetensors  the state to go on from
//! run_dir/failed.safetensors              the state of a run that diverged, in a checkpoint's format
//! run_dir/old/<number>/                   what another branch of the run left, under the same names
//! run_dir/.lock                           held by the process that trains
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::jsonl;
use super::trainer::Trainer;
use crate::config::Config;
use crate::data::LeftOut;
use crate::error::{AtPath, Error, Result};
use crate::storage::{
    Guarantee, Snapshot, is_complete, note, numbered, read_header, remove_leftovers, write_atomically,
};

const LOCK: &str = ".lock";
/// The folders of numbered files, with their endings.
const PARTS: [(&str, &str); 3] = [("samples", "png"), ("snapshots", "safetensors"), ("checkpoints", "safetensors")];
/// Everything else that a run leaves, and what others put beside it.
const FILES: [&str; 8] = [
    "config.json",
    "skipped.csv",
    "resumes.jsonl",
    "stats.jsonl",
    "monitor.jsonl",
    "failed.safetensors",
    "tensorboard",
    "evaluation.json",
];

/// The names in a run's folder, which this process holds until the value is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: File,
    /// Whether the system holds the lock for this process; false on a file system without locks.
    held: bool,
    /// The content of the lock's file, different for each holder: inode numbers are not steady everywhere.
    token: String,
    /// The process that took the lock, not a child that inherited it.
    owner: u32,
    /// Whether it was missing before.
    new: bool,
}

impl Folder {
    /// Makes the folder and takes its lock. The system releases the lock however the process ends.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds it; [`Error::Io`] with the path.
    pub fn open(path: &Path) -> Result<Folder> {
        // The process may go to another folder while it trains.
        let path = std::path::absolute(path).at(path)?;
        let new = !path.exists();
        // Who withdraws from a folder removes its lock; then another try makes a new one.
        (0..10)
            .find_map(|_| Self::locked(&path, new).map(|folder| folder.is_here().then_some(folder)).transpose())
            .unwrap_or_else(|| Err(Error::Busy { path }))
    }

    fn locked(path: &Path, new: bool) -> Result<Folder> {
        std::fs::create_dir_all(path).at(path)?;
        let file = path.join(LOCK);
        let mut lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file).at(&file)?;
        let held = match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: path.into() }),
            Err(TryLockError::Error(_)) => {
                note(Guarantee::Locks, path);
                false
            }
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut token = format!("{} {}\n", std::process::id(), now.as_nanos());
        lock.set_len(0).at(&file)?;
        if lock.write_all(token.as_bytes()).is_err() {
            // A full disk. The folder is then known by its empty file.
            lock.set_len(0).at(&file)?;
            token.clear();
        }
        Ok(Folder { path: path.into(), lock, held, token, owner: std::process::id(), new })
    }

    /// Makes the folders below and removes unfinished files.
    ///
    /// # Errors
    /// [`Error::Io`] with the path, also if no file can be written there for another reason than a full disk.
    pub fn prepare(&self) -> Result<()> {
        for folder in PARTS.iter().map(|(name, _)| self.path.join(name)).chain([self.path.clone()]) {
            std::fs::create_dir_all(&folder).at(&folder)?;
            remove_leftovers(&folder)?;
            let full = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            match tempfile::Builder::new().prefix(".writing-").tempfile_in(&folder) {
                Err(error) if !full(error.kind()) => return Err(error).at(&folder),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes a folder that was missing before and in which no run has begun.
    pub fn withdraw(self) {
        if self.new {
            let parts = PARTS.iter().map(|(name, _)| self.path.join(name));
            parts.for_each(|path| drop(std::fs::remove_dir(path)));
            let _ = std::fs::remove_file(self.path.join(LOCK));
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    /// Writes `config.json` and `skipped.csv`.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn describe(&self, config: &Config, skipped: &[LeftOut]) -> Result<()> {
        if !skipped.is_empty() {
            write_atomically(&self.path.join("skipped.csv"), &table(skipped))?;
        }
        write_atomically(&self.path.join("config.json"), config.to_json().as_bytes())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn stats(&self) -> PathBuf {
        self.path.join("stats.jsonl")
    }

    pub fn looks(&self) -> PathBuf {
        self.path.join("monitor.jsonl")
    }

    pub fn sample(&self, step: u64) -> PathBuf {
        self.numbered("samples", step, "png")
    }

    pub fn snapshot(&self, step: u64) -> PathBuf {
        self.numbered("snapshots", step, "safetensors")
    }

    pub fn best(&self) -> PathBuf {
        self.path.join("snapshots/best.safetensors")
    }

    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.numbered("checkpoints", step, "safetensors")
    }

    pub fn failed(&self) -> PathBuf {
        self.path.join("failed.safetensors")
    }

    fn numbered(&self, folder: &str, step: u64, ending: &str) -> PathBuf {
        self.path.join(folder).join(format!("step_{step:08}.{ending}"))
    }

    /// Lists the checkpoints, newest first.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn checkpoints(&self) -> Result<Vec<PathBuf>> {
        checkpoints(&self.path)
    }

    /// Removes all checkpoints but the newest `keep` that are complete. One that was cut short takes the place of none.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn drop_older(&self, keep: usize) -> Result<()> {
        let found = self.checkpoints()?;
        let mut complete = 0;
        for path in found {
            if complete == keep && path.is_file() {
                std::fs::remove_file(&path).at(&path)?;
            } else if is_complete(&path) {
                complete += 1;
            }
        }
        Ok(())
    }

    /// Writes the generator that snapshots are of.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn write_snapshot(&self, path: &Path, trainer: &Trainer) -> Result<()> {
        let parameters = &trainer.models.generator.parameters;
        let generator = parameters.named(&trainer.averaged());
        Snapshot::write(path, &trainer.stage, trainer.step, &generator)
    }

    /// Appends a line to `resumes.jsonl`: the step, and the number of processes if several go on.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn note_resume(&self, step: u64, world: usize) -> Result<()> {
        let mut line: Map<String, Value> = Map::from_iter([("step".to_owned(), step.into())]);
        if world > 1 {
            line.insert("world".to_owned(), world.into());
        }
        jsonl::append(&self.path.join("resumes.jsonl"), &line)
    }

    /// Whether this process took the lock. A child of `fork` did not.
    pub fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }
}

/// Lists the checkpoints of a run's folder, newest first; none if there is no such folder.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn checkpoints(run_dir: &Path) -> Result<Vec<PathBuf>> {
    let found = numbered(&run_dir.join("checkpoints"), "safetensors")?;
    Ok(found.into_iter().rev().map(|(path, _)| path).collect())
}

/// One branch of history.
impl Folder {
    /// Returns the step that a run without checkpoints reached, if it is worth a word: it has a snapshot, or its log
    /// goes beyond its first checkpoint. A run that was killed before that comes again by itself.
    pub fn reached(&self, pairs: usize) -> Option<u64> {
        let snapshot = numbered(&self.path.join("snapshots"), "safetensors").ok().and_then(|mut found| found.pop());
        let logged = jsonl::last_step(&self.stats());
        let config = std::fs::read_to_string(self.path.join("config.json")).ok();
        let config = config.and_then(|text| Config::from_json(&text).ok());
        let first = config.map_or(0, |config| config.checkpoint_every.min(config.total_steps(pairs)));
        let snapshot = snapshot.map(|(_, step)| step).or(self.best().is_file().then_some(0));
        snapshot.max(logged.filter(|&step| step >= first))
    }

    /// Moves the numbered files of `from` and later steps, and the best snapshot if it is one, to a new folder in
    /// `old`.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn set_aside(&self, from: u64) -> Result<()> {
        let mut moved = Vec::new();
        for (folder, ending) in PARTS {
            let found = numbered(&self.path.join(folder), ending)?;
            moved.extend(found.into_iter().filter(|(_, step)| *step >= from).map(|(path, _)| path));
        }
        let best = self.best();
        let step = read_header(&best).ok().and_then(|header| header.get("step")?.parse().ok());
        if best.is_file() && step.is_none_or(|step: u64| step >= from) {
            moved.push(best);
        }
        self.move_to_old(&moved).map(drop)
    }

    /// Puts the best snapshot of a step back in its place, if another branch displaced it. Returns false if no file has
    /// it.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn bring_best_back(&self, step: u64) -> Result<bool> {
        let best = self.best();
        let is_it = |path: &Path| {
            read_header(path).ok().and_then(|header| header.get("step")?.parse::<u64>().ok()) == Some(step)
        };
        if is_it(&best) {
            return Ok(true);
        }
        let old = std::fs::read_dir(self.path.join("old")).into_iter().flatten().flatten();
        let names = ["snapshots/best.safetensors".to_owned(), format!("snapshots/step_{step:08}.safetensors")];
        let places = std::iter::once(self.path.clone()).chain(old.map(|number| number.path()));
        let mut found = places.flat_map(|place| names.clone().map(|name| place.join(name)));
        let Some(found) = found.find(|path| is_it(path)) else { return Ok(false) };
        write_atomically(&best, &std::fs::read(&found).at(&found)?)?;
        Ok(true)
    }

    /// Moves everything that a run left to a new folder in `old`, and returns it.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn set_all_aside(&self) -> Result<PathBuf> {
        let names = FILES.iter().chain(PARTS.iter().map(|(folder, _)| folder));
        let paths: Vec<PathBuf> = names.map(|name| self.path.join(name)).filter(|path| path.exists()).collect();
        let old = self.move_to_old(&paths)?;
        self.prepare()?;
        Ok(old)
    }

    fn move_to_old(&self, paths: &[PathBuf]) -> Result<PathBuf> {
        let old = self.path.join("old");
        let free = (1..).map(|number: u32| old.join(number.to_string())).find(|folder| !folder.exists());
        let folder = free.expect("numbers do not end");
        for path in paths {
            let to = folder.join(path.strip_prefix(&self.path).expect("in the folder"));
            let parent = to.parent().expect("in a folder");
            std::fs::create_dir_all(parent).at(parent)?;
            std::fs::rename(path, &to).at(path)?;
        }
        Ok(folder)
    }

    /// Removes what `old` has of a file that was just written: its equals, and of a checkpoint any, which are damaged.
    /// So a run that was killed leaves nothing there.
    pub fn forget_copies(&self, path: &Path) {
        let old = self.path.join("old");
        let Ok(numbers) = std::fs::read_dir(&old) else { return };
        let inside = path.strip_prefix(&self.path).expect("in the folder");
        for number in numbers.flatten().map(|entry| entry.path()) {
            let copy = number.join(inside);
            let equal = || std::fs::read(&copy).is_ok_and(|bytes| std::fs::read(path).is_ok_and(|own| own == bytes));
            if copy.is_file() && (inside.starts_with("checkpoints") || equal()) {
                let _ = std::fs::remove_file(&copy);
                // Those that are empty now.
                let folders = copy.ancestors().skip(1).take_while(|folder| folder.starts_with(&old));
                folders.take_while(|folder| std::fs::remove_dir(folder).is_ok()).for_each(drop);
            }
        }
    }
}

/// A folder that goes away.
impl Folder {
    /// Makes the folder again if it was moved, removed or replaced, and the folders below. Returns a warning if it was.
    ///
    /// # Errors
    /// [`Error::Io`] if that is impossible. The value is then another folder, which the message names, if one can
    /// be made.
    pub fn mend(&mut self, config: &Config, skipped: &[LeftOut], step: u64) -> Result<Option<String>> {
        if self.is_here() {
            // Trouble is that of the file that cannot be written.
            let below = PARTS.iter().map(|(name, _)| self.path.join(name)).filter(|path| !path.is_dir());
            below.for_each(|path| drop(std::fs::create_dir_all(path)));
            if !self.path.join("config.json").exists() {
                let _ = self.describe(config, skipped);
            }
            return Ok(None);
        }
        let (path, moved) = (self.path.clone(), self.moved_to());
        let gone = match &moved {
            Some(to) => format!("the run's folder was moved to {}", to.display()),
            None => "the run's folder was removed".into(),
        };
        let made = match self.holds_another(config, step) {
            true => Err(io_error(&path, "another run is there now")),
            false => Folder::open(&path),
        };
        match made.and_then(|folder| folder.begin_again(config, skipped)) {
            Ok(folder) => {
                *self = folder;
                let rest = format!("made again, with what the run writes from step {step} on");
                Ok(Some(format!("{}: {gone}; {rest}", path.display())))
            }
            Err(error) => {
                let parents = [path.parent().map(Path::to_owned), Some(std::env::temp_dir())];
                let rescue = Self::elsewhere(&path, parents).and_then(|folder| folder.begin_again(config, skipped));
                let rest = match rescue {
                    Ok(folder) => {
                        *self = folder;
                        format!("the run ends at step {step}, in {}", self.path.display())
                    }
                    Err(_) => "and no other place was found".into(),
                };
                Err(io_error(&path, format!("{gone}, and cannot be made again ({error}); {rest}")))
            }
        }
    }

    fn begin_again(self, config: &Config, skipped: &[LeftOut]) -> Result<Folder> {
        self.prepare()?;
        self.describe(config, skipped)?;
        // A run without its log is none.
        jsonl::cut(&self.stats(), u64::MAX)?;
        Ok(self)
    }

    /// Whether the path still leads to the folder. An error of the disk does not mean that it is gone.
    fn is_here(&self) -> bool {
        let lock = self.path.join(LOCK);
        // Reading a pipe would wait for a writer.
        if lock.metadata().is_ok_and(|about| !about.is_file()) {
            return false;
        }
        match std::fs::read(&lock) {
            // Whatever was written into it: who holds the lock has the folder.
            Ok(content) => content == self.token.as_bytes() || self.is_same_file(&lock),
            Err(error) => !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::StaleNetworkFileHandle
            ),
        }
    }

    /// Whether a path leads to the file whose lock this process holds.
    fn is_same_file(&self, path: &Path) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let numbers =
                |about: std::io::Result<std::fs::Metadata>| about.ok().map(|about| (about.dev(), about.ino()));
            let own = numbers(self.lock.metadata());
            self.held && own.is_some() && own == numbers(path.metadata())
        }
        #[cfg(not(unix))]
        {
            let _ = path;
            false
        }
    }

    /// Whether the path leads to the files of another run, or of a later step.
    fn holds_another(&self, config: &Config, step: u64) -> bool {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return false };
        let empty = entries.flatten().all(|entry| entry.file_name() == LOCK);
        let same = std::fs::read(self.path.join("config.json")).is_ok_and(|text| text == config.to_json().as_bytes());
        let newest = numbered(&self.path.join("checkpoints"), "safetensors").ok().and_then(|mut found| found.pop());
        !empty && (!same || newest.is_some_and(|(_, of)| of > step))
    }

    /// Returns where the folder is now, on systems that tell.
    fn moved_to(&self) -> Option<PathBuf> {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let file = std::fs::read_link(format!("/proc/self/fd/{}", self.lock.as_raw_fd())).ok()?;
            let folder = file.parent()?;
            (file.is_file() && folder != self.path).then(|| folder.into())
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Writes what cannot be written into this folder into another one, among the system's temporary ones or beside
    /// this, and returns it with the path of the checkpoint. None if that fails too.
    pub fn rescue(
        &self,
        config: &Config,
        skipped: &[LeftOut],
        step: u64,
        write: impl Fn(&Path) -> Result<()>,
    ) -> Option<PathBuf> {
        let beside = self.path.parent().map(Path::to_owned);
        for parent in [Some(std::env::temp_dir()), beside] {
            let Ok(folder) = Self::elsewhere(&self.path, [parent, None]) else { continue };
            let place = folder.path.clone();
            let written = folder.begin_again(config, skipped).and_then(|folder| {
                write(&folder.checkpoint(step))?;
                // A run without its log begins it anew.
                for (own, copy) in [(self.stats(), folder.stats()), (self.looks(), folder.looks())] {
                    let _ = std::fs::copy(own, copy);
                }
                Ok(folder.checkpoint(step))
            });
            match written {
                Ok(path) => return Some(path),
                Err(_) => drop(std::fs::remove_dir_all(place)),
            }
        }
        None
    }

    /// Makes a folder in the first of the folders that takes one.
    fn elsewhere(path: &Path, parents: [Option<PathBuf>; 2]) -> Result<Folder> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut last = io_error(path, "no folder to write to");
        for parent in parents.into_iter().flatten() {
            let free = (1..).map(|number: u32| parent.join(format!("{name}-rescued-{number}")));
            let free = free.into_iter().find(|path| !path.exists()).expect("numbers do not end");
            match Folder::open(&free) {
                Ok(folder) => return Ok(folder),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn io_error(path: &Path, text: impl Into<String>) -> Error {
    Error::Io { path: path.into(), source: std::io::Error::other(text.into()) }
}

impl Drop for Folder {
    /// Unlocks at once, though a child of `fork` may have the file too.
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = self.lock.set_len(0);
            let _ = self.lock.unlock();
        }
    }
}

/// The text of `skipped.csv`.
fn table(skipped: &[LeftOut]) -> Vec<u8> {
    let mut rows = csv::Writer::from_writer(Vec::new());
    let mut line = |cells: [&str; 3]| rows.write_record(cells).expect("writing to memory does not fail");
    line(["id", "path", "reason"]);
    for LeftOut { id, path, reason } in skipped {
        line([id, &path.to_string_lossy(), reason]);
    }
    rows.into_inner().expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Format, write_tensors};

    fn whole(path: &Path) {
        write_tensors(path, Format { name: "test", version: "1" }, Default::default(), &[]).unwrap();
    }

    #[test]
    fn the_newest_complete_checkpoints_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        folder.prepare().unwrap();
        for step in 1..=5 {
            match step {
                4 => drop(File::create(folder.checkpoint(step)).unwrap()),
                _ => whole(&folder.checkpoint(step)),
            }
        }
        folder.drop_older(2).unwrap();
        assert_eq!(folder.checkpoints().unwrap(), [5, 4, 3].map(|step| folder.checkpoint(step)));
        whole(&folder.checkpoint(6));
        folder.drop_older(2).unwrap();
        assert_eq!(folder.checkpoints().unwrap(), [6, 5].map(|step| folder.checkpoint(step)));
    }

    #[test]
    fn a_folder_is_held_once() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert!(matches!(Folder::open(place.path()), Err(Error::Busy { .. })));
        assert!(folder.is_here(), "who was refused changed nothing");
        drop(folder);
        assert_eq!(std::fs::read(place.path().join(LOCK)).unwrap(), b"");
        Folder::open(place.path()).unwrap();
    }

    #[test]
    fn what_is_written_again_is_not_kept_twice() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        folder.prepare().unwrap();
        for step in 1..=3 {
            whole(&folder.snapshot(step));
            std::fs::write(folder.sample(step), b"grid").unwrap();
        }
        folder.set_aside(2).unwrap();
        let old = place.path().join("old/1");
        assert!(folder.snapshot(1).is_file() && !folder.snapshot(2).exists());
        for step in [2, 3] {
            whole(&folder.snapshot(step));
            folder.forget_copies(&folder.snapshot(step));
        }
        assert!(!old.join("snapshots").exists());
        std::fs::write(folder.sample(2), b"grid").unwrap();
        std::fs::write(folder.sample(3), b"other").unwrap();
        [2, 3].iter().for_each(|&step| folder.forget_copies(&folder.sample(step)));
        assert!(!old.join("samples/step_00000002.png").exists());
        assert!(old.join("samples/step_00000003.png").is_file(), "another branch's stays");
    }
}
