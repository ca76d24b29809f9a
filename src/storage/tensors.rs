//! Named tensors and a text header in one safetensors file: float32, or float16 that is read as float32.
//!
//! The header is one JSON object under the metadata key `cagan`: safetensors writes metadata keys in no fixed order,
//! and equal states must be equal bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};
use tch::{Kind, Tensor};
use xxhash_rust::xxh3::Xxh3Default;

use super::atomic::write_atomically;
use crate::error::{AtPath, Error, Result};

/// A kind of file and the version of its layout. A reader refuses files of another one.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Stands in the header as `format`.
    pub name: &'static str,
    /// Stands in the header as `format_version`.
    pub version: &'static str,
}

/// The metadata key that holds the header.
const KEY: &str = "cagan";
/// The header entry that holds the checksum of the rest.
pub const CHECKSUM: &str = "checksum";

/// A file's content: header entries, and tensors on the CPU by name, float32 whatever the file has.
#[derive(Debug)]
pub struct TensorFile {
    /// The header entries.
    pub header: BTreeMap<String, String>,
    /// The tensors by name, in the file's order.
    pub tensors: Vec<(String, Tensor)>,
}

/// Writes tensors and header atomically. The format joins the header.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write_tensors(
    path: &Path,
    format: Format,
    header: BTreeMap<String, String>,
    tensors: &[(String, Tensor)],
) -> Result<()> {
    let file = tensor_bytes(format, header, tensors, Kind::Float)
        .map_err(|e| Error::content(path, format!("cannot be written: {e}")))?;
    write_atomically(path, &file)
}

/// Makes the bytes of the file that [`write_tensors`] writes, of float32 ([`Kind::Float`]) or float16 ([`Kind::Half`]).
///
/// # Errors
/// Returns the reason why the format does not hold the tensors.
pub fn tensor_bytes(
    format: Format,
    mut header: BTreeMap<String, String>,
    tensors: &[(String, Tensor)],
    kind: Kind,
) -> std::result::Result<Vec<u8>, safetensors::SafeTensorError> {
    let dtype = if kind == Kind::Half { Dtype::F16 } else { Dtype::F32 };
    header.insert("format".into(), format.name.into());
    header.insert("format_version".into(), format.version.into());
    let bytes: Vec<(&String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let tensor = (tensor.detach().to_device(tch::Device::Cpu)).to_kind(kind).contiguous();
            let mut bytes = vec![0; kind.elt_size_in_bytes() * tensor.numel()];
            tensor.copy_data_u8(&mut bytes, tensor.numel());
            let shape = tensor.size().iter().map(|&n| n as usize).collect();
            (name, shape, bytes)
        })
        .collect();
    let data = bytes.iter().map(|(name, _, bytes)| (name.as_str(), bytes.as_slice()));
    header.insert(CHECKSUM.into(), checksum(&header, data));
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(dtype, shape.clone(), bytes).expect("bytes fit the shape");
        (name, view)
    });
    let header = serde_json::to_string(&header).expect("texts");
    safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), header)])))
}

/// Hashes the header without the checksum itself, and each tensor's name and bytes, sorted by name.
fn checksum<'a>(header: &BTreeMap<String, String>, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut sum = Xxh3Default::new();
    for (key, value) in header.iter().filter(|(key, _)| *key != CHECKSUM) {
        [key, value].into_iter().for_each(|text| {
            sum.update(&(text.len() as u64).to_le_bytes());
            sum.update(text.as_bytes());
        });
    }
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort();
    for (name, bytes) in tensors {
        sum.update(&(name.len() as u64).to_le_bytes());
        sum.update(name.as_bytes());
        sum.update(bytes);
    }
    format!("{:032x}", sum.digest128())
}

/// Reads a file that [`write_tensors`] wrote under the same `format`.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Content`] for a truncated or changed file, another format or another version.
pub fn read_tensors(path: &Path, format: Format) -> Result<TensorFile> {
    parse_tensors(&std::fs::read(path).at(path)?, path, format)
}

