//! Any bytes decode to a picture within the limits or fail with one line. Decoded pictures can be fitted.

use cagan::config::Fit;
use cagan::pixels::{MAX_PIXELS, decode_rgb, planes};

/// Reads the bytes. Returns whether they were what they should be.
pub fn check(bytes: &[u8]) -> bool {
    // `decode_rgb` turns a decoder's panic into an error and hides it from libFuzzer's hook. Any other panic ends the
    // process here.
    match decode_rgb(bytes) {
        Ok(picture) => {
            let (width, height) = picture.dimensions();
            assert!(u64::from(width) * u64::from(height) <= MAX_PIXELS);
            for fit in [Fit::Crop, Fit::Pad, Fit::Stretch] {
                assert_eq!(planes(&picture, [32, 24], fit).len(), 3 * 32 * 24);
            }
            true
        }
        Err(text) => {
            assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
            false
        }
    }
}
