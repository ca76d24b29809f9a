//! Sets of pictures: the humans and the articles of one folder, and which belong together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::names::{name, normal, without_ending};
use super::row::Row;

/// The folders of a set's splits.
pub(super) const SPLITS: [&str; 5] = ["train", "val", "valid", "validation", "test"];
/// The endings of the stems of humans and of articles in two folders, where no stem is in both.
pub(super) const BESIDE: [[&str; 2]; 2] = [["_0", "_1"], ["_1", "_5"]];
/// The endings of the stems of humans and of articles in one folder.
pub(super) const SUFFIXES: [[&str; 2]; 3] = [["_1", "_5"], ["_0", "_1"], ["_1_front", "_6_flat"]];

/// A file that no layout takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
    /// Whether it is a picture, or a link that should be one.
    pub picture: bool,
}

/// A choice or an omission of the reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The sentence.
    pub text: String,
    /// Whether pictures may be missing by mistake.
    pub warning: bool,
}

impl Note {
    pub(super) fn new(text: String, warning: bool) -> Note {
        Note { text, warning }
    }
}

/// The pictures of one side by stem.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub files: BTreeMap<String, PathBuf>,
    /// The stems by their composed form; None for a form of two stems.
    forms: HashMap<String, Option<String>>,
    /// What follows the stems in the files' names, as `_0` of DressCode's humans.
    ending: &'static str,
}

impl Side {
    pub(super) fn new(files: BTreeMap<String, PathBuf>) -> Side {
        Side::with_ending(files, "")
    }

    pub(super) fn with_ending(files: BTreeMap<String, PathBuf>, ending: &'static str) -> Side {
        let mut forms = HashMap::new();
        for stem in files.keys().filter(|stem| !stem.is_ascii()) {
            forms.entry(normal(stem).into_owned()).and_modify(|old| *old = None).or_insert_with(|| Some(stem.clone()));
        }
        Side { files, forms, ending }
    }

    /// Returns the stem of a file that a list names: with folders and endings, or without. A backslash parts folders, or
    /// belongs to the name.
    pub fn named(&self, name: &str) -> Option<&str> {
        let whole = name.rsplit('/').next().unwrap_or(name);
        let found = |name: &str| {
            let stem = without_ending(name);
            let bare = stem.strip_suffix(self.ending).filter(|bare| !bare.is_empty());
            bare.into_iter().chain([stem]).find_map(|stem| self.get(stem))
        };
        found(whole).or_else(|| found(whole.rsplit('\\').next()?)).map(|(stem, _)| stem)
    }

    /// Returns the stem and the file of a stem in any Unicode form.
    pub fn get(&self, stem: &str) -> Option<(&str, &PathBuf)> {
        let exact = self.files.get_key_value(stem);
        let found = exact.or_else(|| self.files.get_key_value(self.forms.get(&*normal(stem))?.as_deref()?))?;
        Some((found.0, found.1))
    }
}

/// The two sides of one folder.
#[derive(Debug, Default)]
pub(super) struct Set {
    /// The folder that was found to be a set.
    pub folder: PathBuf,
    /// The folder below the given one, for messages.
    pub place: String,
    pub split: Option<String>,
    /// DressCode's category, by the folder's name.
    pub category: Option<&'static str>,
    pub humans: Side,
    pub articles: Side,
    pub passed: Vec<PassedOver>,
    pub notes: Vec<Note>,
    /// Whether stems of one folder name the pairs.
    pub whole: bool,
    /// Whether the folder holds one product's pictures: they are one group, and most have no partner.
    pub product: bool,
}

