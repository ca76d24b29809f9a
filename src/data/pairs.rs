//! Pairs of humans with the articles they wear, and articles without a human: of a folder, a list, or made by hand.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::layouts;
use super::listing;
use super::names::{fresh, normal};
use super::row::Row;
use super::sets::{Note, PassedOver};
use super::source::Source;
use crate::error::{Error, Named, Result};

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The pair's name.
    pub id: String,
    /// The photo.
    pub human: Source,
    /// The product picture.
    pub article: Source,
    /// Pairs of one group share a person or an article: they stay on one side of a split, and none is another's target.
    pub group: Option<String>,
    /// The part of the set, as `train`.
    pub split: Option<String>,
}

/// An article without a human: a target, never worn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The article's name.
    pub id: String,
    /// Its picture.
    pub picture: Source,
}

/// A pair or an article that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The name of the pair or the article.
    pub id: String,
    /// The file that the reason is about.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
}

/// How a missing, lone or broken file is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Fails.
    #[default]
    Raise,
    /// Leaves the pair out and lists it.
    Skip,
}

/// How a folder is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How a missing, lone or broken file is handled.
    pub on_error: OnError,
    /// Whether articles without a human join as targets. Otherwise each is an error.
    pub extra_articles: bool,
    /// The folders or the patterns of the humans and of the articles, in place of a layout.
    pub sides: Option<[String; 2]>,
}

/// An ordered list of pairs with distinct ids.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// The folder that was read; None for pairs that were made by hand.
    pub folder: Option<PathBuf>,
    /// The pairs, in order.
    pub pairs: Vec<Pair>,
    /// Further targets: the articles without a human.
    pub extra: Vec<Article>,
    /// Pairs that `pairs.csv` excludes.
    pub excluded: Vec<LeftOut>,
    /// Pairs that [`OnError::Skip`] left out.
    pub skipped: Vec<LeftOut>,
    /// Files of the folder that no layout takes.
    pub passed_over: Vec<PassedOver>,
    /// What the reading of the folder chose or left out.
    pub notes: Vec<Note>,
    /// How a file that cannot be decoded later is handled.
    pub on_error: OnError,
    /// The place of each id, and of its composed form; made at the first question.
    places: OnceLock<HashMap<String, usize>>,
}

impl Pairs {
    /// Lists the pairs of a folder: those of `pairs.csv` in its order, else those of one of the [`layouts`] sorted by
    /// id; or those of a CSV file of any name. It opens no picture.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing folder or one of no known layout; [`Error::Content`] for a folder without
    /// pairs, a broken CSV and, with [`OnError::Raise`], a human or an article without its partner or its file.
    pub fn open(place: impl AsRef<Path>, options: &Options) -> Result<Pairs> {
        let place = place.as_ref();
        let is_list = place.is_file();
        let folder = if is_list { place.parent().unwrap_or(Path::new("")) } else { place };
        let csv = if is_list { place.to_owned() } else { folder.join("pairs.csv") };
        let mut pairs = Pairs { folder: Some(folder.into()), on_error: options.on_error, ..Pairs::default() };
        let (rows, file) = match &options.sides {
            Some(_) if is_list => {
                return Err(Error::setting("human", "a folder of pairs beside it", place.display()));
            }
            Some([human, article]) => (pairs.found(layouts::by_names(folder, human, article)?), folder),
            None if listing::exists(&csv)? => {
                if is_list && !is_csv(place) {
                    return Err(Error::content(
                        place,
                        "expected a folder, a .csv or a .parquet file, got another file",
                    ));
                }
                (listing::read(&csv)?, csv.as_path())
            }
            None => {
                let found = layouts::list(folder);
                if matches!(found, Err(Error::NotFound { .. }))
                    && let Some(below) = layouts::listed_below(folder)
                {
                    let mut pairs = Pairs::open(&below, options)?;
                    pairs.notes.push(layouts::note_of_list(&below));
                    return Ok(pairs);
                }
                (pairs.found(found?), folder)
            }
        };
        pairs.take(rows, file, options)?;
        Ok(pairs)
    }