/// Parses the bytes of the file at `path` as [`read_tensors`] does. It allocates at most a few times their length,
/// whatever sizes they declare.
///
/// # Errors
/// [`Error::Content`] as [`read_tensors`].
pub fn parse_tensors(bytes: &[u8], path: &Path, format: Format) -> Result<TensorFile> {
    let bad = |e| Error::content(path, format!("expected a whole safetensors file: {e}"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(bad)?;
    let header = entries(&metadata);
    let entry = |key: &str| header.get(key).map(String::as_str).unwrap_or("none");
    for (key, expected) in [("format", format.name), ("format_version", format.version)] {
        if entry(key) != expected {
            return Err(Error::content(path, format!("{key}: expected {expected}, got {}", entry(key))));
        }
    }
    let file = SafeTensors::deserialize(bytes).map_err(bad)?;
    let views = file.iter();
    let data: Vec<(&str, &[u8])> = views.map(|(name, view)| (name, view.data())).collect();
    // Snapshots of other tools have no checksum.
    if header.contains_key(CHECKSUM) && entry(CHECKSUM) != checksum(&header, data.into_iter()) {
        let text = "expected the bytes that were written, got others: the file is damaged";
        return Err(Error::content(path, text));
    }
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        let values = match view.dtype() {
            Dtype::F32 => {
                let floats = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                Tensor::from_slice(&floats.collect::<Vec<f32>>())
            }
            Dtype::F16 => {
                let halves = view.data().chunks_exact(2).map(|b| half::f16::from_le_bytes(b.try_into().unwrap()));
                Tensor::from_slice(&halves.map(f32::from).collect::<Vec<f32>>())
            }
            other => {
                return Err(Error::content(path, format!("{name}: expected float32 or float16, got {other:?}")));
            }
        };
        // A tensor with a side of 0 may declare any other sides.
        let sides = view.shape().iter().map(|&n| i64::try_from(n).ok());
        let shape: Option<Vec<i64>> = sides.collect();
        let tensor = shape.and_then(|shape| values.f_reshape(shape).ok());
        let tensor = tensor.ok_or_else(|| {
            let text = format!("{name}: expected a shape, got {:?}", view.shape());
            Error::content(path, text)
        })?;
        tensors.push((name.to_owned(), tensor));
    }
    Ok(TensorFile { header, tensors })
}

/// The header entries; none for metadata of another tool.
fn entries(metadata: &Metadata) -> BTreeMap<String, String> {
    let all = metadata.metadata().as_ref();
    all.and_then(|all| serde_json::from_str(all.get(KEY)?).ok()).unwrap_or_default()
}

/// Reads a file's header entries, of any format, without reading its tensors.
///
/// ```
/// use std::collections::BTreeMap;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("a.safetensors");
/// let header = BTreeMap::from([("step".to_owned(), "7".to_owned())]);
/// let format = cagan::storage::Format { name: "test", version: "1" };
/// cagan::storage::write_tensors(&path, format, header, &[]).unwrap();
/// let header = cagan::storage::read_header(&path).unwrap();
/// assert_eq!((header["step"].as_str(), header["format"].as_str()), ("7", "test"));
/// ```
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Content`] for a file that does not begin with a whole safetensors header.
pub fn read_header(path: &Path) -> Result<BTreeMap<String, String>> {
    directory(path).map(|(metadata, _)| entries(&metadata))
}

/// Whether a file is as long as its safetensors header says. Its bytes are not checked.
pub fn is_complete(path: &Path) -> bool {
    let Ok((metadata, start)) = directory(path) else { return false };
    let end = metadata.tensors().values().map(|tensor| tensor.data_offsets.1 as u64).max();
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == start + end.unwrap_or(0))
}

/// Reads a file's directory of tensors, and where their bytes begin.
fn directory(path: &Path) -> Result<(Metadata, u64)> {
    let bad = |text: String| Error::content(path, format!("expected a whole safetensors file: {text}"));
    let mut file = File::open(path).at(path)?;
    let mut length = Vec::new();
    file.by_ref().take(8).read_to_end(&mut length).at(path)?;
    let length = length.try_into().map_err(|_| bad("the header's length is missing".into()))?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).at(path)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| bad(error.to_string()))?;
    Ok((metadata, length.saturating_add(8)))
}

impl TensorFile {
    /// Returns a header entry.
    pub fn entry(&self, path: &Path, key: &str) -> Result<&str> {
        self.header
            .get(key)
            .map(String::as_str)
            .ok_or_else(|| Error::content(path, format!("expected `{key}` in the header, got none")))
    }

    /// Returns a header entry that is a whole number.
    pub fn number(&self, path: &Path, key: &str) -> Result<u64> {
        let text = self.entry(path, key)?;
        text.parse().map_err(|_| Error::content(path, format!("{key}: expected a whole number, got {text}")))
    }

    /// Returns the tensors whose names begin with `prefix`, by the rest of their names.
    pub fn part(&self, prefix: &str) -> HashMap<String, Tensor> {
        self.tensors
            .iter()
            .filter_map(|(name, tensor)| {
                let rest = name.strip_prefix(prefix)?;
                Some((rest.to_owned(), tensor.shallow_clone()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: Format = Format { name: "test", version: "2" };

    #[test]
    fn what_is_written_is_read_and_a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensor = Tensor::from_slice(&[1.5f32, -2.0, 3.25]);
        let header = BTreeMap::from([("step".to_owned(), "7".to_owned())]);
        write_tensors(&path, TEST, header, &[("x.y".into(), tensor.copy())]).unwrap();
        let file = read_tensors(&path, TEST).unwrap();
        assert_eq!(file.number(&path, "step").unwrap(), 7);
        assert_eq!(file.part("x.")["y"], tensor);
        assert_eq!(read_header(&path).unwrap(), file.header);
        assert!(is_complete(&path));

        let wrong = read_tensors(&path, Format { name: "other", ..TEST }).unwrap_err().to_string();
        assert!(wrong.ends_with("format: expected other, got test"), "{wrong}");
        let old = read_tensors(&path, Format { version: "3", ..TEST }).unwrap_err().to_string();
        assert!(old.ends_with("format_version: expected 3, got 2"), "{old}");
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 4, 20, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = read_tensors(&path, TEST).unwrap_err().to_string();
            assert!(error.contains("a.safetensors: expected a whole"), "{error}");
            assert!(!is_complete(&path));
            let header = read_header(&path).map_err(|error| error.to_string());
            assert!(cut == whole.len() - 1 || header.is_err_and(|e| e.contains("a.safetensors: expected a whole")));
        }
        for at in (8..whole.len()).step_by(7) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            // A changed space in the header's padding changes nothing.
            let read = read_tensors(&path, TEST).and_then(|file| file.entry(&path, CHECKSUM).map(drop));
            assert!(read.is_err() || whole[at] == b' ', "byte {at}");
        }
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
    }

    /// A file without a checksum whose directory of tensors is `directory`.
    fn foreign(directory: &str) -> Vec<u8> {
        let entries = r#"{\"format\":\"test\",\"format_version\":\"2\"}"#;
        let header = format!(r#"{{"__metadata__":{{"cagan":"{entries}"}},{directory}}}"#);
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file
    }

    #[test]
    fn a_foreign_file_fails_with_one_line() {
        let read = |directory: &str| {
            let file = parse_tensors(&foreign(directory), Path::new("a"), TEST);
            file.map(|file| file.tensors[0].1.size())
        };
        let tensor = |shape: &str| format!(r#""x":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}"#);
        assert_eq!(read(&tensor("[0,3]")).unwrap(), [0, 3]);
        // No values, but sides that no tensor has: as i64 the last is -1, which libtorch reads as "infer it".
        for shape in ["[0,9223372036854775808]", "[0,18446744073709551615]"] {
            let text = read(&tensor(shape)).unwrap_err().to_string();
            assert!(text.starts_with("a: x: expected a shape"), "{text}");
        }
        // safetensors quotes an unknown dtype in its error.
        let long = "\\n".repeat(10_000);
        let text = read(&format!(r#""x":{{"dtype":"{long}","shape":[0],"data_offsets":[0,0]}}"#));
        let text = text.unwrap_err().to_string();
        assert!(!text.contains('\n') && text.len() < 2_000, "{text}");
    }
}
