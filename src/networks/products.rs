//! Convolutions of kernel 4 and stride 2, and their transposes, as products of matrices. Where a layer has many
//! channels and few pixels, libtorch's convolutions multiply thin strips and are up to three times slower.
//!
//! The larger side of a layer is `[N, C, 2 h, 2 w]`, the smaller one `[N, c, h, w]`; a convolution leads from the
//! larger to the smaller, its transpose back, with one weight `[c, C, 4, 4]`. The larger side's patches are a matrix
//! `[N h w, 16 C]`, the smaller side is one of `[N h w, c]`, the weight one of `[c, 16 C]`.

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::fused::Format;
use crate::native::{Element, Memory, channels_last, convolution_gradients, differentiable, parallel_for, product};

/// The sides of a kernel.
const KERNEL: usize = 4;
/// From so many channels on, a side is wide: below, the patches cost more than their product gains.
const WIDE: i64 = 128;
/// The most rows of a product that is faster than libtorch's convolution, in float32 and in bfloat16.
const ROWS: [i64; 2] = [320, 1024];
/// The most bytes of patches whose product is the faster gradient of a weight: about those of a processor's cache.
const BYTES: i64 = 32 << 20;

/// The direction of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A convolution, which halves the picture.
    Down,
    /// Its transpose, which doubles it.
    Up,
}

/// The sizes of a layer, and how its parts are computed: as a product, or by libtorch's convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layer {
    direction: Direction,
    pictures: i64,
    /// Channels of the larger and of the smaller side.
    channels: [i64; 2],
    /// Height and width of the smaller side.
    size: [i64; 2],
    bytes: i64,
}

impl Layer {
    fn of(direction: Direction, xs: &Tensor, weight: &Tensor) -> Layer {
        let (pictures, _, h, w) = xs.size4().expect("[N, C, H, W]");
        let (small, large, ..) = weight.size4().expect("[c, C, 4, 4]");
        let size = match direction {
            Direction::Down => [h / 2, w / 2],
            Direction::Up => [h, w],
        };
        let bytes = if xs.kind() == Kind::Float { 4 } else { 2 };
        Layer { direction, pictures, channels: [large, small], size, bytes }
    }

    /// Rows of the patches.
    fn rows(self) -> i64 {
        self.pictures * self.size.iter().product::<i64>()
    }

    /// Whether the result, and the gradient of the pictures, is computed as a product. Measured; a table by shape gives
    /// the same bits at every run, and a race at the start would not.
    fn is_deep(self) -> bool {
        let most = ROWS[usize::from(self.bytes == 2)];
        self.channels.iter().all(|&c| c >= WIDE) && self.rows() <= most && self.size.iter().product::<i64>() <= 64
    }

    /// Whether the weight's gradient is computed as a product.
    fn is_heavy(self) -> bool {
        let [large, small] = self.channels;
        let small_pictures = self.size.iter().product::<i64>() <= 16;
        let patches = self.rows() * 16 * large * self.bytes;
        large >= WIDE / 2 && (small >= WIDE || small_pictures) && patches <= BYTES
    }
}

/// Convolves as libtorch does with stride 2 and padding 1, or transposes that. On a CPU the result can be
/// differentiated once. Without gradients it is always libtorch's.
///
/// # Shapes
/// Down: `xs` `[N, C, 2 h, 2 w]`, returns `[N, c, h, w]`; up: the other way. `weight`: `[c, C, 4, 4]`; `bias`: the
/// result's channels.
pub fn convolved(direction: Direction, xs: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let layer = Layer::of(direction, xs, weight);
    // In use the last bits of a picture must not depend on the number of others, by which the way is chosen. A new tensor
    // tells, and of no values it costs nothing: a view has its base's answer even without gradients.
    let learns = [xs, weight, bias].iter().any(|t| t.narrow(0, 0, 0).sum(Kind::Float).requires_grad());
    let able = learns && xs.device() == Device::Cpu && weight.kind() == xs.kind();
    match xs.kind() {
        Kind::Float if able && (layer.is_deep() || layer.is_heavy()) => run::<f32>(layer, xs, weight, bias),
        Kind::BFloat16 if able && (layer.is_deep() || layer.is_heavy()) => run::<bf16>(layer, xs, weight, bias),
        _ => plain(direction, xs, weight, bias),
    }
}

