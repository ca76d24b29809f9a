//! The choices among objectives, and of what keeps the discriminator in bounds.

use serde::{Deserialize, Serialize};

/// The form of L_cGAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdversarialLoss {
    /// Cross-entropy with the non-saturating generator, both sources'.
    Logistic,
    /// Lim & Ye 2017, arXiv 1705.02894.
    Hinge,
    /// Mao et al. 2017, arXiv 1611.04076.
    LeastSquares,
}

/// What the second swap, which dresses the person back, starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reverse {
    /// The composite itself: the cycle loss trains both swaps (A, P).
    Through,
    /// The composite as given: the cycle loss trains the second swap alone.
    Detached,
}

/// What the discriminator's layers but the first are normalised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiscriminatorNorm {
    /// Each picture's and channel's own mean and variance, as the article's.
    Instance,
    None,
}

/// Whose means the instance norms' backward pass takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormGradient {
    /// Each picture's own, as calculus has it.
    Picture,
    /// The batch's: the fault of a dependency of the article's code, kept to see what it does.
    Batch,
}
