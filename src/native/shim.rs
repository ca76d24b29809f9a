//! Declarations of `shim.cpp`.

use std::ffi::{CStr, CString, c_char, c_void};

use torch_sys::C_tensor;

pub type Range = extern "C" fn(*const c_void, i64, i64);
pub type Backward = extern "C" fn(*const c_void, *mut C_tensor, *const bool, *mut *mut C_tensor) -> *mut c_char;
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
    pub fn cagan_normal(tensor: *mut C_tensor, sigma: f64, seed: u64) -> *mut c_char;
    pub fn cagan_generator_state(like: *const C_tensor, state: *mut *mut C_tensor) -> *mut c_char;
    pub fn cagan_set_generator_state(like: *const C_tensor, state: *const C_tensor) -> *mut c_char;
    pub fn cagan_seed_generator(like: *const C_tensor, seed: u64) -> *mut c_char;
    pub fn cagan_rounding(switches: *mut *mut c_void) -> *mut c_char;
    pub fn cagan_round_cuda(tf32: bool) -> *mut c_char;
    pub fn cagan_round_cpu() -> *mut c_char;
    pub fn cagan_restore_rounding(switches: *mut c_void) -> *mut c_char;
    pub fn cagan_try_convolutions(tries: bool) -> *mut c_char;
    pub fn cagan_convolutions_tried(tried: *mut bool) -> *mut c_char;
    pub fn cagan_tf32_allowed(products: *mut bool, convolutions: *mut bool) -> *mut c_char;
    pub fn cagan_isolated(body: *mut c_void, run: extern "C" fn(*mut c_void)) -> *mut c_char;
    pub fn cagan_outside(body: *mut c_void, run: extern "C" fn(*mut c_void)) -> *mut c_char;
    pub fn cagan_exact_products(body: *mut c_void, run: extern "C" fn(*mut c_void)) -> *mut c_char;
    pub fn cagan_product(
        a: *const C_tensor,
        b: *const C_tensor,
        bias: *const C_tensor,
        found: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub fn cagan_convolution_gradients(
        ups: *const C_tensor,
        xs: *const C_tensor,
        weight: *const C_tensor,
        transposed: bool,
        wanted: *const bool,
        found: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub fn cagan_all_reduce(tensor: *mut C_tensor, group: *const c_char) -> *mut c_char;
    pub fn cagan_broadcast(tensor: *mut C_tensor, from: i64, group: *const c_char) -> *mut c_char;
    pub fn cagan_to_dlpack(tensor: *const C_tensor, view: *mut *mut c_void) -> *mut c_char;
    pub fn cagan_drop_dlpack(view: *mut c_void);
    pub fn cagan_keep_memory();
    fn strdup(text: *const c_char) -> *mut c_char;
    fn free(memory: *mut c_void);
}

/// Panics with the message of a C++ exception, as tch's plain operations do.
///
/// # Safety
/// `message` must be null or come from `guarded` in `shim.cpp`, and is freed.
pub unsafe fn check(message: *mut c_char) {
    // SAFETY: the caller's promise.
    if let Some(text) = unsafe { taken(message) } {
        panic!("{text}");
    }
}

/// Returns the message of a C++ exception, if there was one.
///
/// # Safety
/// As [`check`].
pub unsafe fn taken(message: *mut c_char) -> Option<String> {
    // SAFETY: `guarded` copied a C string to memory of `malloc`, and this is its only use.
    (!message.is_null()).then(|| unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        free(message.cast());
        text
    })
}

/// Copies a message to memory of `malloc`, for `shim.cpp` to free.
pub fn given(text: &str) -> *mut c_char {
    let text = CString::new(text.replace('\0', " ")).expect("no zeros");
    // SAFETY: a C string that outlives the call.
    unsafe { strdup(text.as_ptr()) }
}
