//! The noise of a step: the discriminator's, and that of the detached swap back.

use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::data::Share;
use crate::native::LentGenerator;
use crate::networks::{computes_channels_last, noise_shapes};
use crate::random::{fill_normal_from, lent_generator};

/// One of a step's two discriminator passes, named by the network that it updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Sees matched, swapped and mismatched pairs.
    Discriminator,
    /// Sees swapped pairs.
    Generator,
}

impl Pass {
    /// Counts the pairs that the pass sees for a batch.
    pub fn pairs(self, batch: usize) -> i64 {
        self.parts() * batch as i64
    }

    /// Counts the kinds of pairs.
    fn parts(self) -> i64 {
        match self {
            Pass::Discriminator => 3,
            Pass::Generator => 1,
        }
    }

    /// Returns this process's rows of values of the whole batch, `per_pair` for each pair.
    pub fn rows<T: Copy>(self, values: &[T], per_pair: usize, batch: usize, share: Share) -> Vec<T> {
        let rows = share.rows(batch);
        let kinds = values.chunks_exact(batch * per_pair);
        kinds.flat_map(|kind| &kind[rows.start * per_pair..rows.end * per_pair]).copied().collect()
    }
}

/// The noise of one pass.
#[derive(Debug)]
struct Filled {
    purpose: &'static str,
    /// The parts that are each drawn at once, with their first places in the sequence of the whole batch.
    parts: Vec<(usize, Tensor)>,
    /// All of it.
    all: Tensor,
    /// One for the input and one for each layer.
    views: Vec<Tensor>,
}

/// The discriminator's noise: one buffer that both passes fill anew in each step. A row's noise on a CPU is a function of
/// its place in the whole batch; on another device the process is a part of the seed.
#[derive(Debug)]
pub struct Noise {
    sigma: f64,
    seed: u64,
    share: Share,
    /// Whether each draw is seeded with its step. A CUDA graph cannot seed while it replays.
    seeded: bool,
    discriminator: Filled,
    generator: Filled,
}

impl Noise {
    /// Allocates the buffer for a process's rows. Returns `None` if the config has no noise.
    pub fn new(config: &Config, device: Device, share: Share) -> Option<Noise> {
        if config.discriminator_noise == 0.0 {
            return None;
        }
        let kind = config.precision.kind();
        let rows = share.rows(config.batch_size);
        let shapes = |pass: Pass| noise_shapes(config, pass.pairs(rows.len()));
        let length = |shape: &[i64; 4]| shape.iter().product::<i64>();
        let total: i64 = shapes(Pass::Discriminator).iter().map(length).sum();
        let buffer = Tensor::zeros([total], (kind, device));
        let filled = |pass: Pass, purpose| {
            let shapes = shapes(pass);
            let all = buffer.narrow(0, 0, shapes.iter().map(length).sum::<i64>());
            let mut offset = 0;
            let views = shapes.iter().map(|shape| {
                let start = offset;
                offset += length(shape);
                let part = all.narrow(0, start, length(shape));
                let [n, c, h, w] = *shape;
                // The layers compute in this layout.
                match computes_channels_last(config.precision, device) {
                    true => part.view([n, h, w, c]).permute([0, 3, 1, 2]),
                    false => part.view(*shape),
                }
            });
            let views = views.collect();
            let parts = match device {
                Device::Cpu if share != Share::WHOLE => {
                    let (mut here, mut there) = (0, 0);
                    let mut parts = Vec::new();
                    for [_, c, h, w] in shapes {
                        for _ in 0..pass.parts() {
                            let (row, count) = ((c * h * w) as usize, c * h * w * rows.len() as i64);
                            parts.push((there + rows.start * row, all.narrow(0, here, count)));
                            (here, there) = (here + count, there + config.batch_size * row);
                        }
                    }
                    parts
                }
                _ => vec![(share.rank, all.shallow_clone())],
            };
            Filled { purpose, parts, all, views }
        };
        Some(Noise {
            sigma: config.discriminator_noise,
            seed: config.seed,
            share,
            seeded: true,
            discriminator: filled(Pass::Discriminator, "noise/discriminator"),
            generator: filled(Pass::Generator, "noise/generator"),
        })
    }

