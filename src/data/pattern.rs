//! Patterns of file names: `*` is any part of a name, `?` any character, `**` any folders. What they stand for names the
//! pair.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::names::{Finder, name, normal};
use crate::error::{Error, Result};

/// Lists the files of a pattern in a folder, by what its signs stand for.
///
/// # Errors
/// [`Error::Content`] for a pattern without files, and for two files of one name.
pub(super) fn matched(folder: &Path, pattern: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.dedup_by(|next, part| *next == "**" && *part == "**");
    let start = if pattern.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() };
    let mut search = Search::default();
    search.walk(&start, &parts, &mut Vec::new());
    let mut all = search.found;
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

#[derive(Debug, Default)]
struct Search {
    /// What the signs stand for, and the file.
    found: Vec<(String, PathBuf)>,
    /// The folders with the number of parts that were left there: several `**` lead to one place in many ways.
    seen: HashSet<(PathBuf, usize)>,
    finder: Finder,
}

impl Search {
    /// Adds the files below a folder that fit the parts of a pattern. `taken` holds what the signs above stand for.
    fn walk(&mut self, folder: &Path, parts: &[&str], taken: &mut Vec<String>) {
        let Some((part, rest)) = parts.split_first() else { return };
        if !self.seen.insert((folder.into(), parts.len())) {
            return;
        }
        let depth = taken.len();
        if *part == "**" {
            self.walk(folder, rest, taken);
        }
        if !part.contains(['*', '?']) {
            self.enter(&folder.join(part), rest, taken);
            if !part.is_ascii()
                && let Some(other) = self.finder.other_form(folder, part)
            {
                self.enter(&folder.join(other), rest, taken);
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
                    self.walk(&path, parts, taken);
                }
            } else if let Some(signs) = fit(&normal(&text), &normal(part)) {
                // The kind of a file does not name it.
                let count = if rest.is_empty() && part.ends_with(".*") { signs.len() - 1 } else { signs.len() };
                taken.extend(signs[..count].iter().filter(|sign| !sign.is_empty()).map(|sign| (*sign).to_owned()));
                self.enter(&path, rest, taken);
            }
            taken.truncate(depth);
        }
    }

    /// Goes on in what a part stands for: a folder, or, for the last part, a file.
    fn enter(&mut self, path: &Path, rest: &[&str], taken: &mut Vec<String>) {
        match rest.is_empty() {
            true if path.is_file() => self.found.push((taken.join("_"), path.into())),
            true => {}
            false => self.walk(path, rest, taken),
        }
    }
}

/// Returns what the signs of a pattern stand for in a name, if it fits: the first signs as much as they can.
fn fit<'a>(text: &'a str, pattern: &str) -> Option<Vec<&'a str>> {
    let signs: Vec<char> = pattern.chars().collect();
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let letters: Vec<char> = text.chars().collect();
    // Whether the rest of the name fits the rest of the pattern, from the end: a search would try each way to part it.
    let mut fits = vec![vec![false; letters.len() + 1]; signs.len() + 1];
    fits[signs.len()][letters.len()] = true;
    for (at, sign) in signs.iter().enumerate().rev() {
        for from in (0..=letters.len()).rev() {
            let next = from < letters.len();
            fits[at][from] = match sign {
                '*' => fits[at + 1][from] || next && fits[at][from + 1],
                '?' => next && fits[at + 1][from + 1],
                letter => next && letters[from] == *letter && fits[at + 1][from + 1],
            };
        }
    }
    if !fits[0][0] {
        return None;
    }
    let (mut from, mut found) = (0, Vec::new());
    for (at, sign) in signs.iter().enumerate() {
        let end = match sign {
            '*' => (from..=letters.len()).rev().find(|&end| fits[at + 1][end])?,
            _ => from + 1,
        };
        if matches!(sign, '*' | '?') {
            found.push(&text[places[from]..places[end]]);
        }
        from = end;
    }
    Some(found)
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
        assert_eq!(fit("a_b_c", "*_*"), Some(vec!["a_b", "c"]));
        // A search that tries each way to part this name would not end.
        assert_eq!(fit(&"a".repeat(200), &format!("{}b", "*a".repeat(60))), None);
        assert_eq!(fit(&"a".repeat(200), &"*".repeat(200)).map(|signs| signs.len()), Some(200));
    }

    /// The plain meaning of a pattern: it tries each part of the name for the first sign.
    fn tried<'a>(text: &'a str, pattern: &str) -> Option<Vec<&'a str>> {
        let Some(place) = pattern.find(['*', '?']) else { return (text == pattern).then(Vec::new) };
        let rest = text.strip_prefix(&pattern[..place])?;
        let ends: Vec<usize> = match pattern[place..].starts_with('?') {
            true => rest.chars().next().map(char::len_utf8).into_iter().collect(),
            false => rest.char_indices().map(|(at, _)| at).chain([rest.len()]).rev().collect(),
        };
        ends.into_iter().find_map(|end| {
            let mut signs = tried(&rest[end..], &pattern[place + 1..])?;
            signs.insert(0, &rest[..end]);
            Some(signs)
        })
    }

    #[test]
    fn a_fit_is_the_first_of_a_search() {
        let mut state = 1_u64;
        let mut word = |letters: &[char], most: u64| -> String {
            let mut draw = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            (0..draw(most)).map(|_| letters[draw(letters.len() as u64) as usize]).collect()
        };
        let mut both = [0; 2];
        for _ in 0..200_000 {
            let (text, pattern) = (word(&['a', 'b', 'é'], 8), word(&['a', 'b', 'é', '*', '?', '*'], 7));
            let expected = tried(&text, &pattern);
            both[usize::from(expected.is_some())] += 1;
            assert_eq!(fit(&text, &pattern), expected, "{text} {pattern}");
        }
        assert!(both[0] > 10_000 && both[1] > 10_000, "{both:?}");
    }

    #[test]
    fn several_deep_signs_find_a_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let deep = ["a"; 20].join("/");
        std::fs::create_dir_all(folder.path().join(&deep)).unwrap();
        std::fs::write(folder.path().join(&deep).join("x.jpg"), "x").unwrap();
        let pattern = format!("{}x.jpg", "**/a/**/".repeat(8));
        assert_eq!(matched(folder.path(), &pattern).unwrap().len(), 1);
        assert_eq!(matched(folder.path(), "**/**/x.jpg").unwrap().len(), 1);
    }

    #[test]
    fn names_fit_in_any_unicode_form() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("cafe\u{301}")).unwrap();
        std::fs::write(folder.path().join("cafe\u{301}/e\u{301}1.jpg"), "x").unwrap();
        for pattern in ["caf\u{e9}/\u{e9}*.jpg", "c?f\u{e9}/\u{e9}1.jpg", "cafe\u{301}/\u{e9}*.jpg"] {
            assert_eq!(matched(folder.path(), pattern).unwrap().len(), 1, "{pattern}");
        }
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
