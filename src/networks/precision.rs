//! The precision of float32 computations.

use tch::Device;

use crate::config::Precision;
use crate::native::{Round, Rounding, try_convolutions};

/// Whether layers compute with the channels of each pixel together: on a CPU, and on CUDA where the tensor cores compute,
/// which read them so. cuDNN would turn the pictures around before and after each convolution.
pub fn computes_channels_last(precision: Precision, device: Device) -> bool {
    match device {
        Device::Cpu => true,
        Device::Cuda(_) => matches!(precision, Precision::Bf16 | Precision::Tf32),
        _ => false,
    }
}

/// Sets the precision of this process until the value is dropped. torch's default for convolutions on CUDA is TF32, not
/// float32, and a program may have allowed bfloat16 on a CPU. The switches belong to the process, not to a network.
pub fn use_precision(precision: Precision, device: Device) -> Rounding {
    Rounding::set(match (device, precision) {
        (Device::Cuda(_), Precision::Tf32) => Round::CudaTf32,
        (Device::Cuda(_), Precision::Fp32 | Precision::Bf16) => Round::Cuda,
        _ => Round::Cpu,
    })
}

/// As [`use_precision`], for steps: cuDNN tries its ways to compute a convolution and keeps the fastest of each shape.
/// A run's shapes stay the same; batches of swaps change, and each new one would be tried.
pub fn use_precision_in_steps(precision: Precision, device: Device) -> Rounding {
    let rounding = use_precision(precision, device);
    if device.is_cuda() {
        try_convolutions(true);
    }
    rounding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::{convolutions_tried, tf32_allowed};

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
        // cuDNN tries in steps alone, and on CUDA alone; not while a graph is recorded.
        assert!(!convolutions_tried(), "torch's default");
        drop(use_precision(Precision::Bf16, Device::Cuda(0)));
        for (device, expected) in [(Device::Cpu, false), (Device::Cuda(0), true)] {
            let used = use_precision_in_steps(Precision::Bf16, device);
            assert_eq!(convolutions_tried(), expected, "{device:?}");
            try_convolutions(false);
            assert!(!convolutions_tried());
            try_convolutions(true);
            drop(used);
            assert!(!convolutions_tried());
        }
    }
}
