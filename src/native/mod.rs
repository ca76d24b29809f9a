//! What tch does not reach in libtorch: its own threads, functions whose gradient is written here, and pictures whose
//! channels lie together.

mod isolated;

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

pub use isolated::isolated;

type Range = extern "C" fn(*const c_void, i64, i64);
type Backward = extern "C" fn(*const c_void, *mut C_tensor, *const bool, *mut *mut C_tensor) -> bool;
type Drop = extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn cagan_parallel_for(length: i64, grain: i64, body: *const c_void, range: Range);
    fn cagan_keep_memory();
    fn cagan_differentiable(
        output: *mut C_tensor,
        inputs: *const *mut C_tensor,
        count: usize,
        body: *mut c_void,
        backward: Backward,
        drop: Drop,
    );
}

/// Calls `body` with each number below `length`, on the threads of libtorch: a second pool would wait for the cores on
/// which libtorch's threads spin between two operations.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let sum = AtomicUsize::new(0);
/// cagan::native::parallel_for(5, |i| { sum.fetch_add(i, Ordering::Relaxed); });
/// assert_eq!(sum.into_inner(), 10);
/// ```
pub fn parallel_for(length: usize, body: impl Fn(usize) + Sync) {
    extern "C" fn range<F: Fn(usize)>(body: *const c_void, begin: i64, end: i64) {
        // SAFETY: the closure that `parallel_for` passed, which outlives the call.
        let body = unsafe { &*body.cast::<F>() };
        (begin as usize..end as usize).for_each(body);
    }
    fn thunk<F: Fn(usize)>(_: &F) -> Range {
        range::<F>
    }
    // SAFETY: the body is shared between threads, as `Sync` allows, and borrowed until all are done.
    unsafe { cagan_parallel_for(length as i64, 1, (&raw const body).cast(), thunk(&body)) }
}

/// Lets the C library keep up to 1 GiB of freed memory for what is allocated next. A step frees and takes the same
/// buffers as the last one; given back to the system in between, each of their pages would be cleared anew. The
/// environment's `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` go first.
pub fn keep_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: sets two numbers of the allocator, under its own lock.
    ONCE.call_once(|| unsafe { cagan_keep_memory() });
}

/// A tensor's values in memory, to be shared by calls of [`parallel_for`] that each write to places of their own.
#[derive(Clone, Copy, Debug)]
pub struct Memory<T>(*mut T);

// SAFETY: the pointer alone does nothing; whoever reads or writes through it answers for the places.
unsafe impl<T: Send> Sync for Memory<T> {}

impl<T> Memory<T> {
    /// Of a tensor on the CPU, of `T`'s number format, dense in memory.
    pub fn of(tensor: &Tensor) -> Self {
        Memory(tensor.data_ptr().cast())
    }

    /// The place of a value, counted in memory, which must be one of the tensor's.
    #[inline(always)]
    pub fn at(&self, place: usize) -> *mut T {
        self.0.wrapping_add(place)
    }
}

/// The gradient by each input, where it is wanted, given that by the output.
type Gradient = Box<dyn Fn(&Tensor, &[bool]) -> Vec<Option<Tensor>> + Send>;

struct Body {
    inputs: usize,
    gradient: Gradient,
}

/// Lets `output`, computed from `inputs` outside the graph, be differentiated by `gradient`: once, not twice. What the
/// closure keeps must have no history of its own.
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
    ) -> bool {
        // SAFETY: the body below, alive as long as its node; a tensor that is ours from here; as many places as inputs.
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
        let Ok(gradients) = catch_unwind(call) else {
            return false;
        };
        assert_eq!(gradients.len(), body.inputs);
        for (place, gradient) in found.iter_mut().zip(gradients) {
            if let Some(mut gradient) = gradient {
                *place = gradient.as_mut_ptr();
                std::mem::forget(gradient); // the shim frees it
            }
        }
        true
    }
    extern "C" fn drop(body: *mut c_void) {
        // SAFETY: the box below, given back once.
        std::mem::drop(unsafe { Box::from_raw(body.cast::<Body>()) });
    }
    let pointers: Vec<_> = inputs.iter().map(|t| t.as_ptr().cast_mut()).collect();
    let body = Box::new(Body { inputs: inputs.len(), gradient: Box::new(gradient) });
    // SAFETY: tensors that live until the call ends; the body is the node's from here, and sent with it.
    unsafe {
        cagan_differentiable(
            output.as_ptr().cast_mut(),
            pointers.as_ptr(),
            pointers.len(),
            Box::into_raw(body).cast(),
            backward,
            drop,
        );
    }
    output
}

/// The same pictures with the channels of each pixel together in memory, in which libtorch's convolutions on a CPU are
/// fastest.
///
/// # Shapes
/// `xs`: `[N, C, H, W]`. Returns the same.
pub fn channels_last(xs: &Tensor) -> Tensor {
    xs.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn only_wanted_gradients_are_asked_for() {
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
        assert!(error.unwrap_err().to_string().contains("gradient failed"));
    }

    #[test]
    fn a_second_derivative_is_refused() {
        let a = Tensor::from_slice(&[2f32]).set_requires_grad(true);
        let same = differentiable(a.detach().copy(), &[&a], |g, _| vec![Some(g.copy())]);
        let error = Tensor::f_run_backward(&[same.sum(Kind::Float)], &[&a], true, true);
        assert!(error.unwrap_err().to_string().contains("once only"));
    }

    #[test]
    fn nothing_is_kept_where_no_gradient_is_wanted() {
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
