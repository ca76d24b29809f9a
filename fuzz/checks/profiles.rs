//! Any bytes are a colour profile, or no profile: a picture that has them decodes to its own size anyway.

use cagan::pixels::{Foreign, foreign_rgb};

/// Decodes pictures with the profile. Returns whether it changed a colour.
pub fn check(bytes: &[u8]) -> bool {
    [("L", 1), ("RGB", 3), ("CMYK", 4)].into_iter().fold(false, |changed, (mode, channels)| {
        let picture = |profile| {
            let pixels = Foreign {
                mode: mode.into(),
                width: 2,
                height: 2,
                bytes: (0..4 * channels).map(|at| at * 15).collect(),
                orientation: 1,
                profile,
            };
            foreign_rgb(pixels).expect("a picture")
        };
        let (plain, seen) = (picture(None), picture(Some(bytes.to_vec())));
        assert_eq!(seen.dimensions(), (2, 2));
        changed | (plain != seen)
    })
}
