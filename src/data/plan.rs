//! Plans where a set's pictures are kept and how much memory they take, before taking it.

use tch::{Device, Kind, Tensor};

use super::set::loaded_size;
use super::share::{Crew, Share};
use crate::config::{Config, LoaderMode};
use crate::error::{Error, Result};

/// The memory and the threads of loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Resident or streaming.
    pub mode: LoaderMode,
    /// Decoded pictures: all of them if resident, the batches ahead if streaming.
    pub bytes: u64,
    /// The bytes of the batches ahead, whether they stream or not.
    pub(super) streamed: u64,
    /// The number of pairs.
    pub pairs: usize,
    /// Distinct picture files.
    pub files: usize,
    /// Decoding threads.
    pub workers: usize,
}

impl Plan {
    /// Makes the plan for `pairs` pairs in `files` files, in a process that may share its machine with others.
    ///
    /// # Errors
    /// [`Error::Setting`] for resident pictures that exceed the memory.
    pub fn new(pairs: usize, files: usize, config: &Config, device: Device, share: Share) -> Result<Plan> {
        let available = || available() / share.here as u64;
        let [height, width] = loaded_size(config).map(|side| side as u64);
        let all = files as u64 * 3 * height * width;
        let [h, w] = config.image_size.map(|side| side as u64);
        // Batches for a CPU are float32, for other devices bytes.
        let size = if device == Device::Cpu { 4 } else { 1 };
        let batch = 9 * h * w * size * share.rows(config.batch_size).len() as u64;
        let mode = match config.loader {
            LoaderMode::Auto if fits(all, device, available()) => LoaderMode::Resident,
            LoaderMode::Auto => LoaderMode::Streaming,
            LoaderMode::Resident if device == Device::Cpu && all > available() => {
                let rule = format!("`auto` or `streaming` for pictures of {all} bytes with {} free", available());
                return Err(Error::setting("loader", rule, "resident"));
            }
            mode => mode,
        };
        let streamed = batch * (config.loader_prefetch as u64 + 1);
        Ok(Plan {
            bytes: match mode {
                LoaderMode::Streaming => streamed,
                _ => all,
            },
            streamed,
            mode,
            pairs,
            files,
            workers: match config.loader_workers {
                0 => (std::thread::available_parallelism().map_or(1, usize::from) / share.here).max(1),
                workers => workers,
            },
        })
    }

    /// Lets the pictures stream where they do in another process: all processes must do the same.
    ///
    /// # Errors
    /// As [`Crew::sum`].
    pub fn agreed(self, crew: &dyn Crew) -> Result<Plan> {
        let streams = Tensor::from_slice(&[i64::from(self.mode == LoaderMode::Streaming)]);
        crew.sum(&streams)?;
        Ok(match streams.int64_value(&[0]) {
            0 => self,
            _ => Plan { mode: LoaderMode::Streaming, bytes: self.streamed, ..self },
        })
    }
}

/// Whether the pictures fit into half of the device's free memory. Training needs the rest.
fn fits(bytes: u64, device: Device, available: u64) -> bool {
    match device {
        Device::Cpu => bytes <= available / 2,
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
