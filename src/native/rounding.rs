//! The switches of this process that let float32 products and convolutions round their inputs, and the one that lets
//! cuDNN try its ways. torch's default on CUDA is TF32 for convolutions, not for products, and no trying.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use super::shim::{
    cagan_convolutions_tried, cagan_exact_products, cagan_restore_rounding, cagan_round_cpu, cagan_round_cuda,
    cagan_rounding, cagan_tf32_allowed, cagan_try_convolutions, check, taken,
};

/// Which switches to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// No rounding on a CPU.
    Cpu,
    /// No rounding on CUDA.
    Cuda,
    /// TF32 on CUDA.
    CudaTf32,
}

/// The process's own switches, while any [`Rounding`] lives.
struct Kept {
    living: usize,
    switches: *mut c_void,
}

// SAFETY: the pointer is that of an object that no thread owns.
unsafe impl Send for Kept {}

static KEPT: Mutex<Kept> = Mutex::new(Kept { living: 0, switches: null_mut() });

/// Keeps the switches set. They belong to the process: of several at once the last one decides. The end of the last
/// restores them.
///
/// ```
/// use cagan::native::{Round, Rounding, tf32_allowed};
/// let before = tf32_allowed();
/// let rounding = Rounding::set(Round::CudaTf32);
/// assert_eq!(tf32_allowed(), [true, true]);
/// drop(rounding);
/// assert_eq!(tf32_allowed(), before);
/// ```
#[derive(Debug)]
#[must_use = "the switches are set until it is dropped"]
pub struct Rounding(());

impl Rounding {
    /// Sets the switches.
    pub fn set(round: Round) -> Self {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.living == 0 {
            // SAFETY: the place outlives the call.
            unsafe { check(cagan_rounding(&raw mut kept.switches)) };
        }
        kept.living += 1;
        drop(kept);
        // From here on the drop restores.
        let rounding = Rounding(());
        // SAFETY: the functions take plain values.
        unsafe {
            check(match round {
                Round::Cpu => cagan_round_cpu(),
                Round::Cuda => cagan_round_cuda(false),
                Round::CudaTf32 => cagan_round_cuda(true),
            });
        }
        rounding
    }
}

impl Drop for Rounding {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.living -= 1;
        if kept.living == 0 {
            // SAFETY: the object of `set`, which is freed once. A drop must not panic, so a message is dropped.
            drop(unsafe { taken(cagan_restore_rounding(kept.switches)) });
            kept.switches = null_mut();
        }
    }
}

/// Lets cuDNN try its ways to compute a convolution, and keep the fastest of each shape, or stop it. Belongs to the
/// process, as the other switches: the end of the last [`Rounding`] restores it.
pub fn try_convolutions(tries: bool) {
    // SAFETY: takes a plain value.
    unsafe { check(cagan_try_convolutions(tries)) };
}

/// Whether cuDNN tries its ways to compute a convolution.
pub fn convolutions_tried() -> bool {
    let mut tried = false;
    // SAFETY: the place outlives the call.
    unsafe { check(cagan_convolutions_tried(&raw mut tried)) };
    tried
}

/// Whether TF32 is on, for matrix products and for convolutions.
pub fn tf32_allowed() -> [bool; 2] {
    let [mut products, mut convolutions] = [false; 2];
    // SAFETY: both places outlive the call.
    unsafe { check(cagan_tf32_allowed(&raw mut products, &raw mut convolutions)) };
    [products, convolutions]
}

/// Runs `body`, whose matrix products are those of float32 whatever the switches are.
pub fn exact_products<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: the function calls its argument as `called` wants it.
    let result = super::isolated::called(body, |call, run| unsafe { cagan_exact_products(call, run) });
    result.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}
