//! The text files of try-on sets: on each line the names of a human and of an article, and in DressCode the number of a
//! category.
//!
//! A list is found by its place and its content: `pairs.txt` or `train_pairs.txt` in the set's folder, `train_pairs.txt`
//! beside a folder `train`, or a list beside the folder that names its files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::names::{fresh, name, stem};
use super::row::Row;
use super::sets::{Note, SPLITS, Set, by_stem, category, find_in, partners};
use super::table::utf8;
use crate::error::{AtPath, Error, Result};

/// The lines that show whether a list is of a folder.
const LOOKED_AT: usize = 20;

/// The text files of a set.
#[derive(Debug)]
pub struct Text {
    lists: Vec<List>,
    notes: Vec<Note>,
}

/// One text file.
#[derive(Debug)]
struct List {
    path: PathBuf,
    split: Option<&'static str>,
    lines: Vec<Line>,
}

/// One line: names as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    human: String,
    article: String,
    category: Option<&'static str>,
}

impl Line {
    /// Whether the sets hold the pictures of the line's category, as far as folders tell.
    fn concerns(&self, sets: &[Set]) -> bool {
        let all: Option<Vec<&str>> = sets.iter().map(|set| set.category).collect();
        match (self.category, all) {
            (Some(category), Some(all)) => all.contains(&category),
            _ => true,
        }
    }
}

/// Reads the lists of a set: in its folder, or beside it.
///
/// # Errors
/// [`Error::Content`] with the list and the line.
pub(super) fn of(set: &Set) -> Result<Option<Text>> {
    let sets = std::slice::from_ref(set);
    let real = std::fs::canonicalize(&set.folder).at(&set.folder)?;
    let own: Vec<String> = [&set.folder, &real].map(|folder| name(folder)).into();
    let parents: Vec<&Path> = [&set.folder, &real].into_iter().filter_map(|folder| folder.parent()).collect();
    // The list of the folder's own name comes first.
    for place in std::iter::once(set.folder.as_path()).chain(parents.iter().copied()) {
        let named: Vec<PathBuf> = lists_in(place).into_iter().filter(|path| own.contains(&word(path))).collect();
        if !named.is_empty() {
            return chosen(named, sets).map(Some);
        }
    }
    let inside = known_lists(&set.folder, sets)?;
    if !inside.is_empty() {
        return chosen(inside, sets).map(Some);
    }
    // A category's lists may lie beside its folder, the pictures in one more.
    let further = if set.category.is_some() { 2 } else { 1 };
    for parent in real.ancestors().skip(1).take(further) {
        let mut beside = known_lists(parent, sets)?;
        // That of another folder, as of `test` beside `train`.
        beside.retain(|path| word(path).is_empty() || !parent.join(word(path)).is_dir());
        beside.retain(|path| is_of(path, sets));
        if !beside.is_empty() {
            return chosen(beside, sets).map(Some);
        }
    }
    Ok(None)
}

/// Reads the lists in the folder of several sets, as DressCode's.
///
/// # Errors
/// As [`of`].
pub(super) fn above(sets: &[Set]) -> Result<Option<Text>> {
    let parents: HashSet<Option<&Path>> = sets.iter().map(|set| set.folder.parent()).collect();
    let Some(folder) = parents.iter().next().copied().flatten().filter(|_| parents.len() == 1 && sets.len() > 1) else {
        return Ok(None);
    };
    let splits: Vec<String> = sets.iter().map(|set| name(&set.folder)).collect();
    let mut found = known_lists(folder, sets)?;
    found.retain(|path| !splits.contains(&word(path)) && is_of(path, sets));
    match found.is_empty() {
        true => Ok(None),
        false => chosen(found, sets).map(Some),
    }
}

/// The text files of pairs in a folder, by their names.
fn lists_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_list = |path: &PathBuf| {
        let name = name(path).to_lowercase();
        name.contains("pairs") && name.ends_with(".txt") && !name.starts_with('.')
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_list).collect();
    found.sort();
    found
}

