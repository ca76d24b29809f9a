//! Weights that the package brings, by name.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The names of the weights.
const NAMES: [&str; 1] = ["dolls"];

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Says where the package's weights lie. The first call counts.
pub fn set_packaged(folder: PathBuf) {
    FOLDER.get_or_init(|| folder);
}

/// Returns the file of the package's weights if the path is their name, else the path. A snapshot or a run of that name
/// in the process's own folder comes first; a folder of anything else does not.
pub fn packaged(path: &Path) -> PathBuf {
    let own = || path.is_file() || ["snapshots", "checkpoints"].iter().any(|part| path.join(part).is_dir());
    let weights = |name: &&str| Some(FOLDER.get()?.join(format!("{name}.safetensors")));
    let name = NAMES.iter().find(|name| path.as_os_str() == **name && !own());
    name.and_then(weights).unwrap_or_else(|| path.to_owned())
}