/// The same by libtorch alone.
pub fn plain(direction: Direction, xs: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    match direction {
        Direction::Down => xs.conv2d(weight, Some(bias), [2, 2], [1, 1], [1, 1], 1),
        Direction::Up => xs.conv_transpose2d(weight, Some(bias), [2, 2], [1, 1], [0, 0], 1, [1, 1]),
    }
}

fn run<T: Element + Format>(layer: Layer, given: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let inputs = [given, weight, bias];
    let [xs, weight, bias] = inputs.map(Tensor::detach);
    let xs = channels_last(&xs);
    let matrix = as_matrix(&channels_last(&weight));
    let ys = tch::no_grad(|| match (layer.is_deep(), layer.direction) {
        (false, direction) => plain(direction, &xs, &weight, &bias),
        (true, Direction::Down) => gathered::<T>(layer, &xs, &matrix, Some(&bias)),
        (true, Direction::Up) => scattered::<T>(layer, &xs, &matrix) + bias.reshape([1, -1, 1, 1]),
    });
    let gradient = move |ups: &Tensor, wanted: &[bool]| {
        let ups = channels_last(ups);
        let (large, small) = match layer.direction {
            Direction::Down => (&xs, &ups),
            Direction::Up => (&ups, &xs),
        };
        let [deep, heavy] = [layer.is_deep() && wanted[0], layer.is_heavy() && wanted[1]];
        // One patch matrix serves both products of a transpose.
        let patches = (heavy || deep && layer.direction == Direction::Up).then(|| patches::<T>(layer, large));
        let downs = deep.then(|| match (&patches, layer.direction) {
            (Some(patches), Direction::Up) => as_pictures(layer, &product(patches, &matrix, None)),
            _ => scattered::<T>(layer, small, &matrix),
        });
        let slopes = patches.filter(|_| heavy).map(|patches| {
            let [large, small_channels] = layer.channels;
            let slopes = product(&rows_of(small).tr(), &patches.tr(), None); // [c, 16 C]
            slopes.reshape([small_channels, 4, 4, large]).permute([0, 3, 1, 2])
        });
        let offsets =
            wanted[2].then(|| ups.sum_dim_intlist([0, 2, 3].as_slice(), false, Kind::Float).to_kind(ups.kind()));
        let rest = [wanted[0] && downs.is_none(), wanted[1] && slopes.is_none()];
        let up = layer.direction == Direction::Up;
        let [other_downs, other_slopes] = match rest {
            [false, false] => [None, None],
            _ => convolution_gradients(&ups, &xs, &weight, up, rest),
        };
        vec![downs.or(other_downs), slopes.or(other_slopes), offsets]
    };
    differentiable(ys, &inputs, gradient)
}

/// `[N h w, c]`.
fn rows_of(small: &Tensor) -> Tensor {
    let channels = small.size()[1];
    small.permute([0, 2, 3, 1]).reshape([-1, channels])
}

/// `[c, 16 C]`.
fn as_matrix(weight: &Tensor) -> Tensor {
    let channels = weight.size()[0];
    weight.permute([0, 2, 3, 1]).reshape([channels, -1])
}

/// The smaller side of its rows.
fn as_pictures(layer: Layer, rows: &Tensor) -> Tensor {
    let [h, w] = layer.size;
    rows.reshape([layer.pictures, h, w, -1]).permute([0, 3, 1, 2])
}

/// The convolution.
fn gathered<T: Element + Format>(layer: Layer, large: &Tensor, matrix: &Tensor, bias: Option<&Tensor>) -> Tensor {
    as_pictures(layer, &product(&patches::<T>(layer, large), matrix, bias))
}

/// The transpose, without its bias.
fn scattered<T: Element + Format>(layer: Layer, small: &Tensor, matrix: &Tensor) -> Tensor {
    summed::<T>(layer, &product(&rows_of(small), &matrix.tr(), None))
}

