//! Where a set's pictures will wait and what they will take, told before it is taken.

use tch::{Device, Kind, Tensor};

use super::set::loaded_size;
use crate::config::{Config, LoaderMode};
use crate::error::{Error, Result};

/// What loading will take, known before it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Resident or streaming.
    pub mode: LoaderMode,
    /// Decoded pictures: all of them on the device where they are resident, the batches ahead where they stream.
    pub bytes: u64,
    pub pairs: usize,
    /// Picture files, each counted once.
    pub files: usize,
    /// Threads that decode.
    pub workers: usize,
}

impl Plan {
    /// The plan for so many pairs in so many files.
    ///
    /// # Errors
    /// [`Error::Setting`] for resident pictures that the memory does not hold.
    pub fn new(pairs: usize, files: usize, config: &Config, device: Device) -> Result<Plan> {
        let [height, width] = loaded_size(config).map(|side| side as u64);
        let all = files as u64 * 3 * height * width;
        let [h, w] = config.image_size.map(|side| side as u64);
        // On a CPU batches wait as float32, else as bytes.
        let size = if device == Device::Cpu { 4 } else { 1 };
        let batch = 9 * h * w * size * config.batch_size as u64;
        let mode = match config.loader {
            LoaderMode::Auto if fits(all, device) => LoaderMode::Resident,
            LoaderMode::Auto => LoaderMode::Streaming,
            LoaderMode::Resident if device == Device::Cpu && all > available() => {
                let rule = format!("`auto` or `streaming` for pictures of {all} bytes with {} free", available());
                return Err(Error::setting("loader", rule, "resident"));
            }
            mode => mode,
        };
        Ok(Plan {
            bytes: match mode {
                LoaderMode::Streaming => batch * (config.loader_prefetch as u64 + 1),
                _ => all,
            },
            mode,
            pairs,
            files,
            workers: match config.loader_workers {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                workers => workers,
            },
        })
    }
}

/// Whether the pictures may stay on the device: they may take half of what is free, as training wants its share.
fn fits(bytes: u64, device: Device) -> bool {
    match device {
        Device::Cpu => bytes <= available() / 2,
        // libtorch tells of no free memory; it can be asked for it.
        _ => Tensor::f_empty([2 * bytes as i64], (Kind::Uint8, device)).is_ok(),
    }
}

/// Memory that this process can still take, in bytes.
fn available() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = system.available_memory();
    // In a container the limit counts, not the machine.
    system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory))
}
