//! Pairs of humans with the articles they wear, and articles without a human: of a folder, a list, or made by hand.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::layouts;
use super::listing;
use super::names::{Finder, fresh, normal};
use super::packed::{Packed, Packer, Place, Present, packed};
use super::pair::{Article, Pair};
use super::row::Row;
use super::sets::{Note, PassedOver};
use super::shards::{self, source_of};
use super::source::Source;
use crate::error::{Error, Named, Result};

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
    /// The pairs, in order, and further targets: the articles without a human.
    pub(super) packed: Packed,
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
    /// Finds an id; made at the first question.
    places: OnceLock<Places>,
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
        let mut taken = Taken::new(options, true);
        let file = match &options.sides {
            Some(_) if is_list => {
                return Err(Error::setting("human", "a folder of pairs beside it", place.display()));
            }
            Some([human, article]) => {
                pairs.found(layouts::by_names(folder, human, article)?, &mut taken)?;
                folder
            }
            None if is_list && let Some(found) = shards::found(place)? => {
                pairs.notes = shards::read(&found, &mut |row| taken.add(row))?;
                place
            }
            None if listing::exists(&csv)? => {
                if is_list && !is_csv(place) {
                    return Err(Error::content(
                        place,
                        "expected a folder, a .csv, a .parquet or a .tar file, got another file",
                    ));
                }
                listing::read(&csv, &mut |row| taken.add(row))?;
                csv.as_path()
            }
            None => {
                let found = layouts::list(folder);
                let is_none = matches!(found, Err(Error::NotFound { .. })) && folder.is_dir();
                if is_none && let Some(found) = shards::found(folder)? {
                    pairs.notes = shards::read(&found, &mut |row| taken.add(row))?;
                    pairs.take(taken, folder)?;
                    return Ok(pairs);
                }
                if is_none && let Some(below) = layouts::listed_below(folder) {
                    let mut pairs = Pairs::open(&below, options)?;
                    pairs.notes.push(layouts::note_of_list(&below));
                    return Ok(pairs);
                }
                pairs.found(found?, &mut taken)?;
                folder
            }
        };
        pairs.take(taken, file)?;
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
        drop(seen);
        let mut pairs = Pairs { folder, on_error: options.on_error, ..Pairs::default() };
        let mut taken = Taken::new(options, false);
        rows.into_iter().try_for_each(|row| taken.add(row))?;
        pairs.take(taken, Path::new("rows"))?;
        Ok(pairs)
    }

    /// Keeps what the reading of a folder left out, and takes its rows.
    fn found(&mut self, found: layouts::Found, taken: &mut Taken) -> Result<()> {
        self.passed_over = found.passed_over;
        self.notes = found.notes;
        found.rows.into_iter().try_for_each(|row| taken.add(row))
    }

    /// Keeps the pairs, further targets, excluded and skipped ones.
    fn take(&mut self, taken: Taken, file: &Path) -> Result<()> {
        let Taken { mut packer, excluded, skipped, lines, .. } = taken;
        (self.excluded, self.skipped) = (excluded, skipped);
        if self.on_error == OnError::Raise && !lines.is_empty() {
            return Err(self.refusal(file, &lines));
        }
        if packer.len() == 0 {
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
        packer.group_people()?;
        self.packed = packer.finish();
        Ok(())
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
        self.packed.len()
    }

    /// Whether no pair is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A pair by its place.
    ///
    /// # Panics
    /// For a place past the end; so for all that take one.
    pub fn pair(&self, place: usize) -> Pair {
        self.packed.pair(place)
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Pair> {
        (0..self.len()).map(|place| self.pair(place))
    }

    /// A pair's name.
    pub fn id(&self, place: usize) -> &str {
        self.packed.id(place)
    }

    /// The names of all pairs, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|place| self.id(place))
    }

    /// Further targets: the articles without a human.
    pub fn extra(&self) -> impl ExactSizeIterator<Item = Article> {
        let article = |(id, place): (&str, _)| Article { id: id.to_owned(), picture: self.packed.source(place) };
        self.packed.extra().map(article)
    }

    /// Makes these the pairs and the further targets.
    ///
    /// # Errors
    /// [`Error::Memory`] for more names than numbers.
    pub fn set<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = &'a Pair>,
        extra: impl IntoIterator<Item = &'a Article>,
    ) -> Result<()> {
        self.packed = packed(pairs, extra)?;
        self.places = OnceLock::new();
        Ok(())
    }

    /// Returns the place of the pair with that id, written in any Unicode form.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.places.get_or_init(|| Places::new(&self.packed)).find(&self.packed, id)
    }

    /// Returns the pair with that id.
    ///
    /// # Errors
    /// [`Error::Excluded`] for one that a list excludes or that could not be read; [`Error::UnknownName`] with the nearest
    /// id.
    pub fn find(&self, id: &str) -> Result<Pair> {
        if let Some(place) = self.position(id) {
            return Ok(self.pair(place));
        }
        let left_out = self.excluded.iter().chain(&self.skipped).find(|left_out| left_out.id == id);
        Err(match left_out {
            Some(LeftOut { path, reason, .. }) => {
                Error::Excluded { name: id.into(), reason: format!("{reason} ({})", path.display()) }
            }
            None => Error::unknown(Named::Id, id, self.ids()),
        })
    }

    /// Counts the pairs of each named split. Pairs without a split do not count.
    pub fn splits(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for split in (0..self.len()).filter_map(|place| self.packed.split(place)) {
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
        Ok(self.with(|place| self.packed.split(place) == Some(split)))
    }

    /// Returns the pairs at these places, in their order. Articles without a human go along.
    ///
    /// # Panics
    /// For a place past the end.
    pub fn at(&self, places: &[usize]) -> Pairs {
        Pairs { packed: self.packed.at(places), ..self.clone_rest() }
    }

    /// Returns the pairs whose places are wanted.
    pub(super) fn with(&self, wanted: impl Fn(usize) -> bool) -> Pairs {
        self.at(&(0..self.len()).filter(|&place| wanted(place)).collect::<Vec<_>>())
    }

    /// Returns these pairs and then the others. An id that both have gets a number in the second.
    ///
    /// # Errors
    /// [`Error::Memory`] for more names than numbers.
    pub fn joined(&self, other: &Pairs) -> Result<Pairs> {
        let mut all = self.clone_rest();
        if all.folder != other.folder {
            all.folder = None;
        }
        let ids = |pairs: &Pairs| -> HashSet<String> {
            pairs.ids().chain(pairs.packed.extra().map(|(id, _)| id)).map(str::to_owned).collect()
        };
        let own = ids(self);
        let mut taken = ids(other);
        taken.extend(own.iter().cloned());
        let mut apart = |id: &str| match own.contains(id) {
            false => id.to_owned(),
            true => {
                let id = fresh(id, |id| taken.contains(id));
                taken.insert(id.clone());
                id
            }
        };
        let mut packer = Packer::default();
        for pair in self.iter() {
            packer.push_pair(&pair)?;
        }
        for pair in other.iter() {
            packer.push_pair(&Pair { id: apart(&pair.id), ..pair })?;
        }
        let mut extra: Vec<Article> = self.extra().collect();
        for article in other.extra() {
            if !extra.contains(&article) {
                extra.push(Article { id: apart(&article.id), ..article });
            }
        }
        for article in &extra {
            packer.push_article(article)?;
        }
        packer.group_people()?;
        all.packed = packer.finish();
        for (mine, others) in [(&mut all.excluded, &other.excluded), (&mut all.skipped, &other.skipped)] {
            let new: Vec<LeftOut> = others.iter().filter(|left| !mine.contains(left)).cloned().collect();
            mine.extend(new);
        }
        all.passed_over.extend(other.passed_over.iter().filter(|one| !self.passed_over.contains(one)).cloned());
        all.notes.extend(other.notes.iter().filter(|one| !self.notes.contains(one)).cloned());
        if other.on_error == OnError::Skip {
            all.on_error = OnError::Skip;
        }
        Ok(all)
    }

    /// Everything but the pairs.
    fn clone_rest(&self) -> Pairs {
        Pairs {
            folder: self.folder.clone(),
            packed: Packed::default(),
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

/// The rows of a reading, sorted into pairs, further targets, excluded and skipped ones.
struct Taken {
    packer: Packer,
    excluded: Vec<LeftOut>,
    skipped: Vec<LeftOut>,
    /// The lines of the skipped ones.
    lines: Vec<usize>,
    extra_articles: bool,
    /// Whether files are looked for under other spellings.
    finder: Option<Finder>,
    present: Present,
}

impl Taken {
    fn new(options: &Options, finds: bool) -> Taken {
        Taken {
            packer: Packer::default(),
            excluded: Vec::new(),
            skipped: Vec::new(),
            lines: Vec::new(),
            extra_articles: options.extra_articles,
            finder: finds.then(Finder::default),
            present: Present::default(),
        }
    }

    /// Adds a row: as a pair with both its files, as an article that may be alone, or else with the reason why not.
    fn add(&mut self, row: Row) -> Result<()> {
        let Row { id, human, article, group, split, exclude, reason, line, why, .. } = row;
        let mut missing = None;
        let mut place = |source: Option<Source>| -> Result<Option<(Source, Place)>> {
            let Some(mut source) = source else { return Ok(None) };
            let mut place = self.packer.place(&source)?;
            if let Some(path) = source.path()
                && !self.present.has(place, path)
            {
                let found = match source_of(path.to_owned())? {
                    Source::File(_) => self.finder.as_mut().and_then(|finder| finder.find(path)).map(Source::File),
                    member => Some(member),
                };
                match found {
                    Some(found) => {
                        place = self.packer.place(&found)?;
                        source = found;
                    }
                    None => missing = missing.take().or_else(|| Some(path.to_owned())),
                }
            }
            Ok(Some((source, place)))
        };
        let (human, article) = (place(human)?, place(article)?);
        if exclude {
            let path = human.or(article).map(|(source, _)| source.name().to_owned()).unwrap_or_default();
            self.excluded.push(LeftOut { id, path, reason });
            return Ok(());
        }
        let because = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let (path, reason) = match (missing, &human, &article) {
            (Some(path), ..) => {
                let what = what_is_at(&path);
                (path, what)
            }
            (None, Some((_, human)), Some((_, article))) => {
                return self.packer.push(&id, [*human, *article], group.as_deref(), split.as_deref());
            }
            (None, Some((human, _)), None) => (human.name().to_owned(), "a human without its article".into()),
            (None, None, Some((_, article))) if self.extra_articles => return self.packer.push_extra(&id, *article),
            (None, None, Some((article, _))) => {
                let hint = if because.is_empty() { " (extra_articles lets it join as a target)" } else { "" };
                (article.name().to_owned(), format!("an article without its human{hint}"))
            }
            (None, None, None) => (PathBuf::from(&id), "neither human nor article".into()),
        };
        self.lines.push(line);
        self.skipped.push(LeftOut { id, path, reason: reason + &because });
        Ok(())
    }
}

/// Says what is in the place of a missing file.
fn what_is_at(path: &Path) -> String {
    match std::fs::read_link(path) {
        Ok(to) => format!("a link to `{}`, which is missing", to.display()),
        Err(_) if path.is_dir() => "expected a file, got a folder".into(),
        Err(_) if path.ancestors().skip(1).any(Path::is_file) => "its tar file has no such picture".into(),
        Err(_) => "no such file".into(),
    }
}

/// The places of ids.
#[derive(Clone, Debug)]
struct Places {
    /// The places in the order of their ids.
    order: Vec<u32>,
    /// The places of composed forms that differ from the ids.
    forms: HashMap<String, u32>,
}

impl Places {
    fn new(packed: &Packed) -> Places {
        let mut order: Vec<u32> = (0..packed.len() as u32).collect();
        order.sort_by(|a, b| packed.id(*a as usize).cmp(packed.id(*b as usize)));
        let mut forms = HashMap::new();
        for place in 0..packed.len() {
            if let Cow::Owned(form) = normal(packed.id(place))
                && form != packed.id(place)
            {
                forms.insert(form, place as u32);
            }
        }
        Places { order, forms }
    }

    /// An exact id comes before another one's composed form.
    fn find(&self, packed: &Packed, id: &str) -> Option<usize> {
        let exact = |id: &str| {
            let found = self.order.binary_search_by(|place| packed.id(*place as usize).cmp(id)).ok()?;
            Some(self.order[found])
        };
        let either = |id: &str| exact(id).or_else(|| self.forms.get(id).copied());
        either(id).or_else(|| either(&normal(id))).map(|place| place as usize)
    }
}
