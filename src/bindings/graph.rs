//! Records CUDA graphs with torch's Python side: this crate does not link to CUDA.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::Device;

use crate::error::{Error, Result};
use crate::native::isolated;
use crate::training::Capture;

/// A `torch.cuda.CUDAGraph` of a device.
pub struct TorchGraph {
    device: usize,
    graph: Option<Py<PyAny>>,
}

impl TorchGraph {
    pub fn make(device: Device) -> Box<dyn Capture> {
        let device = match device {
            Device::Cuda(index) => index,
            _ => 0,
        };
        Box::new(TorchGraph { device, graph: None })
    }

    /// Calls `body` with `torch.cuda`, whose current device and stream are then as before.
    fn on_device<'py, T>(&self, py: Python<'py>, body: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>) -> PyResult<T> {
        let cuda = py.import("torch")?.getattr("cuda")?;
        let device = cuda.call_method1("device", (self.device,))?;
        device.call_method0("__enter__")?;
        let done = cuda.call_method0("current_stream").and_then(|stream| {
            let done = body(&cuda);
            // torch leaves its own stream behind if a recording fails to begin or to end.
            let set = cuda.call_method1("set_stream", (stream,));
            done.and_then(|done| set.map(|_| done))
        });
        let left = device.call_method1("__exit__", (py.None(), py.None(), py.None()));
        done.and_then(|done| left.map(|_| done))
    }
}

impl Capture for TorchGraph {
    fn record(&mut self, step: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
        self.graph = None;
        let mut stepped = Ok(());
        let recorded = Python::attach(|py| {
            self.on_device(py, |cuda| {
                let graph = cuda.call_method0("CUDAGraph")?;
                let settings = PyDict::new(py);
                // Threads that decode pictures may use the device during the recording.
                settings.set_item("capture_error_mode", "thread_local")?;
                // torch's own stream for recordings is of the device that it first recorded on.
                settings.set_item("stream", cuda.call_method0("Stream")?)?;
                let recording = cuda.call_method("graph", (&graph,), Some(&settings))?;
                recording.call_method0("__enter__")?;
                stepped = py.detach(|| isolated(step));
                let left = recording.call_method1("__exit__", (py.None(), py.None(), py.None()));
                left.map(|_| graph.unbind())
            })
        });
        // The step's error is the reason of the recording's.
        stepped.map_err(|error| match error {
            Error::Torch(error) => failed("recorded", &error),
            error => error,
        })?;
        self.graph = Some(recorded.map_err(|error| failed("recorded", &error))?);
        Ok(())
    }

    fn replay(&mut self, _: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
        let graph = self.graph.as_ref().expect("recorded before");
        let launched = Python::attach(|py| self.on_device(py, |_| graph.call_method0(py, "replay")));
        launched.map(drop).map_err(|error| failed("launched", &error))
    }
}

fn failed(act: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Device(format!("the step could not be {act} as a CUDA graph, train with cuda_graph=False: {error}"))
}
