//! Folders of tar files as WebDataset writes them: `key.human.jpg` and `key.article.jpg` beside each other, and optionally
//! `key.json` with id, group and split. An index beside each file spares going through it again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use xxhash_rust::xxh3::xxh3_64;

use super::names::{Namer, name};
use super::row::Row;
use super::sets::{Note, SPLITS};
use super::shard::{Index, SIDES, Shard, Stamp, compressed, parts, side};
use super::source::Source;
use crate::error::{AtPath, Error, Result};
use crate::storage::write_unsynced;

/// How an index begins.
const FORM: &[u8] = b"cagan shard 1\n";
/// The endings of compressed tar files.
const COMPRESSED: [&str; 8] = [".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.lz4"];

/// Tar files with their splits.
pub(super) type Tars = Vec<(PathBuf, Option<&'static str>)>;

/// Lists the tar files of a set: of a folder, of its folders of splits, or one alone; None for a set of none.
///
/// # Errors
/// [`Error::Content`] for compressed ones.
pub(super) fn found(place: &Path) -> Result<Option<Tars>> {
    if place.is_file() {
        if let Some(ending) = compressed_ending(place) {
            return Err(Error::content(place, compressed(ending)));
        }
        return Ok(is_tar(place).then(|| vec![(place.to_owned(), None)]));
    }
    let mut all: Tars = tars_in(place)?.into_iter().map(|path| (path, None)).collect();
    if all.is_empty() {
        for split in SPLITS {
            all.extend(tars_in(&place.join(split))?.into_iter().map(|path| (path, Some(split))));
        }
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

fn is_tar(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar"))
}

fn compressed_ending(path: &Path) -> Option<&'static str> {
    let name = name(path).to_lowercase();
    COMPRESSED.into_iter().find(|ending| name.ends_with(ending))
}

/// The tar files in a folder, sorted.
fn tars_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let entries: Vec<PathBuf> = entries.filter(|path| !name(path).starts_with('.')).collect();
    let mut tars: Vec<PathBuf> = entries.iter().filter(|path| is_tar(path) && path.is_file()).cloned().collect();
    tars.sort();
    let other = entries.iter().find_map(|path| Some((path, compressed_ending(path)?)));
    match other {
        Some((path, ending)) if tars.is_empty() => Err(Error::content(path, compressed(ending))),
        _ => Ok(tars),
    }
}

/// Reads the rows of tar files, and hands on one after the other. Says which members are no pictures of pairs.
///
/// # Errors
/// As [`Index::read`]; [`Error::Content`] for a name of two pairs, with both their shards; those of `take`.
pub(super) fn read(shards: &[(PathBuf, Option<&str>)], take: &mut dyn FnMut(Row) -> Result<()>) -> Result<Vec<Note>> {
    let (mut ids, mut owners) = (Namer::default(), Vec::<u32>::new());
    let (mut others, mut first) = (0, None);
    for (number, (path, split)) in shards.iter().enumerate() {
        let index = index_of(path)?;
        let shard = shared(path, &index);
        for row in rows(&shard, &index, *split) {
            match ids.place(&row.id)? {
                (_, true) => owners.push(number as u32),
                (place, false) => {
                    let other = shards[owners[place] as usize].0.display();
                    let text = format!("expected each pair once, `{}` is also in {other}", row.id);
                    return Err(Error::content(path, text));
                }
            }
            take(row)?;
        }
        others += index.others;
        first = first.or_else(|| index.first_other.as_ref().map(|name| path.join(name)));
    }
    let note = first.map(|first| {
        let names = SIDES.map(|side| format!("`<key>.{side}.<ending>`")).join(" nor ");
        let text = format!("{others} members are neither {names} of a picture, the first: {}", first.display());
        Note::new(text, false)
    });
    Ok(note.into_iter().collect())
}

/// The rows of a shard, in the order of their first members. A picture without its partner has a row of its own.
fn rows(shard: &Arc<Shard>, index: &Index, split: Option<&str>) -> Vec<Row> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut rows: Vec<Row> = Vec::new();
    for member in &index.pictures {
        let (key, rest) = parts(&member.name);
        let place = *places.entry(key).or_insert_with(|| {
            let told = index.told.get(key).cloned().unwrap_or_default();
            let id = told.id.unwrap_or_else(|| key.to_owned());
            let split = told.split.or_else(|| split.map(str::to_owned));
            rows.push(Row { id, group: told.group, split, ..Row::default() });
            rows.len() - 1
        });
        let picture = Some(Source::Member(shard.clone(), shard.path().join(&member.name).into()));
        match side(rest) {
            Some(0) => rows[place].human = picture,
            _ => rows[place].article = picture,
        }
    }
    rows
}

