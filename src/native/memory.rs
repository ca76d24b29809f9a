//! Tensors' values in memory, their layout, and the allocator behind them.

use tch::{Device, Kind, TchError, Tensor};

use super::shim::cagan_keep_memory;

/// A tensor's values in memory, for calls of [`super::parallel_for`] that each write to places of their own.
#[derive(Clone, Copy, Debug)]
pub struct Memory<T>(*mut T);

// SAFETY: the pointer alone does nothing; the code that reads or writes through it answers for the places.
unsafe impl<T: Send> Sync for Memory<T> {}

/// A number format of tensors.
pub trait Element {
    /// libtorch's name of the format.
    const KIND: Kind;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
}

impl Element for u8 {
    const KIND: Kind = Kind::Uint8;
}

impl Element for half::bf16 {
    const KIND: Kind = Kind::BFloat16;
}

impl<T: Element> Memory<T> {
    /// Points to the values of a tensor that is dense in memory.
    ///
    /// # Panics
    /// If the tensor is not on the CPU, or not in `T`'s number format.
    pub fn of(tensor: &Tensor) -> Self {
        let (kind, device) = (tensor.kind(), tensor.device());
        assert!(
            kind == T::KIND && device == Device::Cpu,
            "expected {:?} on the CPU, got {kind:?} on {device:?}",
            T::KIND
        );
        Memory(tensor.data_ptr().cast())
    }
}

impl<T> Memory<T> {
    /// The place of a value, counted in memory. It must be one of the tensor's.
    #[inline(always)]
    pub fn at(&self, place: usize) -> *mut T {
        self.0.wrapping_add(place)
    }
}

/// Returns the pictures with the channels of each pixel together in memory. libtorch's convolutions on a CPU are
/// fastest in this layout.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`. Returns the same.
pub fn channels_last(xs: &Tensor) -> Tensor {
    xs.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Copies a tensor to page-locked memory, from which a device copies beside its other work.
///
/// # Errors
/// Those of libtorch: without such a device, or without memory.
pub fn pinned(xs: &Tensor, device: Device) -> Result<Tensor, TchError> {
    // `pin_memory` itself warns, on standard error, that it is given a device.
    xs.f_internal_pin_memory(device)
}

/// Sends numbers of the host to a device, in the order of its other work. The copy of ordinary memory would wait until
/// the device has done all of that. libtorch keeps the page-locked memory until the copy is done. On a CPU the numbers
/// are where they belong.
pub fn sent(xs: &Tensor, device: Device) -> Tensor {
    match device {
        Device::Cpu => xs.shallow_clone(),
        Device::Cuda(_) => {
            let waiting = pinned(xs, device).unwrap_or_else(|error| panic!("{error}"));
            waiting.to_device_(device, xs.kind(), true, false)
        }
        _ => xs.to_device(device),
    }
}

/// Lets the C library keep up to 1 GiB of freed memory for the next allocation. Each step frees and takes the same
/// buffers as the last one; if the system got them back in between, it would clear each page anew. The environment
/// variables `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` override this.
pub fn keep_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: sets two numbers of the allocator, under its own lock.
    ONCE.call_once(|| unsafe { cagan_keep_memory() });
}
