//! Pairs in little memory: 28 bytes each, and every text once.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names::fresh;
use super::pair::{Article, Pair};
use super::shard::Shard;
use super::source::Source;
use super::strings::{Numbers, Strings};
use crate::error::Result;

/// Where a picture is: the numbers of its folder with its ending, and of its stem. Equal places are equal sources;
/// for the reverse see [`Stock::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    shape: u32,
    stem: u32,
}

impl Place {
    /// The shape of a source that is no file of a usual path: the stem is its number.
    const OTHER: u32 = u32::MAX;
}

/// A pair by numbers.
#[derive(Clone, Copy, Debug)]
struct Numbered {
    id: u32,
    human: Place,
    article: Place,
    group: u32,
    split: u32,
}

/// What paths have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    before: u32,
    after: u32,
    shard: Option<u32>,
}

/// What the numbers stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    texts: Strings,
    /// The texts before and after the stem of a path, and the number of its tar file.
    shapes: Vec<Shape>,
    shards: Vec<Arc<Shard>>,
    /// Other sources, each with the place of the first one that equals it.
    others: Vec<(Source, Place)>,
}

/// Pairs and further articles. Parts of it share its texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    pairs: Vec<Numbered>,
    /// Articles without a human: names and pictures.
    extra: Arc<Vec<(u32, Place)>>,
    stock: Arc<Stock>,
}

impl Packed {
    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// A pair.
    pub fn pair(&self, place: usize) -> Pair {
        Pair {
            id: self.id(place).to_owned(),
            human: self.source(self.human(place)),
            article: self.source(self.article(place)),
            group: self.group(place).map(str::to_owned),
            split: self.split(place).map(str::to_owned),
        }
    }

    /// A pair's name.
    pub fn id(&self, place: usize) -> &str {
        self.stock.texts.get(self.pairs[place].id)
    }

    /// A pair's group.
    pub fn group(&self, place: usize) -> Option<&str> {
        self.text(self.pairs[place].group)
    }

    /// A pair's split.
    pub fn split(&self, place: usize) -> Option<&str> {
        self.text(self.pairs[place].split)
    }

    fn text(&self, number: u32) -> Option<&str> {
        (number != Strings::NONE).then(|| self.stock.texts.get(number))
    }

    /// Where a pair's human is.
    pub fn human(&self, place: usize) -> Place {
        self.pairs[place].human
    }

    /// Where a pair's article is.
    pub fn article(&self, place: usize) -> Place {
        self.pairs[place].article
    }

    /// The articles without a human: names and places.
    pub fn extra(&self) -> impl ExactSizeIterator<Item = (&str, Place)> {
        self.extra.iter().map(|(id, place)| (self.stock.texts.get(*id), *place))
    }

    /// The picture of a place.
    pub fn source(&self, place: Place) -> Source {
        self.stock.source(place)
    }

    /// What the places stand for.
    pub fn stock(&self) -> &Arc<Stock> {
        &self.stock
    }

    /// The pairs at these places, and all further articles.
    pub fn at(&self, places: &[usize]) -> Packed {
        let pairs = places.iter().map(|&place| self.pairs[place]).collect();
        Packed { pairs, extra: self.extra.clone(), stock: self.stock.clone() }
    }
}

impl Stock {
    /// The picture of a place.
    pub fn source(&self, place: Place) -> Source {
        if place.shape == Place::OTHER {
            return self.others[place.stem as usize].0.clone();
        }
        let Shape { before, after, shard } = self.shapes[place.shape as usize];
        let path = PathBuf::from([before, place.stem, after].map(|part| self.texts.get(part)).concat());
        match shard {
            None => Source::File(path),
            Some(shard) => Source::Member(self.shards[shard as usize].clone(), path.into()),
        }
    }

    /// The place of the first source that equals that of a place. Keys are equal if and only if sources are.
    pub fn key(&self, place: Place) -> Place {
        if place.shape == Place::OTHER { self.others[place.stem as usize].1 } else { place }
    }
}

/// Packs pairs.
#[derive(Debug, Default)]
pub(super) struct Packer {
    pairs: Vec<Numbered>,
    extra: Vec<(u32, Place)>,
    stock: Stock,
    numbers: Numbers,
    shapes: HashMap<Shape, u32>,
    shards: HashMap<usize, u32>,
    others: HashMap<Source, Place>,
}

