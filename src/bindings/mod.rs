//! The Python module `cagan._cagan`: each method takes arrays in, releases the interpreter, calls the core, gives
//! arrays out.

mod arrays;
mod compute;
mod config;
mod curation;
mod dataset;
mod errors;
mod graph;
mod held;
mod kept;
mod loader;
mod look;
mod pair;
mod rows;
mod sources;
mod storage;
mod stream;
mod swap;
mod swapper;
mod trainer;

use pyo3::prelude::*;

/// Describes this build and machine: its version, libtorch's CPU threads, CUDA devices, and the device that "auto"
/// means.
#[pyfunction]
fn system(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let available = tch::Cuda::is_available();
    let cuda_devices = if available { tch::Cuda::device_count() } else { 0 };
    let auto = if available { "cuda" } else { "cpu" };
    arrays::to_python(
        py,
        &serde_json::json!({
            "cagan": env!("CARGO_PKG_VERSION"),
            "auto_device": auto,
            "cuda_devices": cuda_devices,
            "cuda_libraries": tch::utils::has_cudart(),
            "threads": tch::get_num_threads(),
        }),
    )
}

#[pymodule]
fn _cagan(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Whoever imported torch before has its number of threads.
    if !module.py().import("sys")?.getattr("modules")?.contains("torch")? {
        crate::native::respect_quota();
    }
    crate::training::set_capture(graph::TorchGraph::make);
    crate::pixels::set_fallback(arrays::decode_with_pillow);
    let package = module.py().import("cagan")?.getattr("__path__")?.get_item(0)?;
    crate::storage::set_packaged(package.extract::<std::path::PathBuf>()?.join("weights"));
    module.add_class::<config::PyConfig>()?;
    config::add_properties(&module.py().get_type::<config::PyConfig>())?;
    module.add_class::<pair::PyPair>()?;
    module.add_class::<dataset::PyPairs>()?;
    dataset::make_sequence(&module.py().get_type::<dataset::PyPairs>())?;
    module.add_class::<curation::PyListing>()?;
    module.add_class::<swap::PySwap>()?;
    module.add_class::<look::PyLook>()?;
    module.add_class::<swapper::PySwapper>()?;
    module.add_class::<stream::PySwapStream>()?;
    module.add_class::<loader::PyLoader>()?;
    module.add_class::<trainer::PyTrainer>()?;
    module.add_function(wrap_pyfunction!(config::presets, module)?)?;
    module.add_function(wrap_pyfunction!(config::settings, module)?)?;
    module.add_function(wrap_pyfunction!(curation::curation_options, module)?)?;
    module.add_function(wrap_pyfunction!(curation::curation_reasons, module)?)?;
    module.add_function(wrap_pyfunction!(curation::thumbnails, module)?)?;
    module.add_function(wrap_pyfunction!(curation::to_png, module)?)?;
    module.add_function(wrap_pyfunction!(dataset::dolls, module)?)?;
    module.add_function(wrap_pyfunction!(dataset::read_picture, module)?)?;
    module.add_function(wrap_pyfunction!(swapper::chosen, module)?)?;
    module.add_function(wrap_pyfunction!(storage::read_header, module)?)?;
    module.add_function(wrap_pyfunction!(storage::write_atomically, module)?)?;
    module.add_function(wrap_pyfunction!(trainer::run, module)?)?;
    module.add_function(wrap_pyfunction!(system, module)?)
}