    /// Makes pairs of rows, and of a folder if they have one: a row without a picture, or of a missing file, is an error or
    /// skipped, an excluded one is listed.
    ///
    /// ```
    /// use cagan::data::{Options, Pairs, Row, Source};
    /// let pixels = || Source::Pixels(std::sync::Arc::new(image::RgbImage::new(4, 4)), "a".into());
    /// let row = Row { id: "a".into(), human: Some(pixels()), article: Some(pixels()), ..Row::default() };
    /// let pairs = Pairs::of_rows(vec![row], None, &Options::default())?;
    /// assert_eq!(pairs.find("a")?.human, pixels());
    /// # Ok::<(), cagan::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Content`] as [`Pairs::open`], [`Error::Setting`] for an id that occurs twice.
    pub fn of_rows(rows: Vec<Row>, folder: Option<PathBuf>, options: &Options) -> Result<Pairs> {
        let mut seen = HashSet::new();
        if let Some(row) = rows.iter().find(|row| !seen.insert(row.id.as_str())) {
            return Err(Error::setting("id", "each once", format!("`{}` twice", row.id)));
        }
        let mut pairs = Pairs { folder, on_error: options.on_error, ..Pairs::default() };
        pairs.take(rows, Path::new("rows"), options)?;
        Ok(pairs)
    }

    /// Keeps what the reading of a folder left out, and returns its rows.
    fn found(&mut self, found: layouts::Found) -> Vec<Row> {
        self.passed_over = found.passed_over;
        self.notes = found.notes;
        found.rows
    }

    /// Sorts rows into pairs, further targets, excluded and skipped ones.
    fn take(&mut self, rows: Vec<Row>, file: &Path, options: &Options) -> Result<()> {
        let mut lines = Vec::new();
        for row in rows {
            if row.exclude {
                let path = row.human.or(row.article).map(|source| source.name().to_owned()).unwrap_or_default();
                self.excluded.push(LeftOut { id: row.id, path, reason: row.reason });
                continue;
            }
            match whole(row, options.extra_articles) {
                Ok(Whole::Pair(pair)) => self.pairs.push(pair),
                Ok(Whole::Article(article)) => self.extra.push(article),
                Err((left_out, line)) => {
                    lines.push(line);
                    self.skipped.push(left_out);
                }
            }
        }
        if options.on_error == OnError::Raise && !lines.is_empty() {
            return Err(self.refusal(file, &lines));
        }
        if self.pairs.is_empty() {
            let counts = [
                (self.excluded.len(), "excluded"),
                (self.skipped.len(), "skipped"),
                (self.passed_over.len(), "passed over"),
            ];
            let left = match counts.iter().all(|(count, _)| *count == 0) {
                true => String::new(),
                false => format!(" ({})", counts.map(|(count, what)| format!("{count} {what}")).join(", ")),
            };
            let first = self.passed_over.iter().find(|passed| passed.picture);
            let first =
                first.map(|passed| format!("; {}: {}", passed.path.display(), passed.reason)).unwrap_or_default();
            let text = format!("expected pairs of a human and an article, got none{left}{first}");
            return Err(Error::content(file, text));
        }
        self.group_people();
        Ok(())
    }

    /// Makes the pairs of one photo one group: what the person wears beside an article is no target for it.
    fn group_people(&mut self) {
        let mut firsts: HashMap<&Source, usize> = HashMap::new();
        let mut shared: Vec<(usize, usize)> = Vec::new();
        for (place, pair) in self.pairs.iter().enumerate() {
            let first = *firsts.entry(&pair.human).or_insert(place);
            if first != place {
                shared.push((first, place));
            }
        }
        let mut names: HashSet<String> = match shared.is_empty() {
            true => return,
            false => self.pairs.iter().filter_map(|pair| pair.group.clone()).collect(),
        };
        for (first, place) in shared {
            let name = [place, first].into_iter().find_map(|place| self.pairs[place].group.clone());
            let name = name.unwrap_or_else(|| fresh(&self.pairs[first].id, |name| names.contains(name)));
            names.insert(name.clone());
            for place in [first, place] {
                self.pairs[place].group.get_or_insert_with(|| name.clone());
            }
        }
    }