impl Packer {
    /// The number of a text.
    ///
    /// # Errors
    /// As [`Strings::push`]; so for all methods.
    pub fn text(&mut self, text: &str) -> Result<u32> {
        self.numbers.of(text, &mut self.stock.texts)
    }

    /// The place of a picture.
    pub fn place(&mut self, source: &Source) -> Result<Place> {
        if let Some(path) = source.address() {
            let plain: PathBuf = path.components().collect();
            let place = match plain.to_str() {
                Some(text) => Some(self.path(text, source)?),
                None => None,
            };
            // Paths that differ in their separators alone are equal.
            match place {
                Some(place) if plain.as_os_str() == path.as_os_str() => return Ok(place),
                Some(place) => return Ok(self.other(source, place)),
                None => {}
            }
        }
        let own = Place { shape: Place::OTHER, stem: self.stock.others.len() as u32 };
        let first = *self.others.entry(source.clone()).or_insert(own);
        Ok(self.other(source, first))
    }

    fn path(&mut self, text: &str, source: &Source) -> Result<Place> {
        let name = text.rfind('/').map_or(0, |at| at + 1);
        let ending = text[name..].rfind('.').map_or(text.len(), |at| name + at);
        let shard = match source {
            Source::Member(shard, _) => Some(*self.shards.entry(Arc::as_ptr(shard) as usize).or_insert_with(|| {
                self.stock.shards.push(shard.clone());
                self.stock.shards.len() as u32 - 1
            })),
            _ => None,
        };
        let shape = Shape { before: self.text(&text[..name])?, after: self.text(&text[ending..])?, shard };
        let next = self.stock.shapes.len() as u32;
        let shape = *self.shapes.entry(shape).or_insert_with(|| {
            self.stock.shapes.push(shape);
            next
        });
        Ok(Place { shape, stem: self.text(&text[name..ending])? })
    }

    fn other(&mut self, source: &Source, key: Place) -> Place {
        self.stock.others.push((source.clone(), key));
        Place { shape: Place::OTHER, stem: self.stock.others.len() as u32 - 1 }
    }

    /// Appends a pair.
    pub fn push(&mut self, id: &str, sides: [Place; 2], group: Option<&str>, split: Option<&str>) -> Result<()> {
        let mut text = |text: Option<&str>| text.map_or(Ok(Strings::NONE), |text| self.text(text));
        let (id, group, split) = (text(Some(id))?, text(group)?, text(split)?);
        let [human, article] = sides;
        self.pairs.push(Numbered { id, human, article, group, split });
        Ok(())
    }

    /// Appends a pair with its texts and sources.
    pub fn push_pair(&mut self, pair: &Pair) -> Result<()> {
        let sides = [self.place(&pair.human)?, self.place(&pair.article)?];
        self.push(&pair.id, sides, pair.group.as_deref(), pair.split.as_deref())
    }

    /// Appends an article without a human, with its texts and its source.
    pub fn push_article(&mut self, article: &Article) -> Result<()> {
        let place = self.place(&article.picture)?;
        self.push_extra(&article.id, place)
    }

    /// Appends an article without a human.
    pub fn push_extra(&mut self, id: &str, picture: Place) -> Result<()> {
        let id = self.text(id)?;
        self.extra.push((id, picture));
        Ok(())
    }

    /// Makes the pairs of one photo one group: what the person wears beside an article is no target for it.
    pub fn group_people(&mut self) -> Result<()> {
        let mut firsts: HashMap<Place, usize> = HashMap::new();
        let mut shared: Vec<(usize, usize)> = Vec::new();
        for (place, pair) in self.pairs.iter().enumerate() {
            let first = *firsts.entry(self.stock.key(pair.human)).or_insert(place);
            if first != place {
                shared.push((first, place));
            }
        }
        drop(firsts);
        if shared.is_empty() {
            return Ok(());
        }
        let group = |number: u32| (number != Strings::NONE).then_some(number);
        let mut groups: HashSet<u32> = self.pairs.iter().filter_map(|pair| group(pair.group)).collect();
        for (first, place) in shared {
            let own = [place, first].into_iter().find_map(|place| group(self.pairs[place].group));
            let number = match own {
                Some(number) => number,
                None => {
                    let id = self.stock.texts.get(self.pairs[first].id);
                    let taken = |name: &str| {
                        self.numbers.find(name, &self.stock.texts).is_some_and(|number| groups.contains(&number))
                    };
                    let name = fresh(id, taken);
                    self.text(&name)?
                }
            };
            groups.insert(number);
            for place in [first, place] {
                let pair = &mut self.pairs[place];
                pair.group = group(pair.group).unwrap_or(number);
            }
        }
        Ok(())
    }

