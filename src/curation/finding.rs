//! The decision and the finding about a pair.

use super::reason::Reason;
use crate::data::Row;

/// A decision about a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No decision yet.
    Open,
    /// A person keeps it: it comes first among duplicates.
    Kept,
    /// It is left out: no other pair is a duplicate of it.
    Excluded,
}

impl Standing {
    /// Reads the standing off a row's cells `exclude` and `reviewed`.
    pub fn of(row: &Row) -> Standing {
        match (row.exclude, row.reviewed) {
            (true, _) => Standing::Excluded,
            (false, true) => Standing::Kept,
            (false, false) => Standing::Open,
        }
    }
}

/// The findings about a pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Each reason with its measurement.
    pub reasons: Vec<(Reason, String)>,
    /// The pair whose photo this one's repeats.
    pub duplicate_of: Option<usize>,
    /// The first of the pairs that shared photos or articles connect with this one; itself without any.
    pub group: usize,
}
