//! The precision of this process on CUDA.

use tch::Device;

use crate::config::Precision;
use crate::native::allow_tf32;

/// Sets the precision of this process on a CUDA `device`. torch's default for convolutions is TF32, not float32. Call
/// this before each step and each swap: the switches belong to the process, not to a network.
pub fn use_precision(precision: Precision, device: Device) {
    if device.is_cuda() {
        allow_tf32(precision == Precision::Tf32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tf32_allowed;

    #[test]
    fn the_precision_sets_both_switches_and_only_for_cuda() {
        assert_eq!(tf32_allowed(), [false, true], "torch's defaults");
        use_precision(Precision::Fp32, Device::Cpu);
        assert_eq!(tf32_allowed(), [false, true]);
        use_precision(Precision::Fp32, Device::Cuda(0));
        assert_eq!(tf32_allowed(), [false, false]);
        use_precision(Precision::Tf32, Device::Cuda(0));
        assert_eq!(tf32_allowed(), [true, true]);
        use_precision(Precision::Bf16, Device::Cuda(0));
        assert_eq!(tf32_allowed(), [false, false]);
    }
}
