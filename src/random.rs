//! Randomness as a pure function of (seed, purpose, number): a resumed run repeats an uninterrupted one, on any number
//! of threads.

use half::bf16;
use multiversion::multiversion;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tch::{Device, Kind, Tensor};

use crate::native::{self, Element, LentGenerator, Memory, parallel_for};

/// Values of one stream. Longer buffers are cut into chunks of this length, on any number of threads.
const CHUNK: usize = 8192;

/// Mixes seed, purpose and number into one number.
fn mix(seed: u64, purpose: &str, number: u64) -> u64 {
    // FNV-1a over the purpose. The generator's seeding scrambles the result further.
    let purpose = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    purpose ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03)
}

/// Returns a random stream of its own for each purpose and number.
///
/// ```
/// use rand::RngExt;
/// let draw = |seed, number| cagan::random::rng(seed, "order", number).random::<u64>();
/// assert_eq!(draw(1, 2), draw(1, 2));
/// assert_ne!(draw(1, 2), draw(2, 1));
/// ```
pub fn rng(seed: u64, purpose: &str, number: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(mix(seed, purpose, number))
}

/// Fills a contiguous float32 or bfloat16 tensor with gaussian values of mean 0.
///
/// On the CPU the generator is our own: it gives equal values on every processor and leaves libtorch's generator alone.
/// On another device it is one of libtorch's, a copy of the process's: nothing is copied to the device.
pub fn fill_normal(buffer: &mut Tensor, sigma: f64, seed: u64, purpose: &str, number: u64) {
    fill_normal_from(buffer, 0, sigma, seed, purpose, number);
}

/// As [`fill_normal`], with the values of its sequence from the place `first` on. On another device than the CPU the
/// place is a part of the seed: the sequences of two places differ.
///
/// ```
/// use cagan::random::{fill_normal, fill_normal_from};
/// let zeros = |count: i64| tch::Tensor::zeros([count], (tch::Kind::Float, tch::Device::Cpu));
/// let (mut whole, mut part) = (zeros(20_000), zeros(9_000));
/// fill_normal(&mut whole, 0.2, 1, "noise", 2);
/// fill_normal_from(&mut part, 8_000, 0.2, 1, "noise", 2);
/// assert_eq!(part, whole.narrow(0, 8_000, 9_000));
/// ```
pub fn fill_normal_from(buffer: &mut Tensor, first: usize, sigma: f64, seed: u64, purpose: &str, number: u64) {
    let base = mix(seed, purpose, number);
    if buffer.device() != Device::Cpu {
        let place = (first as u64).wrapping_mul(0x9fb2_1c65_1e98_df25);
        native::fill_normal(buffer, sigma, base ^ place);
        return;
    }
    assert!(buffer.is_contiguous());
    let sigma = sigma as f32;
    match buffer.kind() {
        Kind::Float => fill_chunks(buffer, first, |chunk, values: &mut [f32]| {
            #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
            fn best(lanes: Lanes, sigma: f32, values: &mut [f32]) {
                lanes.fill(values, |value| sigma * value);
            }
            best(Lanes::new(base, chunk), sigma, values);
        }),
        Kind::BFloat16 => fill_chunks(buffer, first, |chunk, values: &mut [bf16]| {
            #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
            fn best(lanes: Lanes, sigma: f32, values: &mut [bf16]) {
                lanes.fill(values, |value| bf16::from_f32(sigma * value));
            }
            best(Lanes::new(base, chunk), sigma, values);
        }),
        kind => unreachable!("noise is float32 or bfloat16, not {kind:?}"),
    }
}

/// Lends and seeds the process's generator of the device of `like`. Draws that name no generator are then a function of
/// (seed, purpose, number).
pub fn lent_generator(like: &Tensor, seed: u64, purpose: &str, number: u64) -> LentGenerator {
    LentGenerator::seeded(like, mix(seed, purpose, number))
}

/// Calls `fill` with each chunk of a sequence and its number. The tensor takes the values from the place `first` on.
fn fill_chunks<T: Element + Send + Default + Copy>(
    buffer: &mut Tensor,
    first: usize,
    fill: impl Fn(u64, &mut [T]) + Sync,
) {
    let (length, before) = (buffer.numel(), first / CHUNK);
    let memory = Memory::of(buffer);
    parallel_for((first + length).div_ceil(CHUNK) - before, |chunk| {
        let chunk = before + chunk;
        let from = (chunk * CHUNK).max(first);
        let count = ((chunk + 1) * CHUNK).min(first + length) - from;
        // SAFETY: chunks are inside the tensor, which is borrowed mutably, and each is used once.
        let values = unsafe { std::slice::from_raw_parts_mut(memory.at(from - first), count) };
        match from - chunk * CHUNK {
            0 => fill(chunk as u64, values),
            // A chunk is drawn from its beginning.
            skipped => {
                let mut whole = vec![T::default(); skipped + count];
                fill(chunk as u64, &mut whole);
                values.copy_from_slice(&whole[skipped..]);
            }
        }
    });
}

