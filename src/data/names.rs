//! Names of files as people write them: endings, stems, Unicode forms, Windows separators.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use super::strings::{Numbers, Strings};
use crate::error::Result;

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
    without_ending(name.rsplit(['/', '\\']).next().unwrap_or(name))
}

/// Cuts the ending of a picture off a name.
pub(super) fn without_ending(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, _)) if is_picture_name(name) && !stem.is_empty() => stem,
        _ => name,
    }
}

/// Finds files under names that differ from the written ones in their separators, their Unicode form or their case.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Each folder's names by their composed form in lower case.
    folders: HashMap<PathBuf, HashMap<String, Vec<OsString>>>,
}

impl Finder {
    /// Returns the file of another spelling, if there is one.
    pub fn find(&mut self, path: &Path) -> Option<PathBuf> {
        let text = path.to_str()?;
        let turned = PathBuf::from(text.replace('\\', "/"));
        if turned != path && turned.is_file() {
            return Some(turned);
        }
        let parts: Vec<Component<'_>> = turned.components().collect();
        self.below(PathBuf::new(), &parts, Path::is_file)
    }

    /// Returns the folder of another form, if there is one.
    pub fn find_folder(&mut self, path: &Path) -> Option<PathBuf> {
        let parts: Vec<Component<'_>> = path.components().collect();
        self.below(PathBuf::new(), &parts, Path::is_dir)
    }

    /// Returns what the parts stand for in a folder. The written name of a part comes before its other forms.
    fn below(&mut self, found: PathBuf, parts: &[Component<'_>], wanted: fn(&Path) -> bool) -> Option<PathBuf> {
        let Some((part, rest)) = parts.split_first() else { return wanted(&found).then_some(found) };
        let Component::Normal(name) = part else { return self.below(found.join(part), rest, wanted) };
        let next = found.join(name);
        if next.symlink_metadata().is_ok()
            && let Some(place) = self.below(next, rest, wanted)
        {
            return Some(place);
        }
        let other = self.other_form(&found, name.to_str()?)?;
        self.below(found.join(other), rest, wanted)
    }

    /// Returns the name in a folder that differs from the written one in its form, or else in its case, if it is the only
    /// one.
    pub fn other_form(&mut self, folder: &Path, name: &str) -> Option<OsString> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let names = self.folders.entry(folder.into()).or_insert_with_key(|folder| names_in(folder));
        let others: Vec<&OsString> = names.get(&folded(name))?.iter().filter(|other| *other != name).collect();
        let same = |other: &&&OsString| other.to_str().is_some_and(|other| normal(other) == normal(name));
        let alike: Vec<&OsString> = others.iter().filter(same).copied().collect();
        match (&alike[..], &others[..]) {
            ([found], _) | ([], [found]) => Some((*found).clone()),
            _ => None,
        }
    }
}

/// The composed form of a name in lower case.
fn folded(name: &str) -> String {
    normal(name).to_lowercase()
}

fn names_in(folder: &Path) -> HashMap<String, Vec<OsString>> {
    let mut names: HashMap<String, Vec<OsString>> = HashMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(text) = name.to_str() {
            names.entry(folded(text)).or_default().push(name.clone());
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

/// Names that are taken. It finds a fresh one as [`fresh`] does, in the same time however many there are.
///
/// ```
/// let mut namer = cagan::data::Namer::default();
/// assert_eq!([namer.fresh("a")?, namer.fresh("a")?], ["a", "a_2"]);
/// assert!(namer.take("a_3")? && !namer.take("a_2")?);
/// assert_eq!(namer.fresh("a")?, "a_4");
/// # Ok::<(), cagan::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Namer {
    strings: Strings,
    numbers: Numbers,
    /// The last number of each name that had one.
    last: HashMap<u32, usize>,
    count: usize,
}

impl Namer {
    /// Takes a name. Returns whether it was free.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] for more names than numbers.
    pub fn take(&mut self, name: &str) -> Result<bool> {
        Ok(self.place(name)?.1)
    }

    /// Takes a name. Returns its place among the names and whether it was free.
    pub(super) fn place(&mut self, name: &str) -> Result<(usize, bool)> {
        let place = self.numbers.of(name, &mut self.strings)? as usize;
        let is_new = place == self.count;
        self.count += usize::from(is_new);
        Ok((place, is_new))
    }

    /// Takes and returns `name`, or `name_2`, `name_3` and so on: the first that is free.
    ///
    /// # Errors
    /// As [`Namer::take`].
    pub fn fresh(&mut self, name: &str) -> Result<String> {
        let (place, is_new) = self.place(name)?;
        if is_new {
            return Ok(name.to_owned());
        }
        let mut number = self.last.get(&(place as u32)).copied().unwrap_or(1);
        loop {
            number += 1;
            let found = format!("{name}_{number}");
            if self.take(&found)? {
                self.last.insert(place as u32, number);
                return Ok(found);
            }
        }
    }
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
        // The folder of the written form does not hide that of the other.
        let other = folder.path().join("caf\u{e9}");
        std::fs::create_dir(&other).unwrap();
        assert_eq!(Finder::default().find(&other.join("\u{e9}.png")), Some(real));
        assert_eq!(finder.find(Path::new("nowhere\\e.png")), None);
    }

    #[test]
    fn a_file_is_found_in_another_case_if_it_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let [human, upper, lower] = ["human", "human/1.PNG", "human/1.png"].map(|name| folder.path().join(name));
        std::fs::create_dir(&human).unwrap();
        std::fs::write(&upper, "x").unwrap();
        let written = folder.path().join("Human\\1.Png");
        assert_eq!(Finder::default().find(&written), Some(upper));
        std::fs::write(&lower, "x").unwrap();
        // On some systems both are one file.
        if std::fs::read_dir(&human).unwrap().count() == 2 {
            assert_eq!(Finder::default().find(&written), None);
        }
    }

    #[test]
    fn a_fresh_name_is_not_taken() {
        let taken = ["a", "a_2"];
        assert_eq!(fresh("a", |name| taken.contains(&name)), "a_3");
        assert_eq!(fresh("b", |name| taken.contains(&name)), "b");
    }
}
