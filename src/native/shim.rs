//! Declarations of `shim.cpp`.

use std::ffi::{CStr, c_char, c_void};

use torch_sys::C_tensor;

pub type Range = extern "C" fn(*const c_void, i64, i64);
pub type Backward = extern "C" fn(*const c_void, *mut C_tensor, *const bool, *mut *mut C_tensor) -> bool;
pub type Drop = extern "C" fn(*mut c_void);

unsafe extern "C" {
    pub fn cagan_parallel_for(length: i64, grain: i64, body: *const c_void, range: Range) -> *mut c_char;
    pub fn cagan_differentiable(
        output: *mut C_tensor,
        inputs: *const *mut C_tensor,
        count: usize,
        body: *mut c_void,
        backward: Backward,
        drop: Drop,
    ) -> *mut c_char;
    pub fn cagan_allow_tf32(on: bool) -> *mut c_char;
    pub fn cagan_tf32_allowed(products: *mut bool, convolutions: *mut bool) -> *mut c_char;
    pub fn cagan_isolated(body: *mut c_void, run: extern "C" fn(*mut c_void)) -> *mut c_char;
    pub fn cagan_outside(body: *mut c_void, run: extern "C" fn(*mut c_void)) -> *mut c_char;
    pub fn cagan_keep_memory();
    fn free(memory: *mut c_void);
}

/// Panics with the message of a C++ exception, as tch's plain operations do.
///
/// # Safety
/// `message` must be null or come from `guarded` in `shim.cpp`, and is freed.
pub unsafe fn check(message: *mut c_char) {
    if message.is_null() {
        return;
    }
    // SAFETY: `guarded` copied a C string to memory of `malloc`, and this is its only use.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        free(message.cast());
        text
    };
    panic!("{text}");
}
