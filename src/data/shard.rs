//! One tar file of pictures, as WebDataset writes them. Its members are read by their offsets.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::names::is_picture_name;
use crate::error::{AtPath, Error, Result};

/// Bytes of a tar file's block. Each member begins at one.
const BLOCK: u64 = 512;
/// The largest `.json` of a key.
const MOST_TOLD: u64 = 1 << 20;
/// How compressed files begin.
const COMPRESSED: [(&str, &[u8]); 5] = [
    ("gzip", &[0x1f, 0x8b]),
    ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
    ("bzip2", b"BZh"),
    ("xz", &[0xfd, b'7', b'z', b'X', b'Z']),
    ("zip", b"PK\x03\x04"),
];
/// What a picture's name has after its key.
pub(super) const SIDES: [&str; 2] = ["human", "article"];

/// What tells a file from a changed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub bytes: u64,
    /// Nanoseconds since 1970.
    pub changed: i64,
}

impl Stamp {
    pub fn of(about: &Metadata) -> Stamp {
        Stamp { bytes: about.len(), changed: about.modified().map_or(0, nanoseconds) }
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i64,
        Err(before) => -(before.duration().as_nanos() as i64),
    }
}

/// Where a member is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "(String, u32, u32)", into = "(String, u32, u32)")]
pub(super) struct Member {
    pub name: String,
    /// The block at which its bytes begin.
    block: u32,
    bytes: u32,
}

impl From<(String, u32, u32)> for Member {
    fn from((name, block, bytes): (String, u32, u32)) -> Member {
        Member { name, block, bytes }
    }
}

impl From<Member> for (String, u32, u32) {
    fn from(member: Member) -> (String, u32, u32) {
        (member.name, member.block, member.bytes)
    }
}

/// What the `.json` of a key says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub id: Option<String>,
    pub group: Option<String>,
    pub split: Option<String>,
}

/// The members of a tar file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Index {
    pub stamp: Stamp,
    /// The pictures, in the file's order.
    pub pictures: Vec<Member>,
    /// By key.
    pub told: BTreeMap<String, Told>,
    /// The number of other members, and the name of the first.
    pub others: usize,
    pub first_other: Option<String>,
}

/// Splits a member's name into its key, with folders, and the rest after the first dot.
pub(super) fn parts(name: &str) -> (&str, &str) {
    let base = name.rfind('/').map_or(0, |at| at + 1);
    match name[base..].find('.') {
        Some(at) => (&name[..base + at], &name[base + at + 1..]),
        None => (name, ""),
    }
}

/// The side of a picture, by the rest of its name.
pub(super) fn side(rest: &str) -> Option<usize> {
    let (side, ending) = rest.split_once('.').filter(|(_, ending)| !ending.contains('.'))?;
    SIDES.iter().position(|own| *own == side).filter(|_| is_picture_name(&format!(".{ending}")))
}

impl Index {
    /// Goes through a tar file from header to header.
    ///
    /// # Errors
    /// [`Error::Content`] with the shard and the member: for a compressed file, one that is cut off, or none at all, for a
    /// member that is there twice, and for a `.json` of another form.
    pub fn read(path: &Path) -> Result<Index> {
        let refuse = |message: String| Error::content(path, message);
        let mut file = File::open(path).at(path)?;
        let stamp = Stamp::of(&file.metadata().at(path)?);
        let mut start = Vec::new();
        (&mut file).take(8).read_to_end(&mut start).at(path)?;
        if let Some((name, _)) = COMPRESSED.iter().find(|(_, magic)| start.starts_with(magic)) {
            return Err(refuse(compressed(name)));
        }
        file.rewind().at(path)?;
        let mut index = Index { stamp, pictures: Vec::new(), told: BTreeMap::new(), others: 0, first_other: None };
        let mut seen = HashSet::new();
        let (mut end, mut last) = (0, None::<String>);
        let cut = |last: &Option<String>| {
            let last = last.as_ref().map_or("its start".into(), |name| format!("`{name}`"));
            refuse(format!("the file ends after {last}, before the end mark of a tar file: it is cut off"))
        };
        let mut archive = tar::Archive::new(&file);
        for entry in archive.entries_with_seek().at(path)? {
            let mut entry = entry.map_err(|error| match last {
                _ if end > 0 && end + BLOCK > stamp.bytes => cut(&last),
                None => refuse(format!("expected a tar file: {error}")),
                Some(ref last) => refuse(format!("broken after `{last}`: {error}")),
            })?;
            let (at, bytes) = (entry.raw_file_position(), entry.size());
            let raw = entry.path_bytes().into_owned();
            let Ok(name) = String::from_utf8(raw) else {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                return Err(refuse(format!("member `{name}`: expected a name in UTF-8, got another encoding")));
            };
            let name = name.trim_start_matches("./").to_owned();
            end = (at + bytes).div_ceil(BLOCK) * BLOCK;
            if at + bytes > stamp.bytes {
                let text = format!("member `{name}`: it ends at byte {}, the file at {}", at + bytes, stamp.bytes);
                return Err(refuse(format!("{text}: it is cut off")));
            }
            last = Some(name.clone());
            let kind = entry.header().entry_type();
            if kind.is_dir() || kind.is_pax_global_extensions() {
                continue;
            }
            let (key, rest) = parts(&name);
            let is_hidden = name.rsplit('/').next().is_some_and(|base| base.starts_with('.'));
            let is_file = kind.is_file() && !is_hidden;
            match side(rest) {
                Some(side) if is_file => {
                    if !seen.insert((xxh3_64(key.as_bytes()), side)) {
                        let side = SIDES[side];
                        return Err(refuse(format!(
                            "member `{name}`: expected one {side} of `{key}`, it is the second"
                        )));
                    }
                    let large = || refuse(format!("member `{name}`: it is too large or too far in its file"));
                    let block = u32::try_from(at / BLOCK).map_err(|_| large())?;
                    let bytes = u32::try_from(bytes).map_err(|_| large())?;
                    index.pictures.push(Member { name, block, bytes });
                }
                None if is_file && rest == "json" => {
                    if bytes > MOST_TOLD {
                        return Err(refuse(format!(
                            "member `{name}`: expected at most {MOST_TOLD} bytes, got {bytes}"
                        )));
                    }
                    let mut text = Vec::new();
                    entry.read_to_end(&mut text).at(path)?;
                    let told = told(&text).map_err(|why| refuse(format!("member `{name}`: {why}")))?;
                    if index.told.insert(key.to_owned(), told).is_some() {
                        return Err(refuse(format!(
                            "member `{name}`: expected one `.json` of `{key}`, it is the second"
                        )));
                    }
                }
                _ => {
                    index.others += usize::from(!is_hidden);
                    index.first_other = index.first_other.or(Some(name).filter(|_| !is_hidden));
                }
            }
        }
        // Two empty blocks end a tar file. A file that was cut between two members has none.
        let mut mark = Vec::new();
        (&file).seek(SeekFrom::Start(end)).at(path)?;
        (&file).take(2 * BLOCK).read_to_end(&mut mark).at(path)?;
        if mark.len() < BLOCK as usize || mark.iter().any(|byte| *byte != 0) {
            return Err(cut(&last));
        }
        Ok(index)
    }
}

