//! Any bytes in a run folder's file of lines are lines with a step, or passed over.

use cagan::training::{kept_lines, last_step_of};

/// Cuts the lines after a step. Returns whether one is left.
pub fn check(bytes: &[u8]) -> bool {
    let step = u64::from(bytes.first().copied().unwrap_or_default());
    let kept = kept_lines(bytes, step);
    assert!(kept.is_empty() || kept.ends_with(b"\n"));
    assert_eq!(kept_lines(&kept, step), kept);
    let last = last_step_of(&kept);
    assert!(last.is_none_or(|last| last <= step), "{last:?} {step}");
    assert_eq!(last.is_none(), kept.is_empty());
    let all = kept_lines(bytes, u64::MAX);
    assert!(kept.len() <= all.len() && all.len() <= bytes.len());
    last.is_some()
}
