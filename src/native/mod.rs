//! Parts of libtorch that tch does not wrap, through one C++ shim: its threads and their state, functions with a gradient
//! of their own, memory and its layout, the TF32 switches.

mod differentiable;
mod isolated;
mod memory;
mod shim;
mod tf32;
mod threads;

pub use differentiable::differentiable;
pub use isolated::{isolated, outside};
pub use memory::{Memory, channels_last, keep_memory};
pub use tf32::{allow_tf32, tf32_allowed};
pub use threads::{Threads, parallel_for, stay_alone, use_threads};
