//! Parts of libtorch that tch does not wrap, through one C++ shim: its threads and their state, functions with a gradient
//! of their own, memory and its layout, its generators, the switches that round float32, sums over several processes.

mod collective;
mod convolution;
mod differentiable;
mod generator;
mod isolated;
mod memory;
mod rounding;
mod shim;
mod threads;
mod waiting;

pub use collective::{Shared, all_reduce, broadcast};
pub use convolution::{convolution_gradients, product};
pub use differentiable::differentiable;
pub use generator::{LentGenerator, fill_normal};
pub use isolated::{isolated, outside};
pub use memory::{Element, Memory, channels_last, keep_memory, pinned, sent};
pub use rounding::{Round, Rounding, convolutions_tried, exact_products, tf32_allowed, try_convolutions};
pub use threads::{Threads, is_alone, parallel_for, respect_quota, stay_alone, use_threads};