/// Drops the lists of unusual names that name no file of the sets: they are of something else.
fn known_lists(folder: &Path, sets: &[Set]) -> Result<Vec<PathBuf>> {
    let usual = |path: &Path| word(path).is_empty() || SPLITS.contains(&word(path).as_str());
    Ok(lists_in(folder).into_iter().filter(|path| usual(path) || is_of(path, sets)).collect())
}

/// The word of a list's name beside `pairs`: `train` of `train_pairs.txt` and of `train_pairs_paired.txt`.
fn word(path: &Path) -> String {
    let name = name(path).to_lowercase();
    let stem = name.strip_suffix(".txt").unwrap_or(&name);
    let parts = stem.split(['_', '-', ' ', '.']).filter(|part| !["pairs", "paired", "unpaired", ""].contains(part));
    parts.collect::<Vec<_>>().join("_")
}

/// Whether the first lines of a list name files of the sets.
fn is_of(path: &Path, sets: &[Set]) -> bool {
    let lines = read(path, sets, LOOKED_AT).unwrap_or_default();
    let both = |line: &Line| known(sets, &line.human, 0) && known(sets, &line.article, 1);
    2 * lines.iter().filter(|line| both(line)).count() > lines.len()
}

fn known(sets: &[Set], name: &str, side: usize) -> bool {
    sets.iter().any(|set| if side == 0 { &set.humans } else { &set.articles }.named(name).is_some())
}

/// Reads the lists that decide: `pairs.txt`, else one for each split, and of several for one split that of the worn
/// articles.
fn chosen(found: Vec<PathBuf>, sets: &[Set]) -> Result<Text> {
    let mut words: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in found {
        words.entry(word(&path)).or_default().push(path);
    }
    let mut notes = Vec::new();
    let mut unused = |path: &Path, other: &Path| {
        let text = format!("`{}` is not used: `{}` decides", name(path), name(other));
        notes.push(Note::new(text, !may_try_on(path)));
    };
    let mut lists = Vec::new();
    let plain = words.contains_key("").then(|| words[""][0].clone());
    let several = plain.is_none() && words.len() > 1;
    for (word, mut paths) in words {
        paths.sort_by_key(|path| (is_unpaired(path), path.clone()));
        if let Some(plain) = plain.as_ref().filter(|_| !word.is_empty()) {
            paths.iter().for_each(|path| unused(path, plain));
            continue;
        }
        paths[1..].iter().for_each(|path| unused(path, &paths[0]));
        let split = SPLITS.into_iter().find(|split| several && *split == word);
        let lines = read(&paths[0], sets, usize::MAX).map_err(|message| Error::content(&paths[0], message))?;
        lists.push(List { path: paths.remove(0), split, lines });
    }
    // `train` before `test`.
    lists.sort_by_key(|list| SPLITS.iter().position(|split| list.split == Some(split)));
    Ok(Text { lists, notes })
}

fn is_unpaired(path: &Path) -> bool {
    name(path).to_lowercase().contains("unpaired")
}

/// Whether the convention lets a list hold articles to try on: lists of tests do.
fn may_try_on(list: &Path) -> bool {
    is_unpaired(list) || SPLITS[1..].contains(&word(list).as_str())
}

