//! Any bytes decode to a picture within the limits or fail with one line: as a file, and as a profile in a whole file.
//! Decoded pictures can be fitted.
#![no_main]

use cagan::config::Fit;
use cagan::pixels::{Foreign, MAX_PIXELS, decode_rgb, foreign_rgb, planes};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // `decode_rgb` turns a decoder's panic into an error and hides it from libFuzzer's hook. Any other panic ends the
    // process here.
    match decode_rgb(bytes) {
        Ok(picture) => {
            let (width, height) = picture.dimensions();
            assert!(u64::from(width) * u64::from(height) <= MAX_PIXELS);
            for fit in [Fit::Crop, Fit::Pad, Fit::Stretch] {
                assert_eq!(planes(&picture, [32, 24], fit).len(), 3 * 32 * 24);
            }
        }
        Err(text) => assert!(!text.is_empty() && !text.contains('\n'), "{text:?}"),
    }
    for (mode, channels) in [("L", 1), ("RGB", 3), ("CMYK", 4)] {
        let pixels = Foreign {
            mode: mode.into(),
            width: 2,
            height: 2,
            bytes: (0..4 * channels).map(|at| at * 15).collect(),
            orientation: bytes.first().copied().unwrap_or_default().into(),
            profile: Some(bytes.to_vec()),
        };
        assert!(foreign_rgb(pixels).is_ok());
    }
});
