//! The division of a batch into tasks for threads.

use std::ops::Range;

/// About the number of channels in a task.
const BLOCK: usize = 64;

/// The tasks of a batch: a block of channels of one picture each.
#[derive(Clone, Copy)]
pub struct Blocks {
    pub channels: usize,
    pub pixels: usize,
    /// Channels of a norm's group.
    pub group: usize,
    /// Channels of a task: whole groups.
    block: usize,
}

impl Blocks {
    pub fn new(channels: usize, pixels: usize, group: usize) -> Self {
        Blocks { channels, pixels, group, block: group * (BLOCK / group).max(1) }
    }

    pub fn per_picture(self) -> usize {
        self.channels.div_ceil(self.block)
    }

    /// The picture and the channels of a task.
    pub fn task(self, task: usize) -> (usize, Range<usize>) {
        let first = task % self.per_picture() * self.block;
        let last = self.channels.min(first + self.block);
        (task / self.per_picture(), first..last)
    }
}
