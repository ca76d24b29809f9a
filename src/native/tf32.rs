//! TensorFloat-32 on CUDA. torch's default is off for matrix products and on for convolutions.

use super::shim::{cagan_allow_tf32, cagan_tf32_allowed, check};

/// Turns TF32 on or off in all matrix products and convolutions of this process.
///
/// ```
/// use cagan::native::{allow_tf32, tf32_allowed};
/// allow_tf32(true);
/// assert_eq!(tf32_allowed(), [true, true]);
/// ```
pub fn allow_tf32(on: bool) {
    // SAFETY: the function takes a plain value.
    unsafe { check(cagan_allow_tf32(on)) }
}

/// Whether TF32 is on, for matrix products and for convolutions.
pub fn tf32_allowed() -> [bool; 2] {
    let [mut products, mut convolutions] = [false; 2];
    // SAFETY: both places outlive the call.
    unsafe { check(cagan_tf32_allowed(&raw mut products, &raw mut convolutions)) };
    [products, convolutions]
}
