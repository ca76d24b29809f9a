//! The device behind a name.

use tch::Device;

use crate::error::{Error, Result};

/// The device of a name: `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Setting`] for another name, [`Error::Device`] for a CUDA device that libtorch does not find.
pub fn torch_device(name: &str) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(Device::cuda_if_available()),
        "cuda" => 0,
        _ => name
            .strip_prefix("cuda:")
            .and_then(|n| n.parse::<usize>().ok())
            .ok_or_else(|| Error::setting("device", "`auto`, `cpu`, `cuda` or `cuda:N`", format!("`{name}`")))?,
    };
    let count = if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 };
    if index as i64 >= count {
        return Err(Error::Device(format!("expected a CUDA device for `{name}`, but libtorch finds {count}")));
    }
    Ok(Device::Cuda(index))
}
