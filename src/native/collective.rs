//! Sums and copies over the processes of a group that torch.distributed has made, and tensors that other programs share.

use std::ffi::{CString, c_char, c_void};

use tch::Tensor;

use super::shim::{cagan_all_reduce, cagan_broadcast, cagan_drop_dlpack, cagan_to_dlpack, check, taken};

/// Adds a tensor up over the processes of a group, in place.
///
/// # Errors
/// The message of libtorch: there is no such group, or a process of it is gone.
///
/// ```
/// let failed = cagan::native::all_reduce(&tch::Tensor::from_slice(&[1f32]), "no group");
/// assert!(failed.unwrap_err().contains("no group"));
/// ```
pub fn all_reduce(tensor: &Tensor, group: &str) -> Result<(), String> {
    through(group, |group| {
        // SAFETY: tensor and text outlive the call.
        unsafe { cagan_all_reduce(tensor.as_ptr().cast_mut(), group) }
    })
}

/// Copies a tensor from one process of a group to the others, in place.
///
/// # Errors
/// As [`all_reduce`].
pub fn broadcast(tensor: &Tensor, from: usize, group: &str) -> Result<(), String> {
    through(group, |group| {
        // SAFETY: as above.
        unsafe { cagan_broadcast(tensor.as_ptr().cast_mut(), from as i64, group) }
    })
}

fn through(group: &str, call: impl FnOnce(*const c_char) -> *mut c_char) -> Result<(), String> {
    let group = CString::new(group).map_err(|_| "a group's name holds a zero".to_owned())?;
    // SAFETY: the message is the shim's.
    match unsafe { taken(tch::no_grad(|| call(group.as_ptr()))) } {
        None => Ok(()),
        // A stack trace follows.
        Some(text) => Err(text.lines().next().unwrap_or_default().to_owned()),
    }
}

/// A view of a tensor's memory for other programs: a `DLManagedTensor`, which keeps the memory until it is dropped.
#[derive(Debug)]
pub struct Shared(*mut c_void);

// SAFETY: the object counts a reference to the memory, atomically, and belongs to no thread.
unsafe impl Send for Shared {}

impl Shared {
    /// Takes a view of a tensor, strides included.
    pub fn of(tensor: &Tensor) -> Shared {
        let mut view = std::ptr::null_mut();
        // SAFETY: the tensor and the place outlive the call.
        unsafe { check(cagan_to_dlpack(tensor.as_ptr(), &raw mut view)) };
        Shared(view)
    }

    /// Hands the object over: its receiver calls [`Shared::taken_back`], or the object's own deleter.
    pub fn handed_over(self) -> *mut c_void {
        let view = self.0;
        std::mem::forget(self);
        view
    }

    /// Takes an object back.
    ///
    /// # Safety
    /// `view` must come from [`Shared::handed_over`], and nobody else may have used it.
    pub unsafe fn taken_back(view: *mut c_void) -> Shared {
        Shared(view)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the object is ours alone.
        unsafe { cagan_drop_dlpack(self.0) }
    }
}
