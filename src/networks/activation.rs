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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Precision;
    use crate::networks::parameters::{Parameters, Path};
    use tch::{Device, Kind};

    #[test]
    fn plain_and_fused_agree() {
        let drawn = |number| {
            let mut t = Tensor::zeros([2, 16, 6, 5], (Kind::Float, Device::Cpu));
            crate::random::fill_normal(&mut t, 1.0, 3, "activation", number);
            t
        };
        let (xs, other) = (drawn(0), drawn(1));
        let norms = |path: &Path| {
            [
                None,
                Some(Norm::instance(&path.sub("instance"), 16, NormGradient::Picture)),
                Some(Norm::grouped(&path.sub("grouped"), 16)),
            ]
        };
        let (norms, _parameters) = Parameters::build(norms, Device::Cpu, Precision::Fp32, 0, "init");
        for norm in &norms {
            for after in [
                After::LEAKY,
                After { noise: Some(&other), ..After::LEAKY },
                After { skip: Some(&other), ..After::RELU },
            ] {
                let apply = |way: Activation| way.apply(xs.copy(), norm.as_ref(), after);
                let apart = (apply(Activation::Plain) - apply(Activation::Fused)).abs().max().double_value(&[]);
                assert!(apart < 1e-5, "{norm:?} {after:?}: {apart}");
            }
        }
    }
}
