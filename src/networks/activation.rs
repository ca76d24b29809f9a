//! The choice between plain and fused operations for the norm and the activation after a convolution.

use tch::Tensor;

use super::norm::Norm;
use super::plain::After;
use super::{fused, plain};
use crate::config::{Config, NormGradient};

/// The operations that compute leaky(norm(xs) + noise) + skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// libtorch's operations one after the other.
    Plain,
    /// Fused passes on a CPU, differentiable once. libtorch's operations on other devices.
    Fused,
}

impl Activation {
    /// Fused operations, if the config allows them: R1 needs a second derivative, and the fused gradient is that of
    /// each picture's own statistics.
    pub fn of(config: &Config) -> Self {
        match config.norm_gradient {
            NormGradient::Picture if config.r1_weight == 0.0 => Activation::Fused,
            NormGradient::Picture | NormGradient::Batch => Activation::Plain,
        }
    }

    /// Computes leaky(norm(xs) + noise) + skip.
    ///
    /// # Shapes
    /// `xs`: `[N, C, H, W]`. Returns the same.
    pub fn apply(self, xs: Tensor, norm: Option<&Norm>, after: After) -> Tensor {
        match self {
            Activation::Fused if fused::supports(&xs) => fused::activated(&xs, norm, after),
            Activation::Fused | Activation::Plain => plain::activated(xs, norm, after),
        }
    }
}
