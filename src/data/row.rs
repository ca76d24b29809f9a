//! One row of a list of pairs.

use super::source::Source;

/// A human and its article, or one of them alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The pair's name.
    pub id: String,
    /// The photo.
    pub human: Option<Source>,
    /// The product picture.
    pub article: Option<Source>,
    /// Pairs of one group share a person or an article.
    pub group: Option<String>,
    /// The part of the set, as `train`.
    pub split: Option<String>,
    /// Whether the pair is left out.
    pub exclude: bool,
    /// Words on why it is left out, as [`Row::reasons`] splits them.
    pub reason: String,
    /// Whether a person decided about the pair.
    pub reviewed: bool,
    /// The line of the list that the row begins at; 0 in a folder without a list.
    pub line: usize,
    /// Why a picture is missing, where the folder or the list shows it.
    pub why: Option<String>,
}

impl Row {
    /// Splits the reason into its words, at spaces and semicolons.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.reason.split([' ', '\t', ';']).filter(|word| !word.is_empty())
    }
}
