//! TensorFloat-32 on CUDA, which tch has no switch for: torch's default is off for matrix products and on for
//! convolutions.

use std::ffi::c_void;

use tch::Device;

use crate::config::Precision;

// The switches behind torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32, of the libtorch that
// is there in any case. A method takes its object's address first (Itanium C++ ABI: Linux and macOS).
#[cfg(not(windows))]
unsafe extern "C" {
    /// `at::Context& at::globalContext()`
    #[link_name = "_ZN2at13globalContextEv"]
    fn global_context() -> *mut c_void;
    /// `void at::Context::setAllowTF32CuBLAS(bool)`
    #[link_name = "_ZN2at7Context18setAllowTF32CuBLASEb"]
    fn allow_in_products(context: *mut c_void, on: bool);
    /// `void at::Context::setAllowTF32CuDNN(bool)`
    #[link_name = "_ZN2at7Context17setAllowTF32CuDNNEb"]
    fn allow_in_convolutions(context: *mut c_void, on: bool);
}

/// Makes what this process computes on `device` from now on be of the precision: exact float32 too, which it is not by
/// default. To be called before each step and each swap, since the switches are the process's and not a network's.
pub fn use_precision(precision: Precision, device: Device) {
    if device.is_cuda() {
        allow_tf32(precision == Precision::Tf32);
    }
}

#[cfg(not(windows))]
fn allow_tf32(on: bool) {
    // SAFETY: the declarations are those of libtorch 2.11; the context lives as long as the process.
    unsafe {
        let context = global_context();
        allow_in_products(context, on);
        allow_in_convolutions(context, on);
    }
}

#[cfg(windows)]
fn allow_tf32(_on: bool) {}

#[cfg(all(test, not(windows)))]
mod tests {
    use super::*;

    unsafe extern "C" {
        /// `bool at::Context::allowTF32CuBLAS() const`
        #[link_name = "_ZNK2at7Context15allowTF32CuBLASEv"]
        fn allowed_in_products(context: *const c_void) -> bool;
        /// `bool at::Context::allowTF32CuDNN(std::optional<at::Float32Op>) const`; eight bytes of zeros are no
        /// operation in particular.
        #[link_name = "_ZNK2at7Context14allowTF32CuDNNESt8optionalINS_9Float32OpEE"]
        fn allowed_in_convolutions(context: *const c_void, operation: u64) -> bool;
    }

    #[test]
    fn both_switches_are_turned_and_only_for_cuda() {
        // SAFETY: as above.
        let allowed = || unsafe {
            let context = global_context();
            (allowed_in_products(context), allowed_in_convolutions(context, 0))
        };
        assert_eq!(allowed(), (false, true), "torch's defaults");
        use_precision(Precision::Fp32, Device::Cpu);
        assert_eq!(allowed(), (false, true));
        use_precision(Precision::Fp32, Device::Cuda(0));
        assert_eq!(allowed(), (false, false));
        use_precision(Precision::Tf32, Device::Cuda(0));
        assert_eq!(allowed(), (true, true));
        use_precision(Precision::Bf16, Device::Cuda(0));
        assert_eq!(allowed(), (false, false));
    }
}
