//! The precision of float32 computations.

use tch::Device;

use crate::config::Precision;
use crate::native::{Round, Rounding};

/// Sets the precision of this process until the value is dropped. torch's default for convolutions on CUDA is TF32, not
/// float32, and a program may have allowed bfloat16 on a CPU. The switches belong to the process, not to a network.
pub fn use_precision(precision: Precision, device: Device) -> Rounding {
    Rounding::set(match (device, precision) {
        (Device::Cuda(_), Precision::Tf32) => Round::CudaTf32,
        (Device::Cuda(_), Precision::Fp32 | Precision::Bf16) => Round::Cuda,
        _ => Round::Cpu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tf32_allowed;

    #[test]
    fn the_precision_sets_both_switches_for_cuda_alone_and_for_a_time() {
        assert_eq!(tf32_allowed(), [false, true], "torch's defaults");
        for (precision, device, expected) in [
            (Precision::Fp32, Device::Cpu, [false, true]),
            (Precision::Fp32, Device::Cuda(0), [false, false]),
            (Precision::Tf32, Device::Cuda(0), [true, true]),
            (Precision::Bf16, Device::Cuda(0), [false, false]),
        ] {
            let used = use_precision(precision, device);
            assert_eq!(tf32_allowed(), expected, "{precision:?} {device:?}");
            drop(used);
            assert_eq!(tf32_allowed(), [false, true]);
        }
        // Of two at once, as of two threads, the later end restores.
        let (one, other) =
            (use_precision(Precision::Tf32, Device::Cuda(0)), use_precision(Precision::Fp32, Device::Cpu));
        drop(one);
        assert_eq!(tf32_allowed(), [true, true]);
        drop(other);
        assert_eq!(tf32_allowed(), [false, true]);
    }
}
