//! Patterns of file names: `*` is any part of a name, `?` any character, `**` any folders. What they stand for names the
//! pair.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::names::name;
use crate::error::{Error, Result};

/// Lists the files of a pattern in a folder, by what its signs stand for.
///
/// # Errors
/// [`Error::Content`] for a pattern without files, and for two files of one name.
pub(super) fn matched(folder: &Path, pattern: &str) -> Result<BTreeMap<String, PathBuf>> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let start = if pattern.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() };
    let mut all = Vec::new();
    walk(&start, &parts, &mut Vec::new(), &mut all);
    all.sort();
    let mut found = BTreeMap::new();
    for (key, path) in all {
        if let Some(other) = found.insert(key.clone(), path.clone()) {
            let (one, two) = (name(&other), name(&path));
            let text = format!("{pattern}: expected one picture for `{key}`, got {one} and {two}");
            return Err(Error::content(folder, text));
        }
    }
    match found.is_empty() {
        true => Err(Error::content(folder, format!("expected files of the pattern `{pattern}`, got none"))),
        false => Ok(found),
    }
}

/// Adds the files below a folder that fit the parts of a pattern. `taken` holds what the signs above stand for.
fn walk(folder: &Path, parts: &[&str], taken: &mut Vec<String>, all: &mut Vec<(String, PathBuf)>) {
    let Some((part, rest)) = parts.split_first() else { return };
    let depth = taken.len();
    if *part == "**" {
        walk(folder, rest, taken, all);
    }
    if !part.contains(['*', '?']) {
        let path = folder.join(part);
        match rest.is_empty() {
            true if path.is_file() => all.push((taken.join("_"), path)),
            true => {}
            false => walk(&path, rest, taken, all),
        }
        return;
    }
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let Ok(text) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if text.starts_with('.') {
            continue;
        }
        if *part == "**" {
            // A link to a folder above would never end.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                taken.push(text);
                walk(&path, parts, taken, all);
            }
        } else if let Some(signs) = fit(&text, part) {
            // The kind of a file does not name it.
            let count = if rest.is_empty() && part.ends_with(".*") { signs.len() - 1 } else { signs.len() };
            taken.extend(signs.into_iter().take(count).map(str::to_owned).filter(|sign| !sign.is_empty()));
            match rest.is_empty() {
                true if path.is_file() => all.push((taken.join("_"), path)),
                true => {}
                false => walk(&path, rest, taken, all),
            }
        }
        taken.truncate(depth);
    }
}

/// Returns what the signs of a pattern stand for in a name, if it fits: the first signs as much as they can.
fn fit<'a>(text: &'a str, pattern: &str) -> Option<Vec<&'a str>> {
    let Some(place) = pattern.find(['*', '?']) else {
        return (text == pattern).then(Vec::new);
    };
    let rest = text.strip_prefix(&pattern[..place])?;
    let after = &pattern[place + 1..];
    let ends: Vec<usize> = match pattern[place..].starts_with('?') {
        true => rest.chars().next().map(char::len_utf8).into_iter().collect(),
        false => rest.char_indices().map(|(at, _)| at).chain([rest.len()]).rev().collect(),
    };
    ends.into_iter().find_map(|end| {
        let mut signs = fit(&rest[end..], after)?;
        signs.insert(0, &rest[..end]);
        Some(signs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_stand_for_parts_of_a_name() {
        assert_eq!(fit("0001_0.jpg", "*_0.jpg"), Some(vec!["0001"]));
        assert_eq!(fit("a_1_0.jpg", "*_0.*"), Some(vec!["a_1", "jpg"]));
        assert_eq!(fit("größe7.png", "größe?.png"), Some(vec!["7"]));
        assert_eq!(fit("0001_1.jpg", "*_0.jpg"), None);
        assert_eq!(fit("ab", "?"), None);
        assert_eq!(fit("", "*"), Some(vec![""]));
    }

    #[test]
    fn files_are_found_in_folders_that_fit() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["women/id_1/02_front.jpg", "women/id_2/01_front.jpg", "men/id_1/02_front.jpg", "men/.x_front.jpg"]
        {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let keys = |pattern: &str| -> Vec<String> { matched(folder.path(), pattern).unwrap().into_keys().collect() };
        assert_eq!(keys("*/id_*/*_front.jpg"), ["men_1_02", "women_1_02", "women_2_01"]);
        assert_eq!(keys("**/*_front.jpg"), ["men_id_1_02", "women_id_1_02", "women_id_2_01"]);
        assert_eq!(keys("./women/id_1/*.jpg"), ["02_front"]);
        let error = |pattern: &str| matched(folder.path(), pattern).unwrap_err().to_string();
        assert!(error("*.png").contains("expected files of the pattern `*.png`, got none"));
        std::fs::write(folder.path().join("women/id_1/02_front.png"), "x").unwrap();
        assert!(
            error("*/id_1/*_front.*")
                .contains("expected one picture for `women_02`, got 02_front.jpg and 02_front.png")
        );
    }
}
