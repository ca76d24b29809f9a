//! The division of a batch into tasks for threads.

use std::ops::Range;

/// About the number of channels in a task.
const BLOCK: usize = 64;
/// The channels that a pass takes at once.
const LANES: usize = 16;
/// The values that a task of few channels has at least: less is done sooner than another thread begins.
const LEAST: usize = 1 << 14;

/// The tasks of a batch: a block of channels of one picture each. A channel's values do not depend on the division.
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
    /// Divides each picture of a batch. A batch of fewer tasks than threads has smaller ones.
    pub fn new(pictures: usize, channels: usize, pixels: usize, group: usize, threads: usize) -> Self {
        let usual = group * (BLOCK / group).max(1);
        let wanted = channels.div_ceil(threads.div_ceil(pictures.max(1)).max(1));
        let unit = group * LANES.div_ceil(group);
        let least = LEAST.div_ceil(pixels.max(1));
        let block = wanted.max(least).next_multiple_of(unit).min(usual);
        Blocks { channels, pixels, group, block }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_a_part_of_a_single_picture() {
        let tasks = |pictures, channels, pixels, group, threads| {
            Blocks::new(pictures, channels, pixels, group, threads).per_picture()
        };
        // A layer of 64 channels, 8 of them a group.
        assert_eq!(tasks(1, 64, 3072, 8, 1), 1);
        assert_eq!(tasks(1, 64, 3072, 8, 2), 2);
        assert_eq!(tasks(1, 64, 3072, 8, 16), 4);
        // Two threads have enough with two pictures.
        assert_eq!([tasks(2, 64, 3072, 8, 2), tasks(16, 64, 3072, 8, 2)], [1, 1]);
        // 256 channels are four tasks already; 12 x 16 pixels of 64 channels are too few for two.
        assert_eq!([tasks(1, 256, 3072, 32, 2), tasks(1, 64, 192, 8, 2)], [4, 1]);
    }

    #[test]
    fn tasks_are_whole_groups_and_take_each_channel_once() {
        for (channels, group) in [(20, 1), (64, 8), (64, 1), (24, 12), (96, 12), (256, 32), (1024, 128), (30, 15)] {
            for threads in [1, 2, 3, 7, 64] {
                for pictures in [1, 2, 5] {
                    let blocks = Blocks::new(pictures, channels, 4096, group, threads);
                    let mut taken = vec![0; pictures * channels];
                    for task in 0..pictures * blocks.per_picture() {
                        let (n, range) = blocks.task(task);
                        assert!(range.start % group == 0 && range.end % group == 0 && !range.is_empty());
                        range.for_each(|c| taken[n * channels + c] += 1);
                    }
                    assert!(taken.iter().all(|times| *times == 1), "{channels} {group} {threads} {pictures}");
                }
            }
        }
    }
}
