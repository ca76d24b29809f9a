//! Any bytes parse to a checkpoint's tensors, to a snapshot whose generator can be built, or fail with one line. Memory
//! stays close to their length.

use std::path::{Path, PathBuf};

use cagan::inference::Swapper;
use cagan::storage::{Format, Snapshot, parse_tensors};
use tch::Device;

/// Reads the bytes. Returns whether they were what they should be.
pub fn check(bytes: &[u8]) -> bool {
    let plain = read(bytes);
    dressed(bytes).is_some_and(|file| read(&file)) || plain
}

fn read(bytes: &[u8]) -> bool {
    let path = Path::new("file");
    let failed = |error: cagan::Error| {
        let text = error.to_string();
        assert!(text.starts_with("file: ") && !text.contains('\n'), "{text:?}");
    };
    let whole = match parse_tensors(bytes, path, Format { name: "cagan.checkpoint", version: "3" }) {
        Ok(file) => {
            let numbers: usize = file.tensors.iter().map(|(_, t)| t.numel()).sum();
            assert!(4 * numbers <= bytes.len());
            true
        }
        Err(error) => {
            failed(error);
            false
        }
    };
    let swapper = Snapshot::parse(bytes, path)
        .and_then(|snapshot| Swapper::of_snapshot(snapshot, PathBuf::from(path), Device::Cpu));
    if let Err(error) = swapper {
        failed(error);
    }
    whole
}

/// Makes a file of three parts that 0xff separates: the header's entries, the directory of tensors and their bytes.
/// Random bytes would hardly ever make one.
fn dressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut parts = bytes.splitn(3, |&byte| byte == 0xff);
    let [entries, directory, data] = [parts.next()?, parts.next()?, parts.next()?];
    let entries = serde_json::to_string(std::str::from_utf8(entries).ok()?).ok()?;
    let mut header = format!(r#"{{"__metadata__":{{"cagan":{entries}}}"#).into_bytes();
    for part in [directory, b"}"] {
        header.extend(part);
    }
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    Some(file)
}