impl Text {
    /// Pairs humans and articles as the lists do. Where a list of a test gives a human another article than that of its
    /// own name, it lists articles to try on, and the names decide.
    ///
    /// # Errors
    /// [`Error::Content`] for a list without lines.
    pub(super) fn rows(mut self, folder: &Path, sets: &[Set], notes: &mut Vec<Note>) -> Result<Vec<Row>> {
        notes.append(&mut self.notes);
        let alone = self.lists.len() == 1;
        let partners: Vec<_> = sets.iter().map(|set| (set, partners(set))).collect();
        let mut rows = Vec::new();
        let mut listed: HashSet<(PathBuf, String)> = HashSet::new();
        for list in &self.lists {
            let shown =
                list.path.strip_prefix(folder).map_or_else(|_| name(&list.path), |path| path.display().to_string());
            let elsewhere = list.lines.iter().filter(|line| !line.concerns(sets)).count();
            if elsewhere > 0 {
                let text = format!("`{shown}` also lists {elsewhere} pairs of categories that are not here");
                notes.push(Note::new(text, false));
            }
            let found: Vec<_> = (list.lines.iter().filter(|line| line.concerns(sets)))
                .map(|line| {
                    let human = find_in(sets, &line.human, |set| &set.humans, line.category);
                    let article = find_in(sets, &line.article, |set| &set.articles, line.category);
                    (line, [human, article])
                })
                .collect();
            let own = |(set, human): &(&Set, String)| {
                partners.iter().find(|(other, _)| std::ptr::eq(*other, *set)).and_then(|(_, partner)| partner(human))
            };
            let tries_on = may_try_on(&list.path)
                && found.iter().any(|(line, [human, article])| {
                    let given = article.as_ref().map_or_else(|| stem(&line.article), |(_, article)| article);
                    human.as_ref().and_then(own).is_some_and(|own| own != given)
                });
            let humans = found.iter().filter_map(|(_, [human, _])| human.as_ref());
            listed.extend(humans.clone().map(|(set, human)| (set.folder.clone(), human.clone())));
            if tries_on {
                let text = format!("`{shown}` lists articles to try on: the pairs are those of equal names");
                notes.push(Note::new(text, false));
                let wanted: HashSet<(&Path, &str)> =
                    humans.map(|(set, human)| (set.folder.as_path(), human.as_str())).collect();
                for set in sets {
                    let own = by_stem(set, |human| alone || wanted.contains(&(set.folder.as_path(), human)));
                    listed.extend(own.iter().map(|row| (set.folder.clone(), row.id.clone())));
                    rows.extend(
                        own.into_iter().map(|row| (Some(set), Row { split: split_of(list, Some(set)), ..row })),
                    );
                }
                continue;
            }
            for (line, [human, article]) in found {
                let missing = [(&human, &line.human), (&article, &line.article)];
                let why = missing.iter().find(|(found, _)| found.is_none()).map(|(_, name)| {
                    let passed = sets.iter().find_map(|set| set.why(stem(name)));
                    passed.unwrap_or_else(|| format!("`{shown}` names `{name}`, and no such picture is there"))
                });
                let set = human.as_ref().or(article.as_ref()).map(|(set, _)| *set);
                let row = Row {
                    id: human.as_ref().map_or_else(|| stem(&line.human).to_owned(), |(_, human)| human.clone()),
                    human: human.map(|(set, stem)| set.humans.files[&stem].clone().into()),
                    article: article.map(|(set, stem)| set.articles.files[&stem].clone().into()),
                    split: split_of(list, set),
                    line: line.number,
                    why,
                    ..Row::default()
                };
                rows.push((set, row));
            }
        }
        let humans = sets.iter().map(|set| set.humans.files.len()).sum::<usize>();
        if humans > listed.len() {
            let names: Vec<String> = self.lists.iter().map(|list| format!("`{}`", name(&list.path))).collect();
            let text = format!("{} of {humans} people are not in {}", humans - listed.len(), names.join(", "));
            notes.push(Note::new(text, false));
        }
        let mut rows = with_places(rows);
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        name_apart(&mut rows);
        Ok(rows)
    }
}

fn split_of(list: &List, set: Option<&Set>) -> Option<String> {
    list.split.map(str::to_owned).or_else(|| set?.split.clone())
}

