//! Neighbouring channels of a pixel, in either number format: plain loops that become vector instructions.

use std::ops::{Add, Mul, Sub};

use half::bf16;

/// A number format in memory.
pub trait Format: Copy + Send + Sync + 'static {
    fn read(self) -> f32;
    fn write(value: f32) -> Self;
}

impl Format for f32 {
    #[inline(always)]
    fn read(self) -> f32 {
        self
    }

    #[inline(always)]
    fn write(value: f32) -> Self {
        value
    }
}

impl Format for bf16 {
    #[inline(always)]
    fn read(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn write(value: f32) -> Self {
        bf16::from_f32(value)
    }
}

/// Values of `W` neighbouring channels, for vector instructions.
#[derive(Clone, Copy)]
pub struct Lanes<const W: usize>([f32; W]);

impl<const W: usize> Lanes<W> {
    #[inline(always)]
    pub fn all(value: f32) -> Self {
        Lanes([value; W])
    }

    #[inline(always)]
    pub fn load<T: Format>(from: *const T) -> Self {
        let mut lanes = [0.0; W];
        for (j, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: `from` is the place of a channel, from `Memory::at`, that W - 1 others follow.
            *lane = unsafe { *from.add(j) }.read();
        }
        Lanes(lanes)
    }

    #[inline(always)]
    pub fn store<T: Format>(self, to: *mut T) {
        for (j, lane) in self.0.into_iter().enumerate() {
            // SAFETY: as in `load`; no other task writes to these places.
            unsafe { *to.add(j) = T::write(lane) };
        }
    }

    /// Multiplies `self` by `slope` where `before` is not positive. `RELU` is for slope 0: the result there is 0 also for
    /// an infinite value, and a NaN of `before` leaves `self`, as in libtorch.
    #[inline(always)]
    pub fn leaky<const RELU: bool>(mut self, before: Self, slope: f32) -> Self {
        if RELU {
            for (lane, before) in self.0.iter_mut().zip(before.0) {
                *lane = if before <= 0.0 { 0.0 } else { *lane };
            }
        } else {
            for (lane, before) in self.0.iter_mut().zip(before.0) {
                *lane = if before > 0.0 { *lane } else { slope * *lane };
            }
        }
        self
    }
}

impl<const W: usize> Add for Lanes<W> {
    type Output = Self;
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane += other;
        }
        self
    }
}

impl<const W: usize> Sub for Lanes<W> {
    type Output = Self;
    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane -= other;
        }
        self
    }
}

impl<const W: usize> Mul for Lanes<W> {
    type Output = Self;
    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane *= other;
        }
        self
    }
}
