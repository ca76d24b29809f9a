//! Plans where a set's pictures are kept and how much memory they take, before taking it.

use tch::{Device, Kind, Tensor};

use super::set::loaded_size;
use crate::config::{Config, LoaderMode};
use crate::error::{Error, Result};

/// The memory and the threads of loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Resident or streaming.
    pub mode: LoaderMode,
    /// Decoded pictures: all of them if resident, the batches ahead if streaming.
    pub bytes: u64,
    /// The number of pairs.
    pub pairs: usize,
    /// Distinct picture files.
    pub files: usize,
    /// Decoding threads.
    pub workers: usize,
}

impl Plan {
    /// Makes the plan for `pairs` pairs in `files` files.
    ///
    /// # Errors
    /// [`Error::Setting`] for resident pictures that exceed the memory.
    pub fn new(pairs: usize, files: usize, config: &Config, device: Device) -> Result<Plan> {
        let [height, width] = loaded_size(config).map(|side| side as u64);
        let all = files as u64 * 3 * height * width;
        let [h, w] = config.image_size.map(|side| side as u64);
        // Batches for a CPU are float32, for other devices bytes.
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

/// Whether the pictures fit into half of the device's free memory. Training needs the rest.
fn fits(bytes: u64, device: Device) -> bool {
    match device {
        Device::Cpu => bytes <= available() / 2,
        // libtorch does not report free memory, but an allocation can be tried.
        _ => Tensor::f_empty([2 * bytes as i64], (Kind::Uint8, device)).is_ok(),
    }
}

/// The memory that this process can still allocate, in bytes.
fn available() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = system.available_memory();
    // A container's limit may be below the machine's memory.
    system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory))
}
