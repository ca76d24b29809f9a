//! Records CUDA graphs with torch's Python side: this crate does not link to CUDA.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tch::Device;

use crate::error::{Error, Result};
use crate::native::isolated;
use crate::training::Capture;

/// A `StepGraph` of `cagan._step_graph`.
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
}

impl Capture for TorchGraph {
    fn record(&mut self, step: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
        self.graph = None;
        let mut stepped = Ok(());
        let recorded = Python::attach(|py| -> PyResult<_> {
            let graph = py.import("cagan._step_graph")?.getattr("StepGraph")?.call1((self.device,))?;
            let recording = graph.call_method0("recording")?;
            recording.call_method0("__enter__")?;
            stepped = py.detach(|| isolated(step));
            // Also after a failure, since this restores the thread's device and stream.
            let reason = stepped.as_ref().err().map(|error| PyRuntimeError::new_err(error.to_string()));
            let reason = match &reason {
                None => (py.None(), py.None(), py.None()),
                Some(error) => (error.get_type(py).into(), error.value(py).clone().into(), py.None()),
            };
            recording.call_method1("__exit__", reason)?;
            Ok(graph.unbind())
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
        let launched = Python::attach(|py| graph.call_method0(py, "replay"));
        launched.map(drop).map_err(|error| failed("launched", &error))
    }
}

fn failed(act: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Device(format!("the step could not be {act} as a CUDA graph, train with cuda_graph=False: {error}"))
}
