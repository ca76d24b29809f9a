//! Reasons for leaving a pair out.

/// Why a pair is left out. Curation finds the first nine; people find the others.
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

    /// The word in the column `reason` of `pairs.csv`.
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

    /// The word explained.
    pub fn help(self) -> &'static str {
        match self {
            Reason::NoHuman => "an article without a photo of a person",
            Reason::NoArticle => "a photo of a person without an article",
            Reason::Unreadable => "a picture that is missing or cannot be decoded",
            Reason::Tiny => "a picture with too few pixels",
            Reason::Aspect => "a picture that is far too wide or too tall",
            Reason::Blank => "a picture of one colour",
            Reason::Duplicate => "a photo that repeats the photo of another pair",
            Reason::NotPackshot => "an article without a plain background",
            Reason::WrongPair => "a photo without the article's colours",
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
