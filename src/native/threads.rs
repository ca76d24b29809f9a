//! Loops on libtorch's threads.

use std::ffi::c_void;

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
    extern "C" fn range<F: Fn(usize)>(body: *const c_void, begin: i64, end: i64) {
        // SAFETY: the closure that `parallel_for` passed, which outlives the call.
        let body = unsafe { &*body.cast::<F>() };
        (begin as usize..end as usize).for_each(body);
    }
    fn thunk<F: Fn(usize)>(_: &F) -> Range {
        range::<F>
    }
    // SAFETY: the body is shared between threads, as `Sync` allows, and borrowed until all are done.
    unsafe { check(cagan_parallel_for(length as i64, 1, (&raw const body).cast(), thunk(&body))) }
}