/// Puts the sets' places into the ids, if people of two sets have one name.
fn with_places(rows: Vec<(Option<&Set>, Row)>) -> Vec<Row> {
    let place = |set: &Option<&Set>| set.map_or(PathBuf::new(), |set| set.folder.clone());
    let mut places: HashMap<&str, PathBuf> = HashMap::new();
    let clash = rows.iter().any(|(set, row)| {
        let place = place(set);
        *places.entry(row.id.as_str()).or_insert_with(|| place.clone()) != place
    });
    let named = |(set, row): (Option<&Set>, Row)| match set.filter(|_| clash) {
        Some(set) => Row { id: set.id_of(&row.id), ..row },
        None => row,
    };
    rows.into_iter().map(named).collect()
}

/// Gives the rows of one person names of their own.
fn name_apart(rows: &mut [Row]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    rows.iter().for_each(|row| *counts.entry(row.id.clone()).or_default() += 1);
    let mut taken: HashSet<String> = counts.keys().cloned().collect();
    let mut seen = HashSet::new();
    for row in rows {
        if !seen.insert(row.id.clone()) {
            row.id = fresh(&row.id, |id| taken.contains(id));
            taken.insert(row.id.clone());
        }
    }
}

/// Reads at most `most` lines of a list.
fn read(path: &Path, sets: &[Set], most: usize) -> std::result::Result<Vec<Line>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    parse(&bytes, most, |name, side| known(sets, name, side), |line| most == usize::MAX || line.concerns(sets))
}

/// Parses at most `most` lines of those that are wanted. `known` says whether a name is that of a human (0) or of an
/// article (1): it decides where a name with spaces ends.
fn parse(
    bytes: &[u8],
    most: usize,
    known: impl Fn(&str, usize) -> bool,
    wanted: impl Fn(&Line) -> bool,
) -> std::result::Result<Vec<Line>, String> {
    let text = utf8(bytes)?.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut found = Vec::new();
    for (place, line) in text.split(['\n', '\r']).enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = place + 1;
        let wrong = || format!("line {number}: expected `human article`, got `{line}`");
        let (names, category) = cut(line, &known).ok_or_else(wrong)?;
        let line = Line { number, human: names[0].to_owned(), article: names[1].to_owned(), category };
        if wanted(&line) {
            found.push(line);
        }
        if found.len() == most {
            break;
        }
    }
    Ok(found)
}

