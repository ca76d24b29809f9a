//! Functions whose gradient is written in Rust.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use super::isolated::text_of;
use super::shim::{cagan_differentiable, check, given};

/// From the output's gradient, the gradient of each input, or `None` for an input that wants none.
type Gradient = Box<dyn Fn(&Tensor, &[bool]) -> Vec<Option<Tensor>> + Send>;

struct Body {
    inputs: usize,
    gradient: Gradient,
}

/// Gives `output`, which was computed from `inputs` outside the graph, the derivative `gradient`. It can be
/// differentiated once, not twice. Tensors that the closure keeps must have no history.
///
/// ```
/// use tch::{Kind, Tensor};
/// let x = Tensor::from_slice(&[3f32]).set_requires_grad(true);
/// let cube = tch::no_grad(|| x.pow_tensor_scalar(3));
/// let kept = x.detach();
/// let cube = cagan::native::differentiable(cube, &[&x], move |g, _| vec![Some(g * 3 * &kept * &kept)]);
/// cube.sum(Kind::Float).backward();
/// assert_eq!(x.grad().double_value(&[0]), 27.0);
/// ```
pub fn differentiable(
    output: Tensor,
    inputs: &[&Tensor],
    gradient: impl Fn(&Tensor, &[bool]) -> Vec<Option<Tensor>> + Send + 'static,
) -> Tensor {
    extern "C" fn backward(
        body: *const c_void,
        gradient: *mut C_tensor,
        wanted: *const bool,
        found: *mut *mut C_tensor,
    ) -> *mut c_char {
        // SAFETY: the body below lives as long as its node; the gradient is owned from here; both arrays have a place
        // per input.
        let (body, gradient, wanted, found) = unsafe {
            let body = &*body.cast::<Body>();
            (
                body,
                Tensor::from_ptr(gradient),
                std::slice::from_raw_parts(wanted, body.inputs),
                std::slice::from_raw_parts_mut(found, body.inputs),
            )
        };
        let call = AssertUnwindSafe(|| (body.gradient)(&gradient, wanted));
        let gradients = match catch_unwind(call) {
            Ok(gradients) if gradients.len() == found.len() => gradients,
            Ok(gradients) => return given(&format!("{} gradients for {} inputs", gradients.len(), found.len())),
            Err(payload) => return given(text_of(&*payload)),
        };
        for (place, gradient) in found.iter_mut().zip(gradients) {
            if let Some(mut gradient) = gradient {
                *place = gradient.as_mut_ptr();
                std::mem::forget(gradient); // the shim frees it
            }
        }
        std::ptr::null_mut()
    }
    extern "C" fn drop(body: *mut c_void) {
        // SAFETY: the box below, returned once.
        std::mem::drop(unsafe { Box::from_raw(body.cast::<Body>()) });
    }
    let pointers: Vec<_> = inputs.iter().map(|t| t.as_ptr().cast_mut()).collect();
    let body = Box::new(Body { inputs: inputs.len(), gradient: Box::new(gradient) });
    // SAFETY: the tensors live until the call ends; the node owns the body from here and may move it to another thread.
    unsafe {
        check(cagan_differentiable(
            output.as_ptr().cast_mut(),
            pointers.as_ptr(),
            pointers.len(),
            Box::into_raw(body).cast(),
            backward,
            drop,
        ));
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn only_wanted_gradients_are_computed() {
        let leaf = |v: f32| Tensor::from_slice(&[v]).set_requires_grad(true);
        let (a, b) = (leaf(2.0), leaf(5.0));
        let product = tch::no_grad(|| &a * &b);
        let (left, right) = (a.detach(), b.detach());
        let product = differentiable(product, &[&a, &b], move |g, wanted| {
            assert_eq!(wanted, [false, true]);
            let _ = &right;
            vec![None, Some(g * &left)]
        });
        let found = Tensor::run_backward(&[product.sum(Kind::Float)], &[&b], false, false);
        assert_eq!(found[0].double_value(&[0]), 2.0);
    }

    #[test]
    fn a_gradient_that_panics_is_an_error() {
        let a = Tensor::from_slice(&[2f32]).set_requires_grad(true);
        let same = differentiable(a.detach().copy(), &[&a], |_, _| panic!("on purpose"));
        let error = Tensor::f_run_backward(&[same.sum(Kind::Float)], &[&a], false, false);
        assert!(error.unwrap_err().to_string().contains("gradient failed: on purpose"));
    }

    #[test]
    fn a_second_derivative_fails() {
        let a = Tensor::from_slice(&[2f32]).set_requires_grad(true);
        let same = differentiable(a.detach().copy(), &[&a], |g, _| vec![Some(g.copy())]);
        let error = Tensor::f_run_backward(&[same.sum(Kind::Float)], &[&a], true, true);
        assert!(error.unwrap_err().to_string().contains("once only"));
    }

    #[test]
    fn nothing_is_kept_if_no_gradient_is_wanted() {
        let kept = std::sync::Arc::new(());
        let guard = kept.clone();
        let ys = differentiable(Tensor::from_slice(&[1f32]), &[&Tensor::from_slice(&[1f32])], move |_, _| {
            let _ = &guard;
            vec![None]
        });
        assert!(!ys.requires_grad());
        assert_eq!(std::sync::Arc::strong_count(&kept), 1);
    }
}
