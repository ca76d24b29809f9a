//! Any bytes parse to a checkpoint's tensors, to a snapshot whose generator can be built, or fail with one line. Memory
//! stays close to their length.
#![no_main]

#[path = "../checks/tensors.rs"]
mod tensors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tensors::check(bytes);
});
