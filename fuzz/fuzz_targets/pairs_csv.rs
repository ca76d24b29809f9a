//! Any bytes parse to rows with distinct ids or fail with one line that names its place.
#![no_main]

#[path = "../checks/pairs_csv.rs"]
mod pairs_csv;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pairs_csv::check(bytes);
});