    /// Draws the noise of a pass of a step. The next draw overwrites it.
    pub fn draw(&mut self, pass: Pass, step: u64) -> &[Tensor] {
        let filled = match pass {
            Pass::Discriminator => &mut self.discriminator,
            Pass::Generator => &mut self.generator,
        };
        if self.seeded {
            for (first, part) in &mut filled.parts {
                fill_normal_from(part, *first, self.sigma, self.seed, filled.purpose, step);
            }
        } else {
            let _ = filled.all.normal_(0.0, self.sigma);
        }
        &filled.views
    }

    /// Seeds the device's generator with a step, until the result is dropped. Draws after
    /// [`Noise::seed_each_draw`]`(false)` continue its one sequence.
    pub fn lent(&self, step: u64) -> LentGenerator {
        let purpose = match self.share.rank {
            0 => "noise".to_owned(),
            rank => format!("noise/{rank}"),
        };
        lent_generator(&self.discriminator.all, self.seed, &purpose, step)
    }

    /// Sets whether each draw is seeded.
    pub fn seed_each_draw(&mut self, seeded: bool) {
        self.seeded = seeded;
    }
}

/// Adds the noise of a step to a process's composites, `[N, 3, H, W]`.
pub fn noised(config: &Config, composite: &Tensor, step: u64, share: Share) -> Tensor {
    if config.reverse_noise == 0.0 {
        return composite.shallow_clone();
    }
    composite + reverse_noise(config, composite.device(), step, share)
}

/// Draws the noise of the detached swap back for a process's rows, `[N, 3, H, W]`. Its deviation is `reverse_noise` of
/// the networks' value range.
pub fn reverse_noise(config: &Config, device: Device, step: u64, share: Share) -> Tensor {
    let [height, width] = config.image_size;
    let rows = share.rows(config.batch_size);
    let sigma = config.reverse_noise * config.range().span();
    let mut noise = Tensor::zeros([rows.len() as i64, 3, height, width], (Kind::Float, device));
    // On another device than the CPU the place tells the processes apart.
    let first = rows.start * (3 * height * width) as usize;
    fill_normal_from(&mut noise, first, sigma, config.seed, "noise/reverse", step);
    noise
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Preset;

    #[test]
    fn a_rows_noise_is_the_same_in_any_number_of_processes() {
        let settings = json!({"image_size": 32, "width": 16, "batch_size": 5, "reverse": "detached",
            "reverse_noise": 0.1, "discriminator_noise": 0.1});
        let config = Config::with(Preset::Paper, settings).unwrap();
        let mut whole = Noise::new(&config, Device::Cpu, Share::WHOLE).unwrap();
        for rank in 0..3 {
            let share = Share { rank, world: 3, here: 3 };
            let rows = share.rows(5);
            let (first, count) = (rows.start as i64, rows.len() as i64);
            let mut own = Noise::new(&config, Device::Cpu, share).unwrap();
            for (pass, kinds) in [(Pass::Discriminator, 3), (Pass::Generator, 1)] {
                for (own, whole) in own.draw(pass, 4).iter().zip(whole.draw(pass, 4)) {
                    let kinds: Vec<_> = (0..kinds).map(|kind| whole.narrow(0, 5 * kind + first, count)).collect();
                    assert_eq!(*own, Tensor::cat(&kinds, 0));
                }
            }
            let all = reverse_noise(&config, Device::Cpu, 4, Share::WHOLE);
            assert_eq!(reverse_noise(&config, Device::Cpu, 4, share), all.narrow(0, first, count));
        }
    }
}