/// Streams that advance together.
const LANES: usize = 16;

/// Sixteen xoshiro128++ generators side by side (Blackman & Vigna 2021, arXiv 1805.01407). Vector instructions take
/// plain loops over lanes at once.
#[derive(Clone, Copy)]
struct Lanes([[u32; LANES]; 4]);

impl Lanes {
    fn new(base: u64, chunk: u64) -> Self {
        let stream = base.wrapping_add((chunk + 1).wrapping_mul(0xa076_1d64_78bd_642f));
        let mut seeds = Xoshiro256PlusPlus::seed_from_u64(stream);
        Lanes(std::array::from_fn(|_| std::array::from_fn(|_| seeds.random())))
    }

    #[inline(always)]
    fn next(&mut self) -> [u32; LANES] {
        let [a, b, c, d] = &mut self.0;
        let mut drawn = [0; LANES];
        for i in 0..LANES {
            drawn[i] = a[i].wrapping_add(d[i]).rotate_left(7).wrapping_add(a[i]);
            let t = b[i] << 9;
            c[i] ^= a[i];
            d[i] ^= b[i];
            b[i] ^= c[i];
            a[i] ^= d[i];
            c[i] ^= t;
            d[i] = d[i].rotate_left(11);
        }
        drawn
    }

    /// Writes `of` applied to standard gaussian values, two from two draws (Box & Muller 1958).
    #[inline(always)]
    fn fill<T>(mut self, values: &mut [T], of: impl Fn(f32) -> T) {
        for values in values.chunks_mut(2 * LANES) {
            let (radius, angle) = (self.next(), self.next());
            let mut pairs = [[0f32; LANES]; 2];
            for i in 0..LANES {
                [pairs[0][i], pairs[1][i]] = gaussian(radius[i], angle[i]);
            }
            for (value, gaussian) in values.iter_mut().zip(pairs.as_flattened()) {
                *value = of(*gaussian);
            }
        }
    }
}

