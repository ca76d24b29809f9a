//! The norm and the activation after a convolution, by libtorch's operations.

use tch::Tensor;

use super::norm::Norm;

/// The operations after a convolution and its norm.
#[derive(Clone, Copy, Debug)]
pub struct After<'a> {
    /// Added before the activation, `[N, C, H, W]`.
    pub noise: Option<&'a Tensor>,
    /// The factor of negative values: leaky ReLU's slope, 0 for ReLU.
    pub slope: f64,
    /// Added after the activation, `[N, C, H, W]`. Excludes noise.
    pub skip: Option<&'a Tensor>,
}

impl After<'_> {
    /// Leaky ReLU with the slope of all presets, and nothing else.
    pub const LEAKY: After<'static> = After { noise: None, slope: 0.2, skip: None };
    /// ReLU, and nothing else.
    pub const RELU: After<'static> = After { noise: None, slope: 0.0, skip: None };
}

/// Computes leaky(norm(xs) + noise) + skip.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`. Returns the same.
pub fn activated(xs: Tensor, norm: Option<&Norm>, after: After) -> Tensor {
    let mut ys = match norm {
        Some(norm) => norm.forward(&xs),
        None => xs,
    };
    if let Some(noise) = after.noise {
        ys += noise;
    }
    let ys = match after.slope {
        0.0 => ys.relu(),
        slope => leaky_relu(&ys, slope),
    };
    match after.skip {
        Some(skip) => ys + skip,
        None => ys,
    }
}

/// max(x, slope * x).
///
/// libtorch's binding of `leaky_relu` takes no slope, but that of its backward pass does. The "gradient" of x at x is x
/// or slope * x, and is linear in its first argument.
pub fn leaky_relu(xs: &Tensor, slope: f64) -> Tensor {
    xs.detach().leaky_relu_backward(xs, slope, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn leaky_relu_and_its_gradient() {
        let xs = Tensor::from_slice(&[-2.0f32, -0.5, 0.0, 3.0]).set_requires_grad(true);
        let ys = leaky_relu(&xs, 0.2);
        assert_eq!(Vec::<f32>::try_from(&ys).unwrap(), [-0.4, -0.1, 0.0, 3.0]);
        let weights = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]);
        (ys * weights).sum(Kind::Float).backward();
        let gradient = Vec::<f32>::try_from(xs.grad()).unwrap();
        assert_eq!(gradient, [0.2, 0.4, 0.6, 4.0]);
    }
}
