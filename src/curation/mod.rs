//! What is wrong with a folder of pairs: unreadable, tiny, blank and doubled pictures, articles that are no packshots,
//! pairs that do not belong together. It measures and judges; it changes no file.

mod align;
mod colour;
mod duplicates;
mod measure;
mod options;
mod pairs;
mod repeats;
mod show;

pub use duplicates::{Likeness, Link, links};
pub use measure::{Kind, Measured, measure};
pub use options::{OPTIONS, Options};
pub use pairs::{Finding, Row, Standing, inspect};
pub use show::{as_png, thumbnail};

/// Why a pair is left out. The first nine are found here, the rest by people who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    NoHuman,
    NoArticle,
    Unreadable,
    Tiny,
    Aspect,
    Blank,
    Duplicate,
    NotPackshot,
    WrongPair,
    BottomsOnly,
    FromBehind,
    ExtraGarment,
    Other,
}

impl Reason {
    pub const ALL: [Reason; 13] = [
        Reason::NoHuman,
        Reason::NoArticle,
        Reason::Unreadable,
        Reason::Tiny,
        Reason::Aspect,
        Reason::Blank,
        Reason::Duplicate,
        Reason::NotPackshot,
        Reason::WrongPair,
        Reason::BottomsOnly,
        Reason::FromBehind,
        Reason::ExtraGarment,
        Reason::Other,
    ];

    /// The word in `pairs.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NoHuman => "no_human",
            Reason::NoArticle => "no_article",
            Reason::Unreadable => "unreadable",
            Reason::Tiny => "tiny",
            Reason::Aspect => "aspect",
            Reason::Blank => "blank",
            Reason::Duplicate => "duplicate",
            Reason::NotPackshot => "not_packshot",
            Reason::WrongPair => "wrong_pair",
            Reason::BottomsOnly => "bottoms_only",
            Reason::FromBehind => "from_behind",
            Reason::ExtraGarment => "extra_garment",
            Reason::Other => "other",
        }
    }

    /// The word in a sentence.
    pub fn help(self) -> &'static str {
        match self {
            Reason::NoHuman => "an article without a photo of a person",
            Reason::NoArticle => "a photo of a person without an article",
            Reason::Unreadable => "a picture that is missing or cannot be decoded",
            Reason::Tiny => "a picture with too few pixels",
            Reason::Aspect => "a picture far too long or too tall",
            Reason::Blank => "a picture of nothing",
            Reason::Duplicate => "the photo of another pair again",
            Reason::NotPackshot => "an article without a plain background",
            Reason::WrongPair => "a photo that holds none of the article's colours",
            Reason::BottomsOnly => "only a bottom: trousers, a skirt",
            Reason::FromBehind => "the person is seen from behind",
            Reason::ExtraGarment => "the person wears more than the article",
            Reason::Other => "anything else",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_word() {
        let mut names: Vec<&str> = Reason::ALL.map(Reason::name).to_vec();
        assert!(Reason::ALL.is_sorted());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 13);
        assert!(names.iter().all(|n| n.chars().all(|c| c == '_' || c.is_ascii_lowercase())));
    }
}