/// Copies the patch of each pixel of the smaller side: `[N h w, 16 C]`.
fn patches<T: Element + Format>(layer: Layer, large: &Tensor) -> Tensor {
    let c = layer.channels[0] as usize;
    let [h, w] = layer.size.map(|side| side as usize);
    let row = KERNEL * KERNEL * c;
    let found = Tensor::empty([layer.rows(), row as i64], (T::KIND, Device::Cpu));
    let (from, to) = (Memory::<T>::of(large), Memory::<T>::of(&found));
    // One line of pixels of the smaller side.
    parallel_for(layer.pictures as usize * h, |task| {
        let (n, y) = (task / h, task % h);
        for x in 0..w {
            for i in 0..KERNEL {
                let place = ((task * w + x) * KERNEL + i) * KERNEL * c;
                // The columns of the patch that lie within the picture.
                let (begin, end) = (usize::from(x == 0), KERNEL - usize::from(x == w - 1));
                let line = (2 * y + i).checked_sub(1).filter(|&line| line < 2 * h);
                // SAFETY: the places lie within both tensors, and no other task writes to these.
                unsafe {
                    let zero = |column: usize| std::ptr::write_bytes(to.at(place + column * c), 0, c);
                    let Some(line) = line else {
                        std::ptr::write_bytes(to.at(place), 0, KERNEL * c);
                        continue;
                    };
                    if begin > 0 {
                        zero(0);
                    }
                    if end < KERNEL {
                        zero(end);
                    }
                    let pixel = (n * 2 * h + line) * 2 * w + 2 * x + begin - 1;
                    let values = (end - begin) * c;
                    std::ptr::copy_nonoverlapping(from.at(pixel * c), to.at(place + begin * c), values);
                }
            }
        }
    });
    found
}

/// Adds up the patches, `[N h w, 16 C]`, where they lie in the larger side. The inverse of [`patches`] in shape alone.
fn summed<T: Element + Format>(layer: Layer, patches: &Tensor) -> Tensor {
    let c = layer.channels[0] as usize;
    let [h, w] = layer.size.map(|side| side as usize);
    let size = [layer.pictures, 2 * h as i64, 2 * w as i64, c as i64];
    let found = Tensor::empty(size, (T::KIND, Device::Cpu));
    let (from, to) = (Memory::<T>::of(patches), Memory::<T>::of(&found));
    // A pixel lies in two lines and two columns of patches: of its own number / 2, and of a neighbour.
    let both = |k: usize, length: usize| {
        let (patch, place) = (k / 2, k % 2 + 1);
        let other = match k % 2 {
            0 => patch.checked_sub(1).map(|patch| (patch, 3)),
            _ => (patch + 1 < length).then_some((patch + 1, 0)),
        };
        [Some((patch, place)), other]
    };
    parallel_for(layer.pictures as usize * 2 * h, |task| {
        let (n, line) = (task / (2 * h), task % (2 * h));
        for column in 0..2 * w {
            let mut places = [0; 4];
            let mut count = 0;
            for (y, i) in both(line, h).into_iter().flatten() {
                for (x, j) in both(column, w).into_iter().flatten() {
                    places[count] = ((((n * h + y) * w + x) * KERNEL + i) * KERNEL + j) * c;
                    count += 1;
                }
            }
            let at = to.at((task * 2 * w + column) * c);
            let terms = places.map(|place| from.at(place).cast_const());
            // SAFETY: the places lie within both tensors, and no other task writes to these.
            unsafe {
                match count {
                    1 => sum::<T, 1>([terms[0]], at, c),
                    2 => sum::<T, 2>([terms[0], terms[1]], at, c),
                    _ => sum::<T, 4>(terms, at, c),
                }
            }
        }
    });
    found.permute([0, 3, 1, 2])
}

