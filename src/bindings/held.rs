//! What threads share under a lock, also after a `fork`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::error::{Error, Result};

/// A value under a lock. In a child of `fork` nobody lets go of a lock that another thread of the parent held: to ask
/// for it is then an error.
pub struct Held<T> {
    value: Mutex<T>,
    /// The process that took the lock last.
    holder: AtomicU32,
}

impl<T> Held<T> {
    /// Between two looks at a lock of another process, and how many there are: a thread of this one may just have taken
    /// it.
    const LOOK: Duration = Duration::from_millis(5);
    const LOOKS: u32 = 100;

    /// Shares a value.
    pub fn new(value: T) -> Self {
        Held { value: Mutex::new(value), holder: AtomicU32::new(std::process::id()) }
    }

    /// Locks in a computation. What a panic left is still whole: [`super::compute::compute`] caught it.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        self.check()?;
        let guard = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.holder.store(std::process::id(), Relaxed);
        Ok(guard)
    }

    /// Locks without the interpreter, so that the thread that holds the lock can take it.
    pub fn lock_attached(&self, py: Python<'_>) -> Result<MutexGuard<'_, T>>
    where
        T: Send,
    {
        py.detach(|| self.check())?;
        let guard = self.value.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        self.holder.store(std::process::id(), Relaxed);
        Ok(guard)
    }

    /// Checks that a thread of this process holds the lock, or none.
    fn check(&self) -> Result<()> {
        for _ in 0..Self::LOOKS {
            if self.holder.load(Relaxed) == std::process::id()
                || !matches!(self.value.try_lock(), Err(TryLockError::WouldBlock))
            {
                return Ok(());
            }
            std::thread::sleep(Self::LOOK);
        }
        Err(Error::Forked)
    }
}