/// Returns the article of the same name as a human, if there is one: of the same stem, or with the other ending where no
/// stem is on both sides.
pub(super) fn partners(set: &Set) -> impl Fn(&str) -> Option<String> {
    let both = |ending: &[&str; 2]| {
        let names = set.humans.files.keys().filter_map(|stem| stem.strip_suffix(ending[0]));
        names.map(|base| format!("{base}{}", ending[1])).any(|stem| set.articles.get(&stem).is_some())
    };
    let plain = set.humans.files.keys().any(|stem| set.articles.get(stem).is_some());
    let ending = if plain { None } else { BESIDE.iter().find(|ending| both(ending)) };
    move |human: &str| {
        let named = match ending {
            None => Some(human.to_owned()),
            Some([own, other]) => human.strip_suffix(own).map(|base| format!("{base}{other}")),
        };
        set.articles.get(&named?).map(|(stem, _)| stem.to_owned())
    }
}

/// Pairs by stem the humans that are wanted. Articles of no human have rows of their own.
pub(super) fn by_stem(set: &Set, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    let partner = partners(set);
    let mut used = HashSet::new();
    let mut rows = Vec::new();
    for (id, human) in &set.humans.files {
        let article = partner(id);
        let path = article.as_ref().map(|stem| set.articles.files[stem].clone());
        used.extend(article);
        if wanted(id) {
            let why = if path.is_none() { set.why(id) } else { None };
            let article = path.map(Into::into);
            rows.push(Row { id: id.clone(), human: Some(human.clone().into()), article, why, ..Row::default() });
        }
    }
    if rows.len() == set.humans.files.len() {
        for (id, article) in set.articles.files.iter().filter(|(stem, _)| !used.contains(*stem)) {
            let article = Some(article.clone().into());
            rows.push(Row { id: id.clone(), article, why: set.why(id), ..Row::default() });
        }
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

impl Set {
    /// The name of a pair beside other sets that have the same one.
    pub(super) fn id_of(&self, id: &str) -> String {
        match self.place.is_empty() {
            true => id.to_owned(),
            false => format!("{}_{id}", self.place.replace('/', "_")),
        }
    }

    /// Explains why a picture has no partner, by a file that was passed over.
    pub(super) fn why(&self, stem: &str) -> Option<String> {
        let own = normal(stem);
        let mut names = vec![own.to_string()];
        let base = BESIDE.iter().flatten().find_map(|ending| own.strip_suffix(ending)).or(self.whole.then_some(&own));
        let endings = BESIDE.iter().chain(&SUFFIXES).flatten();
        names.extend(base.into_iter().flat_map(|base| endings.clone().map(move |ending| format!("{base}{ending}"))));
        let near = |path: &Path| {
            let name = name(path);
            let name = normal(&name).into_owned();
            names.iter().any(|own| name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        };
        let passed = self.passed.iter().find(|passed| near(&passed.path))?;
        let folder = passed.path.parent().map(name).unwrap_or_default();
        Some(format!("`{folder}/{}`: {}", name(&passed.path), passed.reason))
    }
}

/// Finds the stem of a picture in several sets; of several, in the set of the category.
pub(super) fn find_in<'a>(
    sets: &'a [Set],
    name: &str,
    side: impl Fn(&Set) -> &Side,
    category: Option<&str>,
) -> Option<(&'a Set, String)> {
    let found = sets.iter().filter_map(|set| side(set).named(name).map(|stem| (set, stem.to_owned())));
    let all: Vec<(&Set, String)> = found.collect();
    let own = all.iter().position(|(set, _)| category.is_some() && set.category == category);
    all.into_iter().nth(own.unwrap_or(0))
}

/// DressCode's categories, by their number in its lists.
const CATEGORIES: [&str; 3] = ["upper_body", "lower_body", "dresses"];

/// Returns the category of a word at the end of a list's line: a number or a name.
pub(super) fn category(word: &str) -> Option<&'static str> {
    let number = word.parse::<usize>().ok().and_then(|number| CATEGORIES.get(number));
    number.or_else(|| CATEGORIES.iter().find(|name| **name == word)).copied()
}

/// Returns the category whose pictures a folder holds, by its name or by that of the folder above.
pub(super) fn category_of(folder: &Path) -> Option<&'static str> {
    let real = std::fs::canonicalize(folder).ok()?;
    real.ancestors().take(2).find_map(|folder| category(&name(folder)))
}