/// Adds up `length` neighbouring values of each place.
///
/// # Safety
/// All places hold so many values, and those of `to` overlap no others.
unsafe fn sum<T: Format, const TERMS: usize>(terms: [*const T; TERMS], to: *mut T, length: usize) {
    for k in 0..length {
        // SAFETY: the caller's promise.
        unsafe { *to.add(k) = T::write(terms.iter().map(|term| (*term.add(k)).read()).sum()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(shape: [i64; 4], number: u64) -> Tensor {
        let [n, c, h, w] = shape;
        let mut t = Tensor::zeros([n, h, w, c], (Kind::Float, Device::Cpu));
        crate::random::fill_normal(&mut t, 1.0, 3, "products", number);
        t.permute([0, 3, 1, 2])
    }

    /// The result and the gradients of pictures, weight and bias, in float64 by libtorch or as given.
    fn values(
        kind: Kind,
        xs: &Tensor,
        given: [&Tensor; 2],
        layer: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor,
    ) -> Vec<Tensor> {
        let [xs, weight, bias] = [xs, given[0], given[1]].map(|t| t.to_kind(kind).set_requires_grad(true));
        let ys = layer(&xs, &weight, &bias);
        let weights = drawn(ys.size().try_into().expect("four"), 9).to_kind(kind);
        let loss = (&ys * weights).sum(Kind::Double);
        let mut found = vec![ys.detach()];
        found.extend(Tensor::run_backward(&[loss], &[&xs, &weight, &bias], false, false));
        found
    }

    #[test]
    fn each_way_agrees_with_libtorch_in_float64() {
        // Channels of the larger and the smaller side, the smaller one's size: deep and heavy, heavy alone, neither.
        let ways = [([130, 144], [4, 3]), ([70, 144], [12, 8]), ([32, 48], [4, 4])];
        for (number, ([large, small], [h, w])) in ways.into_iter().enumerate() {
            for direction in [Direction::Down, Direction::Up] {
                let (xs, channels) = match direction {
                    Direction::Down => (drawn([2, large, 2 * h, 2 * w], 0), small),
                    Direction::Up => (drawn([2, small, h, w], 0), large),
                };
                let weight = drawn([small, large, 4, 4], 1) * 0.05;
                let bias = drawn([1, channels, 1, 1], 2).flatten(0, -1);
                let layer = Layer::of(direction, &xs, &weight);
                assert_eq!(
                    [layer.is_deep(), layer.is_heavy()],
                    [number == 0, number <= 1 || h * w <= 16 && large >= 64]
                );
                let exact = values(Kind::Double, &xs, [&weight, &bias], |xs, w, b| plain(direction, xs, w, b));
                for (kind, within) in [(Kind::Float, 2e-6), (Kind::BFloat16, 2e-2)] {
                    let got = values(kind, &xs, [&weight, &bias], |xs, w, b| convolved(direction, xs, w, b));
                    for (k, (got, exact)) in got.iter().zip(&exact).enumerate() {
                        let apart = (got.to_kind(Kind::Double) - exact).abs().max().double_value(&[]);
                        let largest = exact.abs().max().double_value(&[]);
                        assert_eq!(got.kind(), kind);
                        assert!(apart <= within * largest, "{direction:?} {number} {k} {kind:?}: {apart} of {largest}");
                    }
                }
            }
        }
    }

    #[test]
    fn in_use_a_picture_alone_has_the_bits_of_one_among_others() {
        for direction in [Direction::Down, Direction::Up] {
            let weight = (drawn([144, 130, 4, 4], 1) * 0.05).set_requires_grad(true);
            let (xs, channels) = match direction {
                Direction::Down => (drawn([40, 130, 8, 6], 0), 144),
                Direction::Up => (drawn([40, 144, 4, 3], 0), 130),
            };
            let bias = drawn([1, channels, 1, 1], 2).flatten(0, -1);
            // The ways of one and of all differ where a weight learns.
            let deep = |xs: &Tensor| Layer::of(direction, xs, &weight).is_deep();
            assert_eq!([&xs.narrow(0, 0, 1), &xs].map(deep), [true, false]);
            let all = tch::no_grad(|| convolved(direction, &xs, &weight, &bias));
            for i in [0, 39] {
                let one = tch::no_grad(|| convolved(direction, &xs.narrow(0, i, 1), &weight, &bias));
                assert_eq!(one, all.narrow(0, i, 1), "{direction:?}");
            }
        }
    }

    #[test]
    fn patches_and_their_sum_by_hand() {
        // One picture of 4 x 4 and one channel: 16 values, four patches.
        let large = Tensor::arange(16, (Kind::Float, Device::Cpu)).reshape([1, 1, 4, 4]);
        let layer = Layer { direction: Direction::Down, pictures: 1, channels: [1, 1], size: [2, 2], bytes: 4 };
        let found = patches::<f32>(layer, &large);
        let row = |k: i64| Vec::<f32>::try_from(found.get(k)).unwrap();
        assert_eq!(row(0), [0., 0., 0., 0., 0., 0., 1., 2., 0., 4., 5., 6., 0., 8., 9., 10.]);
        assert_eq!(row(3), [5., 6., 7., 0., 9., 10., 11., 0., 13., 14., 15., 0., 0., 0., 0., 0.]);
        // A corner lies in one patch, an edge in two, the middle in four.
        let back = summed::<f32>(layer, &found) / &large.clamp_min(1.0);
        let back = Vec::<f32>::try_from(back.reshape([-1])).unwrap();
        assert_eq!(back, [0., 2., 2., 1., 2., 4., 4., 2., 2., 4., 4., 2., 1., 2., 2., 1.]);
    }
}
