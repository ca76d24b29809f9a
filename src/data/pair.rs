//! One pair, and an article without a human.

use super::source::Source;

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
