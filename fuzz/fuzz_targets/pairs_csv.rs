//! Any bytes parse to rows with distinct ids or fail with one line that names its place.
#![no_main]

use std::collections::HashSet;
use std::path::Path;

use cagan::data::parse_csv;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match parse_csv(bytes, Path::new("folder")) {
        Ok(rows) => {
            let ids: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!(ids.len(), rows.len());
            assert!(rows.iter().all(|row| !row.id.is_empty() && row.line > 0));
        }
        Err(text) => assert!(text.starts_with("line ")),
    }
});
