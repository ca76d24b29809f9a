//! The share of one of several processes that train together.

use std::fmt;
use std::ops::Range;

use tch::Tensor;

use crate::error::Result;

/// A process among those that train together. Each takes its own rows of every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The number of the process, from 0.
    pub rank: usize,
    /// The number of processes.
    pub world: usize,
    /// The number of them on this machine, which share its memory and its cores.
    pub here: usize,
}

impl Share {
    /// A process alone.
    pub const WHOLE: Share = Share { rank: 0, world: 1, here: 1 };

    /// Returns the rows of a batch that the process takes. Two shares differ by at most one row.
    ///
    /// ```
    /// use cagan::data::Share;
    /// let rows = |rank| Share { rank, world: 3, here: 3 }.rows(8);
    /// assert_eq!([rows(0), rows(1), rows(2)], [0..2, 2..5, 5..8]);
    /// ```
    pub fn rows(self, batch: usize) -> Range<usize> {
        batch * self.rank / self.world..batch * (self.rank + 1) / self.world
    }

    /// Whether the process takes a file: every one of `world`.
    pub(super) fn takes(self, file: usize) -> bool {
        file % self.world == self.rank
    }
}

/// What processes that load together tell each other. All of them make the same calls in the same order.
pub trait Crew: fmt::Debug {
    /// This process's share.
    fn share(&self) -> Share;

    /// Adds a tensor up over the processes, in place. It is on the CPU.
    ///
    /// # Errors
    /// [`crate::Error::Lost`].
    fn sum(&self, values: &Tensor) -> Result<()>;

    /// Tells the others of this process's trouble, if it has any.
    ///
    /// # Errors
    /// [`crate::Error::Peer`] with the trouble of the first process that has any, unless this one has; or
    /// [`crate::Error::Lost`].
    fn hear(&self, trouble: Option<&str>) -> Result<()>;

    /// The words on a process that was told to stop.
    fn why_stopped(&self) -> String {
        "was stopped".into()
    }
}

/// Returns this process's own error, or that of another one, which all processes then return.
///
/// # Errors
/// As said; [`crate::Error::Lost`].
pub fn agreed<T>(crew: &dyn Crew, own: Result<T>) -> Result<T> {
    let trouble = own.as_ref().err().filter(|error| !error.is_of_others()).map(ToString::to_string);
    let others = crew.hear(trouble.as_deref());
    own.and_then(|value| others.map(|()| value))
}

/// A crew of one.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Crew for Alone {
    fn share(&self) -> Share {
        Share::WHOLE
    }

    fn sum(&self, _: &Tensor) -> Result<()> {
        Ok(())
    }

    fn hear(&self, _: Option<&str>) -> Result<()> {
        Ok(())
    }
}
