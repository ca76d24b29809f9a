//! A layer's weight, and spectral normalisation (Miyato et al. 2018, arXiv 1802.05957, algorithm 1): the weight is
//! divided by its largest singular value, so that the layer increases no distance.

use tch::{Kind, Tensor};

use super::parameters::{Init, Path, ReadAs};
use crate::config::Config;

/// The normalisation of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightNorm {
    None,
    /// Divides the weight by its spectral norm.
    Spectral,
}

impl WeightNorm {
    /// The normalisation of the discriminator's weights.
    pub fn of_discriminator(config: &Config) -> Self {
        match config.discriminator_spectral_norm {
            true => WeightNorm::Spectral,
            false => WeightNorm::None,
        }
    }
}

/// A weight as declared, or divided by its spectral norm.
#[derive(Debug)]
pub struct Weight {
    weight: Tensor,
    /// The estimate of the first left singular vector, `[c_out]`: state that passes from step to step, not a parameter.
    left: Option<Tensor>,
}

impl Weight {
    /// State-dict name `weight`, and with a spectral norm also the vector `left`.
    pub fn new(path: &Path, shape: &[i64], init: Init, read_as: ReadAs, norm: WeightNorm) -> Self {
        Weight {
            weight: path.declare("weight", shape, init, read_as),
            left: match norm {
                WeightNorm::None => None,
                WeightNorm::Spectral => Some(path.declare_vector("left", shape[0])),
            },
        }
    }

    /// Returns the weight that the layer computes with. One iteration from the kept vector improves the estimate for
    /// this call alone. Gradients pass through the norm but not through the vectors, as in the source.
    pub fn value(&self) -> Tensor {
        let Some(left) = &self.left else {
            return self.weight.shallow_clone();
        };
        let (left, right) = self.iterated(left);
        let norm = left.dot(&self.matrix().mv(&right));
        &self.weight / norm.to_kind(self.weight.kind())
    }

    /// Updates the vector by one iteration. Called once a step.
    pub fn iterate(&self) {
        if let Some(left) = &self.left {
            tch::no_grad(|| left.shallow_clone().copy_(&self.iterated(left).0));
        }
    }

    /// Computes the next left and right vector by one power iteration.
    fn iterated(&self, left: &Tensor) -> (Tensor, Tensor) {
        tch::no_grad(|| {
            let unit = |xs: Tensor| &xs / xs.norm().clamp_min(1e-12);
            let matrix = self.matrix();
            let right = unit(matrix.tr().mv(left));
            (unit(matrix.mv(&right)), right)
        })
    }

    /// `[c_out, the rest]`, float32.
    fn matrix(&self) -> Tensor {
        let rows = self.weight.size()[0];
        self.weight.reshape([rows, -1]).to_kind(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_iteration_by_hand_and_many_find_the_norm() {
        // Columns (3, 0) and (0, 4).
        let weight = Tensor::from_slice(&[3f32, 0.0, 0.0, 4.0]).reshape([2, 2, 1, 1]);
        let weight = weight.set_requires_grad(true);
        let layer = Weight { weight: weight.shallow_clone(), left: Some(Tensor::from_slice(&[0.8f32, 0.6])) };
        // Right: (2.4, 2.4) / |..| = (1, 1) / sqrt 2. W right = (3, 4) / sqrt 2, whose length is 5 / sqrt 2: the norm.
        let norm = 5.0 / 2f64.sqrt();
        let value = layer.value();
        assert!((value.double_value(&[0, 0, 0, 0]) - 3.0 / norm).abs() < 1e-6);
        // d (w11 / norm) / d w22 = -w11 / norm^2 * left_2 right_2 = -3 / 12.5 * 0.8 / sqrt 2
        value.get(0).sum(Kind::Float).backward();
        let slope = weight.grad().double_value(&[1, 1, 0, 0]);
        assert!((slope + 3.0 / 12.5 * 0.8 / 2f64.sqrt()).abs() < 1e-6, "{slope}");
        // A call does not update the vector; a step does.
        assert_eq!(layer.value(), value);
        layer.iterate();
        let left = Vec::<f32>::try_from(layer.left.as_ref().unwrap()).unwrap();
        assert!((left[0] - 0.6).abs() < 1e-6 && (left[1] - 0.8).abs() < 1e-6);
        (0..40).for_each(|_| layer.iterate());
        assert!((layer.value().double_value(&[1, 1, 0, 0]) - 1.0).abs() < 1e-5);
    }
}
