//! Loops on libtorch's threads.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use super::shim::{Range, cagan_parallel_for, check};

/// Calls `body` with each number below `length`, on libtorch's threads. A second pool would wait for the cores on which
/// libtorch's threads spin between two operations.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let sum = AtomicUsize::new(0);
/// cagan::native::parallel_for(5, |i| { sum.fetch_add(i, Ordering::Relaxed); });
/// assert_eq!(sum.into_inner(), 10);
/// ```
pub fn parallel_for(length: usize, body: impl Fn(usize) + Sync) {
    struct Call<F> {
        body: F,
        panicked: Mutex<Option<Box<dyn Any + Send>>>,
    }
    extern "C" fn range<F: Fn(usize)>(call: *const c_void, begin: i64, end: i64) {
        // SAFETY: the call below, which outlives the loop.
        let call = unsafe { &*call.cast::<Call<F>>() };
        let part = AssertUnwindSafe(|| (begin as usize..end as usize).for_each(&call.body));
        // A panic must not cross C++.
        if let Err(payload) = catch_unwind(part) {
            call.panicked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
    }
    fn thunk<F: Fn(usize)>(_: &Call<F>) -> Range {
        range::<F>
    }
    let call = Call { body, panicked: Mutex::new(None) };
    // SAFETY: the body is shared between threads, as `Sync` allows, and borrowed until all are done.
    unsafe { check(cagan_parallel_for(length as i64, 1, (&raw const call).cast(), thunk(&call))) }
    if let Some(payload) = call.panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_part_reaches_the_caller() {
        let loop_of_100 = AssertUnwindSafe(|| parallel_for(100, |i| assert_ne!(i, 70, "on purpose")));
        let payload = catch_unwind(loop_of_100).unwrap_err();
        assert!(payload.downcast_ref::<String>().unwrap().contains("on purpose"));
    }
}
