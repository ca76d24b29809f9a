//! The way back from a step that fails between the discriminator's update and the generator's.

use tch::Tensor;

use super::models::Learner;

/// A copy of the discriminator as it was before a step. The generator, the larger network, is updated last and needs
/// none.
#[derive(Debug)]
pub struct Undo(Vec<Tensor>);

impl Undo {
    /// Allocates the copy.
    pub fn of(discriminator: &Learner) -> Undo {
        Undo(buffers(discriminator).into_iter().map(Tensor::copy).collect())
    }

    /// Copies the discriminator before a step. Allocates nothing.
    pub fn keep(&mut self, discriminator: &Learner) {
        tch::no_grad(|| {
            for (kept, buffer) in self.0.iter_mut().zip(buffers(discriminator)) {
                kept.copy_(buffer);
            }
        });
    }

    /// Makes the discriminator what it was. Allocates nothing.
    pub fn restore(&self, discriminator: &mut Learner) {
        tch::no_grad(|| {
            for (kept, buffer) in self.0.iter().zip(buffers(discriminator)) {
                buffer.shallow_clone().copy_(kept);
            }
        });
        discriminator.parameters.changed();
        discriminator.torn = false;
    }
}

/// All that a step changes.
fn buffers(learner: &Learner) -> Vec<&Tensor> {
    let Learner { parameters, adam, .. } = learner;
    let vectors = parameters.vectors.as_ref().map(|vectors| &vectors.values);
    [&parameters.values, &adam.first, &adam.second, adam.counter()].into_iter().chain(vectors).collect()
}
