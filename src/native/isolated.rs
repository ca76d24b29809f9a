//! Computing independently of the caller's thread state.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

use super::shim::{cagan_isolated, cagan_outside, check};
use super::threads::is_alone;
use super::waiting::Computing;
use crate::error::Error;

thread_local! {
    /// Whether a panic of this thread becomes an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` in a thread state of libtorch that the caller's `no_grad`, `inference_mode` and `autocast` do not reach:
/// gradients on, inference mode off, autocast off. Restores the caller's state at the end. A panic, which is how libtorch's
/// exceptions arrive, becomes an error.
///
/// ```
/// use tch::{Kind, Tensor};
/// tch::no_grad(|| {
///     let x = Tensor::ones([2], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
///     let x = cagan::native::isolated(|| Ok::<_, cagan::Error>(&x * 2))?;
///     assert!(x.requires_grad());
///     let failed: cagan::Result<Tensor> = cagan::native::isolated(|| Ok(x.matmul(&x.reshape([1, 2]))));
///     assert!(failed.unwrap_err().to_string().starts_with("libtorch: "));
///     Ok::<(), cagan::Error>(())
/// })?;
/// # Ok::<(), cagan::Error>(())
/// ```
///
/// # Errors
/// Those of `body`; [`Error::Memory`] if memory ran out; [`Error::Panic`] for any other panic.
pub fn isolated<T, E: From<Error>>(body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    be_silent();
    // One inside another is the same computation.
    let _computing = (!CAUGHT.get()).then(|| Computing::begin(is_alone()));
    let outer = CAUGHT.replace(true);
    // SAFETY: the function calls its argument as [`called`] wants it.
    let result = called(body, |call, run| unsafe { cagan_isolated(call, run) });
    CAUGHT.set(outer);
    result.unwrap_or_else(|payload| Err(error_of(&*payload).into()))
}

/// Runs `body`, such as a callback, in the thread state around the innermost [`isolated`]. A panic goes through.
pub fn outside<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: the function calls its argument as [`called`] wants it.
    let result = called(body, |call, run| unsafe { cagan_outside(call, run) });
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Calls `body` through a C function, which must pass its first argument to its second, once.
pub(super) fn called<T, F: FnOnce() -> T>(
    body: F,
    through: impl FnOnce(*mut c_void, extern "C" fn(*mut c_void)) -> *mut c_char,
) -> std::thread::Result<T> {
    struct Call<F, T> {
        body: Option<F>,
        result: Option<std::thread::Result<T>>,
    }
    extern "C" fn run<F: FnOnce() -> T, T>(call: *mut c_void) {
        // SAFETY: the call below, borrowed by this function alone until it returns.
        let call = unsafe { &mut *call.cast::<Call<F, T>>() };
        let body = call.body.take().expect("runs once");
        call.result = Some(catch_unwind(AssertUnwindSafe(body)));
    }
    let mut call = Call { body: Some(body), result: None };
    // SAFETY: the message is the shim's.
    unsafe { check(through((&raw mut call).cast(), run::<F, T>)) };
    call.result.expect("it ran")
}

/// Keeps panics that become errors off standard error.
fn be_silent() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                usual(info);
            }
        }));
    });
}

/// The words of a panic.
pub(super) fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("an unknown panic")
}

/// The error of a panic.
fn error_of(payload: &(dyn Any + Send)) -> Error {
    /// How tch's plain calls begin their panics.
    const TORCH: &str = "called `Result::unwrap()` on an `Err` value: Torch(\"";
    let text = text_of(payload);
    match (text.strip_prefix(TORCH), Error::torch(text)) {
        (Some(text), _) => Error::torch(text),
        // The shim's messages come as they are.
        (None, error @ Error::Memory(_)) => error,
        (None, _) => Error::Panic(text.lines().next().unwrap_or_default().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn a_panic_is_an_error_and_leaves_the_grad_mode() {
        let differentiable = || (Tensor::from_slice(&[1f32]).set_requires_grad(true) * 2).requires_grad();
        let failed: Result<(), Error> = isolated(|| tch::no_grad(|| panic!("on purpose")));
        assert_eq!(failed.unwrap_err().to_string(), "internal error, please report it: on purpose");
        assert!(differentiable());
        tch::no_grad(|| {
            assert!(isolated::<_, Error>(|| Ok(differentiable())).unwrap());
            assert!(!isolated::<_, Error>(|| Ok(outside(differentiable))).unwrap());
            assert!(!differentiable());
        });
    }

    #[test]
    fn a_gradients_memory_is_named_as_such_too() {
        let failed = isolated::<_, Error>(|| {
            let a = Tensor::from_slice(&[2f32]).set_requires_grad(true);
            let zeros = |_: &Tensor, _: &[bool]| vec![Some(Tensor::zeros([1 << 50], (Kind::Uint8, Device::Cpu)))];
            let same = super::super::differentiable(a.detach().copy(), &[&a], zeros);
            Ok(Tensor::run_backward(&[same.sum(Kind::Float)], &[&a], false, false))
        });
        assert!(matches!(failed, Err(Error::Memory(_))), "{failed:?}");
    }

    #[test]
    fn too_much_memory_is_named_as_such() {
        let failed = isolated::<_, Error>(|| Ok(Tensor::zeros([1 << 50], (Kind::Uint8, Device::Cpu))));
        assert!(matches!(failed, Err(Error::Memory(_))), "{failed:?}");
    }
}
