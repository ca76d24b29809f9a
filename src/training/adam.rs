//! Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1, in the order of operations of torch.optim.Adam) on a flat buffer.

use multiversion::multiversion;
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::native::{Memory, parallel_for};

/// Moments and hyperparameters of one network. The step counter lives on the device, so that a step reads nothing from
/// the host.
#[derive(Debug)]
pub struct Adam {
    /// The first moment, of the values' shape.
    pub first: Tensor,
    /// The second moment, of the values' shape.
    pub second: Tensor,
    steps: Tensor,
    rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
}

impl Adam {
    /// Makes the optimiser of a buffer like `values`, at the full rate `rate`.
    pub fn new(values: &Tensor, config: &Config, rate: f64) -> Self {
        Adam {
            first: values.zeros_like(),
            second: values.zeros_like(),
            steps: Tensor::zeros([], (Kind::Double, values.device())),
            rate,
            beta1: config.adam_beta1,
            beta2: config.adam_beta2,
            epsilon: config.adam_epsilon,
        }
    }

    /// Counts the updates done so far.
    pub fn steps(&self) -> u64 {
        self.steps.double_value(&[]) as u64
    }

    /// The number of updates, on the device.
    pub(super) fn counter(&self) -> &Tensor {
        &self.steps
    }

    /// Continues after `steps` updates.
    pub fn set_steps(&mut self, steps: u64) {
        let _ = self.steps.fill_(steps as f64);
    }

    /// One update of `values` by `gradient`, both flat float32, at `factor` times the full rate.
    pub fn step(&mut self, values: &mut Tensor, gradient: &Tensor, factor: f64) {
        tch::no_grad(|| {
            if values.device() == Device::Cpu {
                self.step_on_cpu(values, gradient, factor);
            } else {
                let _ = self.steps.g_add_scalar_(1.0);
                self.step_on_device(values, gradient, factor);
            }
        });
    }

    /// The update in tensor operations alone.
    fn step_on_device(&mut self, values: &mut Tensor, gradient: &Tensor, factor: f64) {
        let correction1: Tensor = 1.0 - Tensor::pow_scalar(self.beta1, &self.steps);
        let correction2: Tensor = 1.0 - Tensor::pow_scalar(self.beta2, &self.steps);
        let _ = self.first.lerp_(gradient, 1.0 - self.beta1);
        let _ = self.second.lerp_(&gradient.square(), 1.0 - self.beta2);
        let mut denominator = self.second.sqrt();
        let _ = denominator.g_div_(&correction2.sqrt());
        let _ = denominator.g_add_scalar_(self.epsilon);
        let rate = -self.rate * factor / correction1;
        let _ = values.addcdiv_(&(&self.first * rate), &denominator);
    }

    /// The same in one pass over memory: on a CPU a dozen passes over the buffers cost as much as a network's layer. It
    /// allocates nothing, so that it cannot fail halfway.
    fn step_on_cpu(&mut self, values: &mut Tensor, gradient: &Tensor, factor: f64) {
        const CHUNK: usize = 1 << 14;
        let t = self.steps.double_value(&[]) + 1.0;
        let update = Update {
            rate: (self.rate * factor / (1.0 - self.beta1.powf(t))) as f32,
            root: (1.0 - self.beta2.powf(t)).sqrt() as f32,
            take1: (1.0 - self.beta1) as f32,
            keep2: self.beta2 as f32,
            take2: (1.0 - self.beta2) as f32,
            epsilon: self.epsilon as f32,
        };
        let length = values.numel();
        let flat = [&*values, &self.first, &self.second, gradient];
        for tensor in flat {
            assert!(tensor.is_contiguous() && tensor.kind() == Kind::Float);
            assert!(tensor.device() == Device::Cpu && tensor.numel() == length);
        }
        let memory = flat.map(Memory::<f32>::of);
        parallel_for(length.div_ceil(CHUNK), |chunk| {
            let start = chunk * CHUNK;
            let count = CHUNK.min(length - start);
            // SAFETY: chunks of contiguous float32 memory on the CPU, as checked above, each handed out once; three of
            // the tensors are borrowed mutably, and the gradient is another.
            let [values, first, second, gradient] =
                [0, 1, 2, 3].map(|k: usize| unsafe { std::slice::from_raw_parts_mut(memory[k].at(start), count) });
            update.apply(values, first, second, gradient);
        });
        self.set_steps(t as u64);
    }
}

/// The numbers of one step.
#[derive(Clone, Copy)]
struct Update {
    rate: f32,
    root: f32,
    take1: f32,
    keep2: f32,
    take2: f32,
    epsilon: f32,
}

impl Update {
    fn apply(self, values: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
        fn best(of: Update, values: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
            let (first, second) = (&mut first[..values.len()], &mut second[..values.len()]);
            let gradient = &gradient[..values.len()];
            for i in 0..values.len() {
                let g = gradient[i];
                first[i] += of.take1 * (g - first[i]);
                second[i] = of.keep2 * second[i] + of.take2 * g * g;
                values[i] -= of.rate * first[i] / (second[i].sqrt() / of.root + of.epsilon);
            }
        }
        best(self, values, first, second, gradient);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    fn flat(values: &[f32]) -> Tensor {
        Tensor::from_slice(values)
    }

    #[test]
    fn the_first_step_is_the_rate_and_the_second_is_worked_by_hand() {
        let config = Config::preset(Preset::Paper);
        let mut values = flat(&[1.0, 1.0]);
        let mut adam = Adam::new(&values, &config, 0.1);
        adam.step(&mut values, &flat(&[0.5, -3.0]), 1.0);
        // Bias correction makes the first step rate * sign(gradient).
        let first = Vec::<f32>::try_from(&values).unwrap();
        assert!((first[0] - 0.9).abs() < 1e-6 && (first[1] - 1.1).abs() < 1e-6, "{first:?}");
        // Half of twice the rate is the rate.
        adam.rate = 0.2;
        adam.step(&mut values, &flat(&[1.5, -3.0]), 0.5);
        // m = 0.5 * 0.25 + 0.5 * 1.5 = 0.875, corrected / 0.75 = 1.1666667;
        // v = 0.999 * 0.00025 + 0.001 * 2.25 = 0.00249975, corrected / 0.001999 = 1.2505; root 1.1182576.
        // 0.9 - 0.1 * 1.1666667 / 1.1182576 = 0.7956710
        let second = Vec::<f32>::try_from(&values).unwrap();
        assert!((second[0] - 0.795_671).abs() < 1e-5, "{second:?}");
    }

    #[test]
    fn both_forms_are_one_update() {
        let config = Config::preset(Preset::Paper);
        let draw = |number| {
            let mut t = Tensor::zeros([1000], (Kind::Float, Device::Cpu));
            crate::random::fill_normal(&mut t, 1.0, 1, "adam", number);
            t
        };
        let (mut a, mut b) = (draw(0), draw(0));
        let (mut fast, mut plain) = (Adam::new(&a, &config, 2e-4), Adam::new(&b, &config, 2e-4));
        for number in 1..20 {
            let gradient = draw(number);
            fast.step(&mut a, &gradient, 0.75);
            let _ = plain.steps.g_add_scalar_(1.0);
            plain.step_on_device(&mut b, &gradient, 0.75);
        }
        let moved = (&a - draw(0)).abs().mean(Kind::Float).double_value(&[]);
        let apart = (a - b).abs().max().double_value(&[]);
        assert!(apart < 1e-6 && moved > 1e-4, "{apart} {moved}");
    }
}
