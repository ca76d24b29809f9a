//! Convolutions whose results do not depend on the number of pictures in the batch, and their input's layout.

use tch::{Device, Kind, Tensor};

use crate::native::{channels_last, tf32_allowed};

/// Convolves as [`Tensor::conv2d`] does. libtorch computes one small picture alone on a CPU in another way than several,
/// with other last bits; here it is computed as one of several.
///
/// # Shapes
/// `xs`: `[N, c_in, H, W]`; `weight`: `[c_out, c_in, k, k]`; `bias`: `[c_out]`.
pub fn convolved(xs: &Tensor, weight: &Tensor, bias: &Tensor, stride: i64, pad: i64) -> Tensor {
    let (stride, pad) = ([stride, stride], [pad, pad]);
    // Once here: libtorch would do it for the result, and again for each gradient.
    let xs = &match xs.device() {
        Device::Cpu => channels_last(xs),
        _ => xs.shallow_clone(),
    };
    let small = xs.size()[0] == 1 && xs.device() == Device::Cpu && xs.kind() == Kind::Float;
    // A libtorch without oneDNN has one way only.
    if small && tch::utils::has_mkldnn() {
        return xs.mkldnn_convolution(weight, Some(bias), pad, stride, [1, 1], 1);
    }
    xs.conv2d(weight, Some(bias), stride, pad, [1, 1], 1)
}

/// Concatenates pictures along their channels, in a network's number format and in the layout that its layers compute
/// in.
///
/// # Shapes
/// Each `[N, C, H, W]`. Returns `[N, the sum of C, H, W]`.
pub fn beside(pictures: &[&Tensor], kind: Kind) -> Tensor {
    let xs = Tensor::cat(pictures, 1).to_kind(kind);
    match xs.device() {
        Device::Cpu => channels_last(&xs),
        // As the weights: see `computes_channels_last`.
        Device::Cuda(_) if kind == Kind::BFloat16 || tf32_allowed()[1] => channels_last(&xs),
        _ => xs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_alone_gives_the_bits_of_one_among_others() {
        // Channels in and out, height, width, stride, kernel: the deep layers of small pictures.
        for [c_in, c_out, h, w, s, k] in [[64, 128, 16, 12, 2, 3], [384, 128, 4, 3, 1, 3], [64, 64, 16, 12, 1, 1]] {
            // In the order of the networks' layers.
            let drawn =
                |[n, c, h, w]: [i64; 4]| Tensor::randn([n, h, w, c], (Kind::Float, Device::Cpu)).permute([0, 3, 1, 2]);
            let (xs, weight) = (drawn([3, c_in, h, w]), drawn([c_out, c_in, k, k]));
            let bias = drawn([1, c_out, 1, 1]).flatten(0, -1);
            let all = convolved(&xs, &weight, &bias, s, k / 2);
            assert_eq!(all, xs.conv2d(&weight, Some(&bias), [s, s], [k / 2; 2], [1, 1], 1));
            for i in 0..3 {
                let one = convolved(&xs.narrow(0, i, 1), &weight, &bias, s, k / 2);
                assert_eq!(one, all.narrow(0, i, 1), "{c_in} {h}");
            }
        }
    }
}