    /// The number of pairs so far.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Returns what was packed.
    pub fn finish(self) -> Packed {
        let Packer { mut pairs, mut extra, mut stock, .. } = self;
        pairs.shrink_to_fit();
        extra.shrink_to_fit();
        stock.texts.shrink();
        stock.shapes.shrink_to_fit();
        stock.others.shrink_to_fit();
        Packed { pairs, extra: extra.into(), stock: stock.into() }
    }
}

/// Packs pairs and articles without a human.
///
/// # Errors
/// As [`Strings::push`].
pub(super) fn packed<'a>(
    pairs: impl IntoIterator<Item = &'a Pair>,
    extra: impl IntoIterator<Item = &'a Article>,
) -> Result<Packed> {
    let mut packer = Packer::default();
    pairs.into_iter().try_for_each(|pair| packer.push_pair(pair))?;
    extra.into_iter().try_for_each(|article| packer.push_article(article))?;
    Ok(packer.finish())
}

/// Knows which files are there, and asks once for each.
#[derive(Debug, Default)]
pub(super) struct Present {
    files: HashSet<Place>,
}

impl Present {
    /// Whether a file is there.
    pub fn has(&mut self, place: Place, path: &Path) -> bool {
        self.files.contains(&place) || path.is_file() && self.files.insert(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    #[test]
    fn a_packed_source_is_the_one_that_came_and_equal_ones_have_equal_keys() {
        let bytes = |text: &str| Source::Encoded(Arc::new(text.as_bytes().to_vec()), "one".into());
        let mut sources: Vec<Source> =
            ["a/b.jpg", "a//b.jpg", "a/./b.jpg", "./a/b.jpg", "/b.jpg", "v1.2/x", ".jpg", "a/é.x.png", "a/..", "a/b."]
                .map(|path| Source::File(path.into()))
                .into();
        #[cfg(unix)]
        sources.push(Source::File(PathBuf::from(OsString::from_vec(b"a/\xff.png".to_vec()))));
        sources.extend([bytes("x"), bytes("y"), bytes("x")]);
        let mut packer = Packer::default();
        // Twice, so that each is met again.
        let places: Vec<Place> =
            [&sources[..], &sources[..]].concat().iter().map(|s| packer.place(s).unwrap()).collect();
        let packed = packer.finish();
        let stock = packed.stock();
        for (k, (source, place)) in sources.iter().chain(&sources).zip(&places).enumerate() {
            let back = stock.source(*place);
            assert_eq!((&back, back.name().as_os_str()), (source, source.name().as_os_str()), "{k}");
            for (other, second) in sources.iter().chain(&sources).zip(&places) {
                assert_eq!(stock.key(*place) == stock.key(*second), source == other, "{source:?} {other:?}");
            }
        }
    }

    #[test]
    fn parts_of_a_set_share_its_texts() {
        let pair = |k: usize| Pair {
            id: format!("{k}"),
            human: Source::File(format!("h/{k}.jpg").into()),
            article: Source::File(format!("a/{k}.png").into()),
            group: k.is_multiple_of(2).then(|| "even".into()),
            split: Some("train".into()),
        };
        let pairs: Vec<Pair> = (0..5).map(pair).collect();
        let extra = [Article { id: "z".into(), picture: Source::File("a/z.png".into()) }];
        let all = packed(&pairs, &extra).unwrap();
        let some = all.at(&[4, 1]);
        assert_eq!([some.pair(0), some.pair(1)], [pairs[4].clone(), pairs[1].clone()]);
        assert_eq!(some.extra().map(|(id, place)| (id, some.source(place))).collect::<Vec<_>>().len(), 1);
        assert!(Arc::ptr_eq(some.stock(), all.stock()));
    }
}
