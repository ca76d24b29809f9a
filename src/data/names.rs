//! Names of files as people write them: endings, stems, Unicode forms, Windows separators.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// The file endings of pictures.
pub(super) const ENDINGS: [&str; 15] =
    ["jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "png", "webp", "bmp", "tif", "tiff", "gif", "avif", "heic", "heif"];

/// Returns a name in Unicode's composed form (NFC), in which names from any system are equal.
pub(super) fn normal(name: &str) -> Cow<'_, str> {
    match name.is_ascii() {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.nfc().collect()),
    }
}

/// The name of a file or folder.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into()
}

/// Whether a name has the ending of a picture.
pub(super) fn is_picture_name(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ENDINGS.contains(&ending.to_ascii_lowercase().as_str())
}

/// Cuts folders and the ending of a picture off a name in a list. Separators may be those of Windows.
pub(super) fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, _)) if is_picture_name(name) && !stem.is_empty() => stem,
        _ => name,
    }
}

/// Finds files under names that differ from the written ones in their separators or their Unicode form.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Each folder's names by their composed form. A form that two names have is left out.
    folders: HashMap<PathBuf, HashMap<String, Option<OsString>>>,
}

impl Finder {
    /// Returns the file of another spelling, if there is one.
    pub fn find(&mut self, path: &Path) -> Option<PathBuf> {
        let text = path.to_str()?;
        let turned = PathBuf::from(text.replace('\\', "/"));
        if turned != path && turned.is_file() {
            return Some(turned);
        }
        match text.is_ascii() {
            true => None,
            false => self.in_other_form(&turned),
        }
    }

    fn in_other_form(&mut self, path: &Path) -> Option<PathBuf> {
        let mut found = PathBuf::new();
        for part in path.components() {
            let Component::Normal(name) = part else {
                found.push(part);
                continue;
            };
            let next = found.join(name);
            if next.symlink_metadata().is_ok() {
                found = next;
                continue;
            }
            let folder = if found.as_os_str().is_empty() { PathBuf::from(".") } else { found.clone() };
            let names = self.folders.entry(folder).or_insert_with_key(|folder| names_in(folder));
            found.push(names.get(&*normal(name.to_str()?))?.as_ref()?);
        }
        found.is_file().then_some(found)
    }
}

fn names_in(folder: &Path) -> HashMap<String, Option<OsString>> {
    let mut names = HashMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(text) = name.to_str() {
            let form = normal(text).into_owned();
            names.entry(form).and_modify(|old| *old = None).or_insert_with(|| Some(name.clone()));
        }
    }
    names
}

/// Returns `name`, or `name_2`, `name_3` and so on: the first that is new.
pub(super) fn fresh(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut found = name.to_owned();
    let mut number = 1;
    while taken(&found) {
        number += 1;
        found = format!("{name}_{number}");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_is_without_folders_and_without_a_pictures_ending() {
        let expected = [
            ("a/b/1_0.jpg", "1_0"),
            ("a\\b\\1.HEIC", "1"),
            ("v1.5", "v1.5"),
            ("v1.5.png", "v1.5"),
            ("1.jpg?x=2", "1.jpg?x=2"),
            ("", ""),
        ];
        for (name, expected) in expected {
            assert_eq!(stem(name), expected, "{name}");
        }
    }

    #[test]
    fn a_file_is_found_in_another_form_and_with_other_separators() {
        let folder = tempfile::tempdir().unwrap();
        // NFD on disk.
        let real = folder.path().join("cafe\u{301}").join("e\u{301}.png");
        std::fs::create_dir(real.parent().unwrap()).unwrap();
        std::fs::write(&real, "x").unwrap();
        let mut finder = Finder::default();
        for written in ["caf\u{e9}/\u{e9}.png", "caf\u{e9}\\e\u{301}.png", "cafe\u{301}\\\u{e9}.png"] {
            assert_eq!(finder.find(&folder.path().join(written)).as_ref(), Some(&real), "{written}");
        }
        assert_eq!(finder.find(&folder.path().join("caf\u{e9}/\u{e8}.png")), None);
        assert_eq!(finder.find(Path::new("nowhere\\e.png")), None);
    }

    #[test]
    fn a_fresh_name_is_not_taken() {
        let taken = ["a", "a_2"];
        assert_eq!(fresh("a", |name| taken.contains(&name)), "a_3");
        assert_eq!(fresh("b", |name| taken.contains(&name)), "b");
    }
}