/// Shards that are in use, by their files.
static SHARDS: Mutex<BTreeMap<PathBuf, Weak<Shard>>> = Mutex::new(BTreeMap::new());

/// Returns the shard of a file and its index: the one in use, if the file has not changed.
fn shared(path: &Path, index: &Index) -> Arc<Shard> {
    let mut shards = SHARDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shard) = shards.get(path).and_then(Weak::upgrade).filter(|shard| shard.stamp() == index.stamp) {
        return shard;
    }
    let shard = Arc::new(Shard::new(path, index));
    shards.retain(|_, shard| shard.strong_count() > 0);
    shards.insert(path.into(), Arc::downgrade(&shard));
    shard
}

/// Returns the picture that a path names: a file, or, where the path goes on after a tar file, a member of that.
///
/// # Errors
/// As [`Index::read`].
pub fn source_of(path: PathBuf) -> Result<Source> {
    let is_inside = path.to_str().is_some_and(|text| {
        let bytes = text.as_bytes();
        bytes.windows(5).any(|part| part.eq_ignore_ascii_case(b".tar/"))
    });
    if !is_inside || path.is_file() {
        return Ok(Source::File(path));
    }
    let tar = path.ancestors().skip(1).find(|above| is_tar(above) && above.is_file()).map(Path::to_owned);
    let Some(tar) = tar else { return Ok(Source::File(path)) };
    let stamp = Stamp::of(&std::fs::metadata(&tar).at(&tar)?);
    let used = SHARDS.lock().unwrap_or_else(PoisonError::into_inner).get(&tar).and_then(Weak::upgrade);
    let shard = match used.filter(|shard| shard.stamp() == stamp) {
        Some(shard) => shard,
        None => shared(&tar, &index_of(&tar)?),
    };
    let name = path.strip_prefix(&tar).ok().and_then(Path::to_str).unwrap_or_default();
    Ok(match shard.size(name) {
        Some(_) => Source::Member(shard, path.into()),
        None => Source::File(path),
    })
}

/// Returns the index of a tar file: the one beside it, unless the file has changed. No error of that one stops a reading,
/// and who cannot write it goes through the tar file again.
fn index_of(path: &Path) -> Result<Index> {
    let kept = path.with_file_name(format!(".{}.cagan", name(path)));
    let stamp = Stamp::of(&std::fs::metadata(path).at(path)?);
    let found = std::fs::read(&kept).ok().and_then(|bytes| parsed(&bytes)).filter(|index| index.stamp == stamp);
    if let Some(index) = found {
        return Ok(index);
    }
    let index = Index::read(path)?;
    let _ = write_unsynced(&kept, &bytes_of(&index));
    Ok(index)
}

fn bytes_of(index: &Index) -> Vec<u8> {
    let mut bytes = FORM.to_vec();
    serde_json::to_writer(&mut bytes, index).expect("texts and numbers");
    let check = xxh3_64(&bytes);
    bytes.extend(format!("\n{check:016x}\n").bytes());
    bytes
}

/// The index of a file's bytes; None for broken ones.
fn parsed(bytes: &[u8]) -> Option<Index> {
    let body = bytes.get(..bytes.len().checked_sub(18)?)?;
    let is_whole = bytes[body.len()..] == *format!("\n{:016x}\n", xxh3_64(body)).as_bytes();
    serde_json::from_slice(body.strip_prefix(FORM).filter(|_| is_whole)?).ok()
}
