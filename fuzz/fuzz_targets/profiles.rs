//! Any bytes are a colour profile, or no profile: a picture with them has its colours anyway, within 0 to 255.
#![no_main]

#[path = "../checks/profiles.rs"]
mod profiles;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    profiles::check(bytes);
});