/// The words on a compressed file.
pub(super) fn compressed(kind: &str) -> String {
    format!("expected a tar file that is not compressed, since its pictures are read where they lie, got {kind}")
}

/// Reads the `.json` of a key. Other entries than those of pairs are the user's own.
fn told(text: &[u8]) -> std::result::Result<Told, String> {
    let Value::Object(entries) = serde_json::from_slice(text).map_err(|error| format!("expected JSON: {error}"))?
    else {
        return Err("expected a JSON object".into());
    };
    let entry = |name: &str| match entries.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(format!("{name}: expected a text, got {other}")),
    };
    Ok(Told { id: entry("id")?, group: entry("group")?, split: entry("split")? })
}

/// Where a member is, by the hash of its name.
#[derive(Clone, Copy, Debug)]
struct Spot {
    name: u64,
    block: u32,
    bytes: u32,
}

/// A tar file whose members can be read: 16 bytes for each.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    stamp: Stamp,
    /// Sorted by name.
    spots: Vec<Spot>,
}

impl Shard {
    /// Makes a shard of a tar file and its index.
    pub(super) fn new(path: &Path, index: &Index) -> Shard {
        let spot =
            |member: &Member| Spot { name: xxh3_64(member.name.as_bytes()), block: member.block, bytes: member.bytes };
        let mut spots: Vec<Spot> = index.pictures.iter().map(spot).collect();
        spots.sort_unstable_by_key(|spot| spot.name);
        Shard { path: path.into(), stamp: index.stamp, spots }
    }

    /// The tar file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length and time of the tar file when it was read.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn spot(&self, name: &str) -> Option<Spot> {
        let place = self.spots.binary_search_by_key(&xxh3_64(name.as_bytes()), |spot| spot.name).ok()?;
        Some(self.spots[place])
    }

    /// The bytes of a member; None for one that is not there.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.spot(name).map(|spot| spot.bytes.into())
    }

    /// Reads a member.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Io`] for the tar file; [`Error::Content`] if it has changed, or has no such member.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut file = File::open(&self.path).at(&self.path)?;
        if Stamp::of(&file.metadata().at(&self.path)?) != self.stamp {
            return Err(Error::content(&self.path, "the file has changed since the pairs were read: read them again"));
        }
        let member = self.path.join(name);
        let spot = self.spot(name).ok_or_else(|| Error::content(&member, "no such member"))?;
        let mut bytes = vec![0; spot.bytes as usize];
        file.seek(SeekFrom::Start(u64::from(spot.block) * BLOCK)).at(&member)?;
        file.read_exact(&mut bytes).at(&member)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_name_is_its_key_and_its_side() {
        let of = |name| {
            let (key, rest) = parts(name);
            (key, side(rest))
        };
        assert_eq!(of("a/b.c/0001.human.JPG"), ("a/b.c/0001", Some(0)));
        assert_eq!(of("0001.article.webp"), ("0001", Some(1)));
        for name in ["1.human", "1.human.txt", "1.human.mask.png", "1.png", "1.humans.png", "1", "1.", ".human.png."] {
            assert_eq!(of(name).1, None, "{name}");
        }
    }
}
