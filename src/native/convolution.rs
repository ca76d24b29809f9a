//! Products and gradients of convolutions that tch does not wrap.

use std::ptr::{null, null_mut};

use tch::Tensor;
use torch_sys::C_tensor;

use super::shim::{cagan_convolution_gradients, cagan_product, check};

/// Computes a b^T + bias, outside the graph of gradients, by the library that computes the convolutions: twice as fast
/// in float32 as libtorch's products on processors that MKL does not know. Without that library by libtorch's.
///
/// # Shapes
/// `a`: `[M, K]`; `b`: `[N, K]`; `bias`: `[N]`. Returns `[M, N]`.
///
/// ```
/// use tch::Tensor;
/// let a = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).reshape([2, 2]);
/// let b = Tensor::from_slice(&[5f32, 6.0]).reshape([1, 2]);
/// let found = cagan::native::product(&a, &b, Some(&Tensor::from_slice(&[0.5f32])));
/// assert_eq!(Vec::<f32>::try_from(found.reshape([-1])).unwrap(), [17.5, 39.5]);
/// ```
pub fn product(a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let mut found = null_mut();
    let bias = bias.map_or(null(), Tensor::as_ptr);
    // SAFETY: the tensors and the place outlive the call.
    tch::no_grad(|| unsafe { check(cagan_product(a.as_ptr(), b.as_ptr(), bias, &raw mut found)) });
    // SAFETY: a new tensor, owned from here.
    unsafe { Tensor::from_ptr(found) }
}

/// Computes the gradients of the pictures and the weight of a convolution of stride 2 and padding 1, or of its transpose.
/// Those that are not `wanted` are `None`.
///
/// # Shapes
/// `ups`: the gradient of the result; `xs`: `[N, C, H, W]`; `weight`: of four sides.
pub fn convolution_gradients(
    ups: &Tensor,
    xs: &Tensor,
    weight: &Tensor,
    transposed: bool,
    wanted: [bool; 2],
) -> [Option<Tensor>; 2] {
    let mut found: [*mut C_tensor; 2] = [null_mut(); 2];
    // SAFETY: the tensors and both places outlive the call.
    tch::no_grad(|| unsafe {
        check(cagan_convolution_gradients(
            ups.as_ptr(),
            xs.as_ptr(),
            weight.as_ptr(),
            transposed,
            wanted.as_ptr(),
            found.as_mut_ptr(),
        ));
    });
    // SAFETY: new tensors, owned from here.
    found.map(|tensor| (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor) }))
}
