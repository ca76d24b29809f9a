//! Randomness as a pure function of (seed, purpose, number): a resumed run repeats an uninterrupted one, on any number of threads.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Values that one stream draws; longer buffers are cut into so many, whatever the number of threads.
const CHUNK: usize = 8192;

/// One number out of seed, purpose and number.
fn mix(seed: u64, purpose: &str, number: u64) -> u64 {
    // FNV-1a over the purpose; the generator's own seeding scrambles the sum further.
    let purpose = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    purpose
        ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
        ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03)
}

/// A random stream of its own for each purpose and number.
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
/// On the CPU the values are our own and leave libtorch's generator alone. On another device libtorch's generators are seeded
/// and drawn from, so that nothing crosses to the device.
pub fn fill_normal(buffer: &mut Tensor, sigma: f64, seed: u64, purpose: &str, number: u64) {
    if buffer.device() != Device::Cpu {
        tch::manual_seed(mix(seed, purpose, number) as i64);
        let _ = buffer.normal_(0.0, sigma);
        return;
    }
    assert!(buffer.is_contiguous());
    let base = mix(seed, purpose, number);
    let sigma = sigma as f32;
    let stream = |chunk: usize| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(
            base.wrapping_add((chunk as u64 + 1).wrapping_mul(0xa076_1d64_78bd_642f)),
        );
        move || -> f32 {
            sigma * <StandardNormal as Distribution<f32>>::sample(&StandardNormal, &mut rng)
        }
    };
    let len = buffer.numel();
    match buffer.kind() {
        Kind::Float => {
            // SAFETY: the tensor is a contiguous float32 one on the CPU and is borrowed mutably.
            let values =
                unsafe { std::slice::from_raw_parts_mut(buffer.data_ptr().cast::<f32>(), len) };
            values
                .par_chunks_mut(CHUNK)
                .enumerate()
                .for_each(|(i, chunk)| {
                    let mut next = stream(i);
                    chunk.iter_mut().for_each(|value| *value = next());
                });
        }
        Kind::BFloat16 => {
            // SAFETY: as above; a bfloat16 is the upper half of a float32.
            let values =
                unsafe { std::slice::from_raw_parts_mut(buffer.data_ptr().cast::<u16>(), len) };
            values
                .par_chunks_mut(CHUNK)
                .enumerate()
                .for_each(|(i, chunk)| {
                    let mut next = stream(i);
                    let half = |v: f32| ((v.to_bits() + 0x8000) >> 16) as u16;
                    chunk.iter_mut().for_each(|value| *value = half(next()));
                });
        }
        kind => unreachable!("noise is float32 or bfloat16, not {kind:?}"),
    }
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
            // Two independent rows correlate by chance with 1 / sqrt(200,000) = 0.002.
            let correlation = (&a * &other).mean(Kind::Float).double_value(&[]) / 0.04;
            assert!(correlation.abs() < 0.012, "{correlation}");
        }
        let mean = a.mean(Kind::Float).double_value(&[]);
        let std = a.std(false).double_value(&[]);
        assert!(
            mean.abs() < 0.003 && (std - 0.2).abs() < 0.002,
            "{mean} {std}"
        );
        // 4.55 % of a gaussian lie outside two sigma.
        let outside = a
            .abs()
            .gt(0.4)
            .to_kind(Kind::Float)
            .mean(Kind::Float)
            .double_value(&[]);
        assert!((outside - 0.0455).abs() < 0.003, "{outside}");
        // Chunks don't repeat each other.
        assert_ne!(a.narrow(0, 0, 8192), a.narrow(0, 8192, 8192));
    }

    #[test]
    fn bfloat16_noise_is_the_same_noise_rounded() {
        let worst = (drawn(Kind::Float, 1, 2) - drawn(Kind::BFloat16, 1, 2))
            .abs()
            .max();
        assert!(worst.double_value(&[]) < 0.2 * 5.0 / 256.0);
    }
}
