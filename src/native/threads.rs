//! Loops on libtorch's threads.

use std::any::Any;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::shim::{Range, cagan_parallel_for, check, openmp_processors};
use super::waiting::compute_with;

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

/// Keeps the calling thread's number of libtorch's threads until it is dropped.
#[derive(Debug)]
#[must_use = "the number holds until the value is dropped"]
pub struct Threads {
    /// None if nothing was changed.
    before: Option<i32>,
    // It belongs to the thread that made it.
    _here: PhantomData<*const ()>,
}

/// Lets the calling thread compute with `count` threads of libtorch until the value is dropped; 0 changes nothing. Other
/// threads keep their numbers: how a sum is divided decides its last bits.
///
/// ```
/// let before = tch::get_num_threads();
/// let threads = cagan::native::use_threads(before as usize + 1);
/// assert_eq!(tch::get_num_threads(), before + 1);
/// assert_eq!(std::thread::spawn(tch::get_num_threads).join().unwrap(), before);
/// drop(threads);
/// assert_eq!(tch::get_num_threads(), before);
/// ```
pub fn use_threads(count: usize) -> Threads {
    if count == 0 || ALONE.load(Relaxed) {
        return Threads { before: None, _here: PhantomData };
    }
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Asked first: it lets libtorch take its default in this thread, which it would do later, over our number.
    let before = tch::get_num_threads();
    let changes = count as i32 != before;
    if changes {
        set_here(count as i32, &one);
    }
    Threads { before: changes.then_some(before), _here: PhantomData }
}

/// Lets libtorch compute with no more threads than a container's quota has CPUs: libtorch counts the machine's. The number
/// of `OMP_NUM_THREADS` or `MKL_NUM_THREADS` stays.
///
/// ```
/// cagan::native::respect_quota();
/// let cpus = std::thread::available_parallelism().map_or(1, usize::from);
/// let chosen = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"].iter().any(|name| std::env::var_os(name).is_some());
/// assert!(chosen || tch::get_num_threads() as usize <= cpus);
/// ```
pub fn respect_quota() {
    let chosen = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"].iter().any(|name| std::env::var_os(name).is_some());
    let cpus = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    if !chosen && cpus < openmp_processors() {
        tch::set_num_threads(cpus as i32);
    }
}

/// Makes [`use_threads`] change nothing in this process, a child of `fork`, whose parent's threads are not there.
pub fn stay_alone() {
    ALONE.store(true, Relaxed);
}

/// Whether [`stay_alone`] was called: this process starts no threads.
pub fn is_alone() -> bool {
    ALONE.load(Relaxed)
}

static ONE: Mutex<()> = Mutex::new(());
static ALONE: AtomicBool = AtomicBool::new(false);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            set_here(before, &ONE.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Sets the calling thread's number. libtorch keeps it for each thread, and one more for threads that come later: a
/// thread of our own reads that one, and puts it back. Who holds the lock does not see it in between.
fn set_here(count: i32, _one: &MutexGuard<'_, ()>) {
    let later = std::thread::spawn(tch::get_num_threads).join();
    tch::set_num_threads(count);
    compute_with(count.max(1) as usize);
    if let Ok(later) = later {
        let _ = std::thread::spawn(move || tch::set_num_threads(later)).join();
    }
}
