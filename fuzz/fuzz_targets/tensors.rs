//! Any bytes are a checkpoint's tensors, a snapshot whose generator can be built, or are refused in one line; memory
//! stays near their length.
#![no_main]

use std::path::{Path, PathBuf};

use cagan::inference::Swapper;
use cagan::storage::{Format, Snapshot, parse_tensors};
use tch::Device;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if let Some(file) = dressed(bytes) {
        read(&file);
    }
});

fn read(bytes: &[u8]) {
    let path = Path::new("file");
    let refused = |error: cagan::Error| {
        let text = error.to_string();
        assert!(text.starts_with("file: ") && !text.contains('\n'), "{text:?}");
    };
    match parse_tensors(bytes, path, Format { name: "cagan.checkpoint", version: "3" }) {
        Ok(file) => {
            let numbers: usize = file.tensors.iter().map(|(_, t)| t.numel()).sum();
            assert!(4 * numbers <= bytes.len());
        }
        Err(error) => refused(error),
    }
    let swapper = Snapshot::parse(bytes, path)
        .and_then(|snapshot| Swapper::of_snapshot(snapshot, PathBuf::from(path), Device::Cpu));
    if let Err(error) = swapper {
        refused(error);
    }
}

/// Three texts with 0xff between them as the entries of a file's header, the directory of its tensors and their bytes:
/// what chance would not put together.
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
