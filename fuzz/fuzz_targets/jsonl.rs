//! Any bytes in a run folder's file of lines are lines with a step, or passed over.
#![no_main]

#[path = "../checks/jsonl.rs"]
mod jsonl;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    jsonl::check(bytes);
});
