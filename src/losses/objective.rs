//! The generator's loss, a weighted sum of terms. Both sources: L_cGAN + identity_weight * L_id + cycle_weight * L_cyc
//! (A, P: 1 : 0.1 : 1).

use tch::Tensor;

/// The generator's loss and its terms, unweighted, by log key. All are scalars on the device.
///
/// ```
/// use cagan::losses::Objective;
/// let term = |v: f32| tch::Tensor::from_slice(&[v]).sum(tch::Kind::Float);
/// let mut objective = Objective::new();
/// objective.add("loss/generator/adversarial", 1.0, term(1.0));
/// objective.add("loss/generator/identity", 0.5, term(4.0));
/// objective.extra("loss/generator/self_swap", 0.0, || panic!("not computed"));
/// objective.extra("loss/generator/mask_tv", 2.0, || term(8.0));
/// // 1 + 0.5 * 4 + 2 * 8
/// assert_eq!(objective.total.double_value(&[]), 19.0);
/// assert_eq!(objective.terms.len(), 3);
/// ```
#[derive(Debug, Default)]
pub struct Objective {
    /// The weighted sum.
    pub total: Tensor,
    /// The terms, unweighted, by log key.
    pub terms: Vec<(&'static str, Tensor)>,
}

impl Objective {
    /// Starts without terms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a term, which is logged at any weight.
    pub fn add(&mut self, name: &'static str, weight: f64, term: Tensor) {
        let weighted = weight * &term;
        self.total = if self.terms.is_empty() { weighted } else { &self.total + weighted };
        self.terms.push((name, term));
    }

    /// Adds a term, but neither computes nor logs it at weight 0.
    pub fn extra(&mut self, name: &'static str, weight: f64, term: impl FnOnce() -> Tensor) {
        if weight != 0.0 {
            self.add(name, weight, term());
        }
    }
}
