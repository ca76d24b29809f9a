//! The one way from Python into a computation.

use std::cell::OnceCell;
use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;
use crate::native::{isolated, outside, stay_alone};
use crate::storage::lacking;

/// Computes without the interpreter, independently of the thread's `no_grad`, `inference_mode` and `autocast`. A panic
/// becomes an exception. What a file system lacked becomes a warning.
pub fn compute<T: Send, E: From<Error> + Into<PyErr> + Send>(
    py: Python<'_>,
    body: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    let result = py.detach(|| isolated(|| in_living_threads(body))).map_err(Into::into)?;
    if let Some(text) = lacking() {
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(text)?, 1)?;
    }
    Ok(result)
}

/// Locks without the interpreter, so that the thread that holds the lock can take it. What a panic left is still whole:
/// [`compute`] caught it.
pub fn lock<'a, T>(py: Python<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    mutex.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
}

/// Hears Ctrl-C during a long computation.
pub struct Signals(Instant);

impl Signals {
    /// Waiting for the interpreter at each call would take longer than small work itself.
    const EVERY: Duration = Duration::from_millis(50);

    /// Begins now.
    pub fn new() -> Self {
        Signals(Instant::now())
    }

    /// Calls Python's signal handlers, if it is time for that. To be called without locks: a handler may do anything.
    pub fn check(&mut self) -> PyResult<()> {
        if self.0.elapsed() < Self::EVERY {
            return Ok(());
        }
        let checked = outside(|| Python::attach(|py| py.check_signals()));
        self.0 = Instant::now();
        checked
    }
}

/// A child of `fork` inherits the thread pools of rayon and OpenMP without their threads and would wait for them
/// forever. It gets a rayon pool of its own, and one OpenMP thread.
fn in_living_threads<T: Send, E: From<Error> + Send>(body: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E> {
    /// The process whose threads the pools are; 0 before the first computation.
    static OWNER: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static POOL: OnceCell<ThreadPool> = const { OnceCell::new() };
    }
    let me = std::process::id();
    match OWNER.compare_exchange(0, me, Relaxed, Relaxed) {
        Ok(_) => body(),
        Err(owner) if owner == me => body(),
        Err(_) => {
            tch::set_num_threads(1);
            stay_alone();
            // The calling thread is one of the pool: Python hears signals on its main thread alone.
            let pool =
                || ThreadPoolBuilder::new().use_current_thread().start_handler(|_| tch::set_num_threads(1)).build();
            POOL.with(|cell| {
                if cell.get().is_none() {
                    let pool = pool().map_err(|e| Error::Panic(format!("threads after a fork: {e}")))?;
                    cell.set(pool).expect("empty, and of this thread alone");
                }
                cell.get().expect("just set").install(body)
            })
        }
    }
}