    /// Makes one error of all skipped pairs, with their lines in the list.
    fn refusal(&self, file: &Path, lines: &[usize]) -> Error {
        const SHOWN: usize = 5;
        let one = |(left_out, line): (&LeftOut, &usize)| {
            let place = match line {
                0 => String::new(),
                line => format!("line {line}: "),
            };
            let path = &left_out.path;
            let folder = self.folder.as_deref().unwrap_or(Path::new(""));
            let path = path.strip_prefix(folder).unwrap_or(path).display();
            format!("{place}{path}: {}", left_out.reason)
        };
        let shown: Vec<String> = self.skipped.iter().zip(lines).take(SHOWN).map(one).collect();
        let more = match lines.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let out = "; on_error=\"skip\" leaves such pairs out";
        Error::content(file, format!("{}{more}{out}", shown.join(", ")))
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether no pair is there.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns the place of the pair with that id, written in any Unicode form.
    pub fn position(&self, id: &str) -> Option<usize> {
        let places = self.places.get_or_init(|| {
            let forms = self.pairs.iter().enumerate().map(|(place, pair)| (normal(&pair.id).into_owned(), place));
            let mut places: HashMap<String, usize> = forms.collect();
            // An exact id comes before another one's composed form.
            places.extend(self.pairs.iter().enumerate().map(|(place, pair)| (pair.id.clone(), place)));
            places
        });
        places.get(id).or_else(|| places.get(&*normal(id))).copied()
    }

    /// Returns the pair with that id.
    ///
    /// # Errors
    /// [`Error::Excluded`] for one that a list excludes or that could not be read; [`Error::UnknownName`] with the nearest
    /// id.
    pub fn find(&self, id: &str) -> Result<&Pair> {
        if let Some(place) = self.position(id) {
            return Ok(&self.pairs[place]);
        }
        let left_out = self.excluded.iter().chain(&self.skipped).find(|left_out| left_out.id == id);
        Err(match left_out {
            Some(LeftOut { path, reason, .. }) => {
                Error::Excluded { name: id.into(), reason: format!("{reason} ({})", path.display()) }
            }
            None => Error::unknown(Named::Id, id, self.pairs.iter().map(|p| p.id.as_str())),
        })
    }

    /// Counts the pairs of each named split. Pairs without a split do not count.
    pub fn splits(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for split in self.pairs.iter().filter_map(|pair| pair.split.as_deref()) {
            *counts.entry(split).or_default() += 1;
        }
        counts
    }

    /// Returns the pairs of one named split. Articles without a human go with every split.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a split without pairs.
    pub fn of_split(&self, split: &str) -> Result<Pairs> {
        let splits = self.splits();
        if !splits.contains_key(split) {
            return Err(Error::unknown(Named::Split, split, splits.into_keys()));
        }
        Ok(self.with(|_, pair| pair.split.as_deref() == Some(split)))
    }

    /// Returns the pairs at these places, in their order. Articles without a human go along.
    ///
    /// # Panics
    /// For a place past the end.
    pub fn at(&self, places: &[usize]) -> Pairs {
        let pairs = places.iter().map(|&place| self.pairs[place].clone()).collect();
        Pairs { pairs, places: OnceLock::new(), ..self.clone_rest() }
    }

    /// Returns the pairs for which `wanted(place, pair)` is true.
    pub(super) fn with(&self, wanted: impl Fn(usize, &Pair) -> bool) -> Pairs {
        let places = (0..self.len()).filter(|&place| wanted(place, &self.pairs[place]));
        self.at(&places.collect::<Vec<_>>())
    }

    /// Returns these pairs and then the others. An id that both have gets a number in the second.
    pub fn joined(&self, other: &Pairs) -> Pairs {
        let mut all = self.clone();
        all.places = OnceLock::new();
        if all.folder != other.folder {
            all.folder = None;
        }
        let ids = |pairs: &Pairs| -> HashSet<String> {
            let extra = pairs.extra.iter().map(|article| article.id.clone());
            pairs.pairs.iter().map(|pair| pair.id.clone()).chain(extra).collect()
        };
        let mut taken = ids(self);
        taken.extend(ids(other));
        let own = ids(self);
        let mut apart = |id: &str| match own.contains(id) {
            false => id.to_owned(),
            true => {
                let id = fresh(id, |id| taken.contains(id));
                taken.insert(id.clone());
                id
            }
        };
        all.pairs.extend(other.pairs.iter().map(|pair| Pair { id: apart(&pair.id), ..pair.clone() }));
        for article in &other.extra {
            if !all.extra.contains(article) {
                all.extra.push(Article { id: apart(&article.id), ..article.clone() });
            }
        }
        for (mine, others) in [(&mut all.excluded, &other.excluded), (&mut all.skipped, &other.skipped)] {
            let new: Vec<LeftOut> = others.iter().filter(|left| !mine.contains(left)).cloned().collect();
            mine.extend(new);
        }
        all.passed_over.extend(other.passed_over.iter().filter(|one| !self.passed_over.contains(one)).cloned());
        all.notes.extend(other.notes.iter().filter(|one| !self.notes.contains(one)).cloned());
        if other.on_error == OnError::Skip {
            all.on_error = OnError::Skip;
        }
        all.group_people();
        all
    }

    /// Everything but the pairs.
    fn clone_rest(&self) -> Pairs {
        Pairs {
            folder: self.folder.clone(),
            pairs: Vec::new(),
            extra: self.extra.clone(),
            excluded: self.excluded.clone(),
            skipped: self.skipped.clone(),
            passed_over: self.passed_over.clone(),
            notes: self.notes.clone(),
            on_error: self.on_error,
            places: OnceLock::new(),
        }
    }
}

fn is_csv(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    ["csv", "tsv", "txt"].contains(&ending.to_ascii_lowercase().as_str())
}

enum Whole {
    Pair(Pair),
    Article(Article),
}

/// Makes a pair of a row with both its files, or an article of one that may be alone. Otherwise returns the reason and
/// the line.
fn whole(row: Row, extra: bool) -> std::result::Result<Whole, (LeftOut, usize)> {
    let line = row.line;
    let because = row.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let refuse = |path: &Path, reason: &str| {
        let left_out = LeftOut { id: row.id.clone(), path: path.into(), reason: format!("{reason}{because}") };
        Err((left_out, line))
    };
    for path in [&row.human, &row.article].into_iter().flatten().filter_map(Source::path) {
        if !path.is_file() {
            let what = match std::fs::read_link(path) {
                Ok(to) => format!("a link to `{}`, which is missing", to.display()),
                Err(_) if path.is_dir() => "expected a file, got a folder".into(),
                Err(_) => "no such file".into(),
            };
            return refuse(path, &what);
        }
    }
    match (&row.human, &row.article) {
        (Some(human), None) => refuse(human.name(), "a human without its article"),
        (None, Some(article)) if !extra => {
            let hint = if because.is_empty() { " (extra_articles lets it join as a target)" } else { "" };
            refuse(article.name(), &format!("an article without its human{hint}"))
        }
        (None, None) => refuse(Path::new(&row.id), "neither human nor article"),
        (None, Some(_)) => Ok(Whole::Article(Article { picture: row.article.expect("it is there"), id: row.id })),
        (Some(_), Some(_)) => Ok(Whole::Pair(Pair {
            human: row.human.expect("it is there"),
            article: row.article.expect("it is there"),
            id: row.id,
            group: row.group,
            split: row.split,
        })),
    }
}
