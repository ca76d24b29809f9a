//! libtorch's generators. Those of the process are its owner's: their state is as before after each use.

use std::ptr::null_mut;

use tch::Tensor;

use super::shim::{cagan_generator_state, cagan_normal, cagan_seed_generator, cagan_set_generator_state, check, taken};

/// Fills a tensor with gaussian values of mean 0, on its device, from a generator of its own.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// let mut drawn = Tensor::zeros([8], (Kind::Float, Device::Cpu));
/// cagan::native::fill_normal(&mut drawn, 1.0, 3);
/// tch::manual_seed(3);
/// assert_eq!(drawn, Tensor::randn([8], (Kind::Float, Device::Cpu)));
/// ```
pub fn fill_normal(tensor: &mut Tensor, sigma: f64, seed: u64) {
    // SAFETY: the tensor outlives the call.
    unsafe { check(cagan_normal(tensor.as_mut_ptr(), sigma, seed)) }
}

/// Lends the generator that all of the process draws from on a device, for draws that cannot name another one: those
/// of a recorded step. Its state is as before at the end.
#[derive(Debug)]
pub struct LentGenerator {
    like: Tensor,
    state: Tensor,
}

impl LentGenerator {
    /// Takes the generator of the device of `like`, and seeds it.
    pub fn seeded(like: &Tensor, seed: u64) -> Self {
        let mut state = null_mut();
        // SAFETY: the tensors and the place outlive the calls; the state is a new tensor.
        unsafe {
            check(cagan_generator_state(like.as_ptr(), &raw mut state));
            let lent = LentGenerator { like: like.shallow_clone(), state: Tensor::from_ptr(state) };
            check(cagan_seed_generator(like.as_ptr(), seed));
            lent
        }
    }
}

impl Drop for LentGenerator {
    fn drop(&mut self) {
        // SAFETY: both tensors are alive. A drop must not panic, so a message is dropped.
        drop(unsafe { taken(cagan_set_generator_state(self.like.as_ptr(), self.state.as_ptr())) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_processs_generator_goes_on_as_if_nobody_had_drawn() {
        let draw = || Tensor::randn([5], (Kind::Float, Device::Cpu));
        // Tests share the generator: this one holds none of its numbers between two draws of its own.
        let like = Tensor::zeros([5], (Kind::Float, Device::Cpu));
        let state = LentGenerator::seeded(&like, 0);
        tch::manual_seed(7);
        let expected = [draw(), draw()];
        tch::manual_seed(7);
        let first = draw();
        fill_normal(&mut like.shallow_clone(), 1.0, 3);
        let lent = LentGenerator::seeded(&like, 3);
        assert_eq!(draw(), like);
        drop(lent);
        assert_eq!([first, draw()], expected);
        drop(state);
    }
}
