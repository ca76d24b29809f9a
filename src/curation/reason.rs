//! Reasons for leaving a pair out.

/// Each reason once: its explanation, its variant, and its word in the column `reason` of `pairs.csv`.
macro_rules! reasons {
    ($(#[doc = $help:literal] $reason:ident = $name:literal,)*) => {
        /// Why a pair is left out. Curation finds the first ten; people find the others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $help] $reason,)*
        }

        impl Reason {
            /// All reasons, in order.
            pub const ALL: &[Reason] = &[$(Reason::$reason),*];

            /// Returns the word in the column `reason` of `pairs.csv`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Reason::$reason => $name,)*
                }
            }

            /// Explains the word.
            pub fn help(self) -> &'static str {
                match self {
                    $(Reason::$reason => $help.trim_ascii(),)*
                }
            }
        }
    };
}

reasons! {
    /// an article without a photo of a person
    NoHuman = "no_human",
    /// a photo of a person without an article
    NoArticle = "no_article",
    /// a picture that could not be looked at, as on a drive that is not mounted; the next call judges it anew
    Missing = "missing",
    /// a picture that cannot be decoded
    Unreadable = "unreadable",
    /// a picture with too few pixels
    Tiny = "tiny",
    /// a picture that is far too wide or too tall
    Aspect = "aspect",
    /// a picture of one colour
    Blank = "blank",
    /// a photo that repeats the photo of another pair
    Duplicate = "duplicate",
    /// an article without a plain background
    NotPackshot = "not_packshot",
    /// a photo without the article's colours
    WrongPair = "wrong_pair",
    /// only a bottom: trousers, a skirt
    BottomsOnly = "bottoms_only",
    /// the person is seen from behind
    FromBehind = "from_behind",
    /// the person wears more than the article
    ExtraGarment = "extra_garment",
    /// anything else
    Other = "other",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_word() {
        let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert!(Reason::ALL.is_sorted());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 14);
        assert_eq!(Reason::Tiny.help(), "a picture with too few pixels");
        assert!(names.iter().all(|n| n.chars().all(|c| c == '_' || c.is_ascii_lowercase())));
    }
}
