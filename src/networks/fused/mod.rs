//! The norm and the activation after a convolution, fused on a CPU: norm, noise, leaky ReLU and skip in three passes
//! over a block of a picture's channels, which stays in the processor's caches, and the gradient in two. libtorch
//! passes over the whole tensor, and allocates another, for each of the four, and more often for the gradient.

mod activated;
mod doubled;
mod kernels;
mod lanes;
mod tasks;

pub use activated::{activated, supports};
pub use doubled::doubled;
pub use lanes::Format;