/// Makes two independent standard gaussian values from two uniform numbers. It calls no library function: these differ
/// between processors.
#[inline(always)]
fn gaussian(radius: u32, angle: u32) -> [f32; 2] {
    // In (0, 1): 2^-32 (radius + 1/2). The radius then ends at 6.8 deviations.
    let uniform = (radius as f32 + 0.5) * (1.0 / 4_294_967_296.0);
    // The logarithm as in Cephes: a polynomial of the mantissa in [sqrt 1/2, sqrt 2), plus the exponent's part.
    let bits = uniform.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32;
    let x = f32::from_bits((bits & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let mut p = 7.037_683_6e-2f32;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * x + c;
    }
    let squared = x * x;
    let logarithm = x + (p * x * squared - 0.5 * squared) + exponent * std::f32::consts::LN_2;
    let length = (-2.0 * logarithm).max(0.0).sqrt();
    // The upper bits give an angle in [-pi/4, pi/4), the lower ones its quarter of the circle.
    let t = (angle as i32 >> 8) as f32 * (std::f32::consts::FRAC_PI_4 / 8_388_608.0);
    let z = t * t;
    let sine = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * t + t;
    let cosine = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    let (one, other) = if angle & 1 == 0 { (cosine, sine) } else { (sine, cosine) };
    let one = if angle & 2 == 0 { one } else { -one };
    let other = if angle & 4 == 0 { other } else { -other };
    [length * one, length * other]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(kind: Kind, seed: u64, number: u64) -> Tensor {
        let mut buffer = Tensor::zeros([200_000], (kind, Device::Cpu));
        fill_normal(&mut buffer, 0.2, seed, "noise", number);
        buffer.to_kind(Kind::Float)
    }

    #[test]
    fn noise_is_gaussian_and_depends_on_seed_and_number_alone() {
        let a = drawn(Kind::Float, 1, 2);
        assert_eq!(a, drawn(Kind::Float, 1, 2));
        for other in [drawn(Kind::Float, 1, 3), drawn(Kind::Float, 2, 2)] {
            // The correlation of independent rows has a standard error of 1 / sqrt(200,000) = 0.002.
            let correlation = (&a * &other).mean(Kind::Float).double_value(&[]) / 0.04;
            assert!(correlation.abs() < 0.012, "{correlation}");
        }
        let mean = a.mean(Kind::Float).double_value(&[]);
        let std = a.std(false).double_value(&[]);
        assert!(mean.abs() < 0.003 && (std - 0.2).abs() < 0.002, "{mean} {std}");
        // 4.55 % of a gaussian are outside two sigma.
        let outside = a.abs().gt(0.4).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((outside - 0.0455).abs() < 0.003, "{outside}");
        // Chunks do not repeat each other.
        assert_ne!(a.narrow(0, 0, 8192), a.narrow(0, 8192, 8192));
    }

    #[test]
    fn moments_tails_and_independence_are_a_gaussians() {
        let values = {
            let mut buffer = Tensor::zeros([4_000_000], (Kind::Float, Device::Cpu));
            fill_normal(&mut buffer, 1.0, 7, "moments", 0);
            buffer.to_kind(Kind::Double)
        };
        let n = values.numel() as f64;
        // Mean, variance, skewness and kurtosis, each within five standard errors.
        for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let got = values.pow_tensor_scalar(power).mean(Kind::Double).double_value(&[]);
            let error = (variance / n).sqrt();
            assert!((got - expected).abs() < 5.0 * error, "moment {power}: {got}");
        }
        // Shares beyond k deviations on both sides.
        for (k, share) in [(1.0, 0.317_310_5), (2.0, 0.045_500_3), (3.0, 0.002_699_8), (4.0, 6.334e-5)] {
            let got = values.abs().gt(k).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
            assert!((got - share).abs() < 5.0 * (share / n).sqrt(), "beyond {k}: {got}");
        }
        // Neither the two values of one draw nor neighbours, nor their squares, are correlated.
        for lag in [1, 16, 17, 32, 8192] {
            let m = values.numel() as i64 - lag;
            let (a, b) = (values.narrow(0, 0, m), values.narrow(0, lag, m));
            let together = (&a * &b).mean(Kind::Double).double_value(&[]);
            let squares = ((a.square() - 1.0) * (b.square() - 1.0)).mean(Kind::Double).double_value(&[]);
            assert!(together.abs() < 5.0 / n.sqrt() && squares.abs() < 10.0 / n.sqrt(), "{lag}: {together} {squares}");
        }
    }

    #[test]
    fn the_functions_inside_are_exact_to_float32() {
        // All pairs of a coarse grid, ends included, against double precision.
        let grid = (0..=255u32).map(|k| k * 0x0101_0101).chain([1, u32::MAX - 1]);
        for radius in grid.clone() {
            for angle in grid.clone() {
                let uniform = f64::from((radius as f32 + 0.5) * (1.0 / 4_294_967_296.0));
                let length = (-2.0 * uniform.ln()).max(0.0).sqrt();
                let t = f64::from(angle as i32 >> 8) / 8_388_608.0 * std::f64::consts::FRAC_PI_4;
                let (mut one, mut other) = if angle & 1 == 0 { (t.cos(), t.sin()) } else { (t.sin(), t.cos()) };
                if angle & 2 != 0 {
                    one = -one;
                }
                if angle & 4 != 0 {
                    other = -other;
                }
                let got = gaussian(radius, angle);
                for (got, expected) in got.into_iter().zip([length * one, length * other]) {
                    assert!((f64::from(got) - expected).abs() < 1e-5, "{radius} {angle}: {got} {expected}");
                }
            }
        }
    }

    #[test]
    fn a_part_of_a_sequence_is_that_of_the_whole() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let whole = drawn(kind, 1, 2);
            for (first, count) in [(0, 5), (3, 1), (8_190, 4), (8_192, 8_192), (100, 30_000), (16_384, 3)] {
                let mut part = Tensor::zeros([count], (kind, Device::Cpu));
                fill_normal_from(&mut part, first as usize, 0.2, 1, "noise", 2);
                assert_eq!(part.to_kind(Kind::Float), whole.narrow(0, first, count), "{first} {count}");
            }
        }
    }

    #[test]
    fn bfloat16_noise_is_the_same_noise_rounded() {
        let worst = (drawn(Kind::Float, 1, 2) - drawn(Kind::BFloat16, 1, 2)).abs().max();
        assert!(worst.double_value(&[]) < 0.2 * 5.0 / 256.0);
    }
}
