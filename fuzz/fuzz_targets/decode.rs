//! Any bytes decode to a picture within the limits or fail with one line. Decoded pictures can be fitted.
#![no_main]

#[path = "../checks/decode.rs"]
mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    decode::check(bytes);
});