/// Cuts a line into two names and, at its end, a category. Between them stand tabs, commas or spaces, and names may hold
/// spaces of any kind.
fn cut(line: &str, known: impl Fn(&str, usize) -> bool) -> Option<([&str; 2], Option<&'static str>)> {
    let parted = |delimiter: char| -> Option<([&str; 2], Option<&'static str>)> {
        let words: Vec<&str> = line.split(delimiter).map(str::trim).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [human, article] => Some(([human, article], None)),
            [human, article, last] => Some(([human, article], category(last))),
            _ => None,
        }
    };
    if line.contains('\t') {
        return parted('\t');
    }
    let simple = parted(' ');
    if let Some(([human, article], _)) = simple
        && known(human, 0)
        && known(article, 1)
    {
        return simple;
    }
    let line = line.trim_matches(' ');
    let last = line.rsplit_once(' ').filter(|(_, last)| category(last).is_some() || last.parse::<usize>().is_ok());
    let last = last.map(|(rest, last)| (rest, category(last)));
    for (line, category) in [Some((line, None)), last].into_iter().flatten() {
        for (place, _) in line.match_indices([' ', ',']) {
            let names = [line[..place].trim_matches(' '), line[place + 1..].trim_matches(' ')];
            if known(names[0], 0) && known(names[1], 1) {
                return Some((names, category));
            }
        }
    }
    simple.or_else(|| parted(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (usize, String, String, Option<&'static str>);

    fn lines(text: &str, known: &[&str]) -> std::result::Result<Vec<Parts>, String> {
        let all = parse(text.as_bytes(), usize::MAX, |name, _| known.contains(&name), |_| true)?;
        Ok(all.into_iter().map(|l| (l.number, l.human, l.article, l.category)).collect())
    }

    #[test]
    fn names_are_parted_by_any_blank_and_may_hold_blanks() {
        let one = |text: &str, known: &[&str]| lines(text, known).unwrap().remove(0);
        let ab = |human: &str, article: &str, category| (1, human.to_owned(), article.to_owned(), category);
        assert_eq!(one("a.jpg b.jpg\n", &[]), ab("a.jpg", "b.jpg", None));
        assert_eq!(one("\u{feff}a.jpg\tb.jpg\t2\r\n", &[]), ab("a.jpg", "b.jpg", Some("dresses")));
        assert_eq!(one("a.jpg,b.jpg", &[]), ab("a.jpg", "b.jpg", None));
        assert_eq!(one("  a.jpg   b.jpg 0 ", &[]), ab("a.jpg", "b.jpg", Some("upper_body")));
        assert_eq!(one("my a.jpg my b.jpg", &["my a.jpg", "my b.jpg"]), ab("my a.jpg", "my b.jpg", None));
        assert_eq!(one("my a.jpg b.jpg", &["my a.jpg", "b.jpg"]), ab("my a.jpg", "b.jpg", None));
        assert_eq!(one("my a.jpg b.jpg 1", &["my a.jpg", "b.jpg"]), ab("my a.jpg", "b.jpg", Some("lower_body")));
        assert_eq!(one("a\u{3000}b.jpg c\u{a0}d.jpg", &[]), ab("a\u{3000}b.jpg", "c\u{a0}d.jpg", None));
    }

    #[test]
    fn lines_are_counted_with_the_empty_ones_and_a_wrong_one_is_named() {
        let numbers: Vec<usize> = lines("a b\r\n\r\nc d\re f", &[]).unwrap().iter().map(|line| line.0).collect();
        assert_eq!(numbers, [1, 3, 4]);
        assert_eq!(lines("a b\nc\n", &[]).unwrap_err(), "line 2: expected `human article`, got `c`");
        assert_eq!(lines("a b c d\n", &[]).unwrap_err(), "line 1: expected `human article`, got `a b c d`");
        assert!(parse(b"a b\n\xff\xfe", 9, |_, _| true, |_| true).unwrap_err().starts_with("line 2: expected UTF-8"));
    }

    #[test]
    fn changed_lists_are_lines_or_errors() {
        let mut state = 7_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let text = "\u{feff}a.jpg b.jpg 2\r\nmy a.jpg\tmy b.jpg\tdresses\n\nx\\y.png,größe.png\ra b c d\n".as_bytes();
        let parts: [&[u8]; 7] =
            [b" ", b"\t", b",", b"\r\n", b"\xff", "\u{3000}".as_bytes(), b"99999999999999999999999"];
        let mut both = [0; 2];
        for _ in 0..200_000 {
            let mut bytes = text.to_vec();
            for _ in 0..draw(4) + 1 {
                let at = draw(bytes.len());
                match draw(3) {
                    0 => drop(bytes.drain(at..(at + draw(9)).min(bytes.len()))),
                    1 => bytes[at] = draw(256) as u8,
                    _ => drop(bytes.splice(at..at, parts[draw(parts.len())].iter().copied())),
                }
                bytes.push(b'\n');
            }
            let found = parse(&bytes, 1 + draw(9), |name, _| name.len() % 2 == 0, |_| true);
            both[usize::from(found.is_ok())] += 1;
            if let Err(message) = found {
                assert!(message.starts_with("line "), "{message}");
            }
        }
        assert!(both[0] > 10_000 && both[1] > 10_000, "{both:?}");
    }

    #[test]
    fn a_lists_word_is_its_split() {
        let words = ["pairs.txt", "train_pairs.txt", "test_pairs_unpaired.txt", "Pairs-Mine.txt"];
        assert_eq!(words.map(|name| word(Path::new(name))), ["", "train", "test", "mine"]);
    }
}
