//! Any bytes parse to rows with distinct ids or fail with one line that names its place.

use std::collections::HashSet;
use std::path::Path;

use cagan::data::parse_csv;

/// Reads the bytes. Returns whether they were what they should be.
pub fn check(bytes: &[u8]) -> bool {
    match parse_csv(bytes, Path::new("folder")) {
        Ok(rows) => {
            let ids: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!(ids.len(), rows.len());
            assert!(rows.iter().all(|row| !row.id.is_empty() && row.line > 0));
            true
        }
        Err(text) => {
            assert!(text.starts_with("line "), "{text:?}");
            false
        }
    }
}
