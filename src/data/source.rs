//! Where a picture is: in a file, in a tar file, in a file's bytes, or in memory as pixels.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::shard::Shard;
use crate::error::{AtPath, Error, Result};
use crate::pixels::{decode_rgb, read_rgb};

/// The bytes of a picture file, of any owner.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where a picture is. Two sources are equal if their paths, their bytes or their pixels are.
#[derive(Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A member of a tar file, with the path of both.
    Member(Arc<Shard>, Arc<Path>),
    /// A file's bytes, with the name that messages give them.
    Encoded(Bytes, Arc<str>),
    /// Upright sRGB pixels, with the name that messages give them.
    Pixels(Arc<RgbImage>, Arc<str>),
}

impl Source {
    /// Decodes the picture to upright sRGB pixels.
    ///
    /// ```
    /// use cagan::data::Source;
    /// let picture = image::RgbImage::from_pixel(2, 1, image::Rgb([1, 2, 3]));
    /// let source = Source::Pixels(std::sync::Arc::new(picture.clone()), "a photo".into());
    /// assert_eq!(*source.decode()?, picture);
    /// # Ok::<(), cagan::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`read_rgb`].
    pub fn decode(&self) -> Result<Arc<RgbImage>> {
        match self {
            Source::File(path) => read_rgb(path).map(Arc::new),
            Source::Member(_, name) => decoded(&self.bytes()?, name),
            Source::Encoded(bytes, name) => decoded((**bytes).as_ref(), Path::new(&**name)),
            Source::Pixels(picture, _) => Ok(picture.clone()),
        }
    }

    /// The stored bytes: a file's, or pixels.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Io`] for a file that cannot be read, [`Error::Content`] for a tar file that has
    /// changed.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        Ok(match self {
            Source::File(path) => Cow::Owned(std::fs::read(path).at(path)?),
            Source::Member(shard, path) => Cow::Owned(shard.read(inside(shard, path))?),
            Source::Encoded(bytes, _) => Cow::Borrowed((**bytes).as_ref()),
            Source::Pixels(picture, _) => Cow::Borrowed(picture.as_raw()),
        })
    }

    /// The path by which a list names the picture: of the file, or of the tar file and then the member; None for a
    /// picture in memory.
    pub fn address(&self) -> Option<&Path> {
        match self {
            Source::File(path) => Some(path),
            Source::Member(_, path) => Some(path),
            Source::Encoded(..) | Source::Pixels(..) => None,
        }
    }

    /// The file; None for a picture in memory or in a tar file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Source::File(path) => Some(path),
            Source::Member(..) | Source::Encoded(..) | Source::Pixels(..) => None,
        }
    }

    /// The file, or the name that messages give to a picture in memory.
    pub fn name(&self) -> &Path {
        match self {
            Source::File(path) => path,
            Source::Member(_, path) => path,
            Source::Encoded(_, name) | Source::Pixels(_, name) => Path::new(&**name),
        }
    }

    /// The number of stored bytes. Sources of other numbers differ.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Io`] for a file that cannot be opened.
    pub(super) fn size(&self) -> Result<u64> {
        match self {
            Source::File(path) => Ok(std::fs::metadata(path).at(path)?.len()),
            Source::Member(shard, path) => {
                shard.size(inside(shard, path)).ok_or_else(|| Error::content(path, "no such member"))
            }
            Source::Encoded(bytes, _) => Ok((**bytes).as_ref().len() as u64),
            Source::Pixels(picture, _) => Ok(picture.as_raw().len() as u64),
        }
    }

    /// Hashes the stored bytes: equal for a file and its bytes in memory.
    ///
    /// # Errors
    /// As [`Source::bytes`].
    pub(super) fn hash_stored(&self) -> Result<u128> {
        Ok(match self {
            Source::Pixels(picture, _) => {
                let mut sum = Xxh3Default::new();
                sum.update(&picture.width().to_le_bytes());
                sum.update(picture.as_raw());
                sum.digest128()
            }
            source => xxh3_128(&source.bytes()?),
        })
    }
}

/// The name of a member in its tar file.
fn inside<'a>(shard: &Shard, path: &'a Path) -> &'a str {
    path.strip_prefix(shard.path()).ok().and_then(Path::to_str).unwrap_or_default()
}

fn decoded(bytes: &[u8], name: &Path) -> Result<Arc<RgbImage>> {
    let failed = |reason| Error::content(name, format!("cannot be decoded: {reason}"));
    decode_rgb(bytes).map(Arc::new).map_err(failed)
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Source {
        Source::File(path)
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::File(one), Source::File(other)) => one == other,
            (Source::Member(_, one), Source::Member(_, other)) => one == other,
            (Source::Encoded(one, _), Source::Encoded(other, _)) => {
                let (one, other) = ((**one).as_ref(), (**other).as_ref());
                std::ptr::eq(one, other) || one == other
            }
            (Source::Pixels(one, _), Source::Pixels(other, _)) => Arc::ptr_eq(one, other) || one == other,
            _ => false,
        }
    }
}

impl Eq for Source {}

impl Hash for Source {
    fn hash<H: Hasher>(&self, state: &mut H) {
        /// Bytes that tell most pictures apart.
        const SOME: usize = 256;
        let some = |bytes: &[u8], state: &mut H| {
            let middle = bytes.len() / 2;
            bytes.len().hash(state);
            bytes[middle.saturating_sub(SOME)..(middle + SOME).min(bytes.len())].hash(state);
        };
        match self {
            Source::File(path) => path.hash(state),
            Source::Member(_, path) => path.hash(state),
            Source::Encoded(bytes, _) => some((**bytes).as_ref(), state),
            Source::Pixels(picture, _) => some(picture.as_raw(), state),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Source::File(_) => "File",
            Source::Member(..) => "Member",
            Source::Encoded(..) => "Encoded",
            Source::Pixels(..) => "Pixels",
        };
        f.debug_tuple(kind).field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::png;
    use std::collections::HashSet;

    #[test]
    fn a_file_its_bytes_and_its_pixels_decode_alike() {
        let folder = tempfile::tempdir().unwrap();
        let picture = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let bytes = png(picture.as_raw(), [3, 5], 3);
        let path = folder.path().join("a.png");
        std::fs::write(&path, &bytes).unwrap();
        let file = Source::from(path.clone());
        let encoded = Source::Encoded(Arc::new(bytes.clone()), "one".into());
        let pixels = Source::Pixels(Arc::new(picture.clone()), "two".into());
        for source in [&file, &encoded, &pixels] {
            assert_eq!(*source.decode().unwrap(), picture);
        }
        assert_eq!((file.path(), encoded.path(), pixels.name()), (Some(path.as_path()), None, Path::new("two")));
        assert_eq!(file.hash_stored().unwrap(), encoded.hash_stored().unwrap());
        assert_eq!(file.size().unwrap(), encoded.size().unwrap());
        // Equal contents are equal, whatever their names.
        let again = Source::Encoded(Arc::new(bytes), "another".into());
        let all = HashSet::from([file.clone(), encoded.clone(), pixels, again.clone()]);
        assert_eq!((all.len(), again == encoded, file == encoded), (3, true, false));
        let broken = Source::Encoded(Arc::new(b"no".to_vec()), "human of `a`".into());
        assert!(broken.decode().unwrap_err().to_string().starts_with("human of `a`: cannot be decoded"));
    }
}
