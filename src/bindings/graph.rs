//! Records CUDA graphs with torch's Python side: this crate does not link to CUDA.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, Result};
use crate::training::Capture;

/// A `torch.cuda.CUDAGraph`.
#[derive(Default)]
pub struct TorchGraph(Option<Py<PyAny>>);

impl TorchGraph {
    pub fn make() -> Box<dyn Capture> {
        Box::new(TorchGraph::default())
    }
}

impl Capture for TorchGraph {
    fn record(&mut self, step: &mut (dyn FnMut() + Send)) -> Result<()> {
        self.0 = None;
        let recorded = Python::attach(|py| -> PyResult<_> {
            let cuda = py.import("torch")?.getattr("cuda")?;
            let graph = cuda.call_method0("CUDAGraph")?;
            let settings = PyDict::new(py);
            // Threads that decode pictures may use the device during the recording.
            settings.set_item("capture_error_mode", "thread_local")?;
            let recording = cuda.call_method("graph", (&graph,), Some(&settings))?;
            recording.call_method0("__enter__")?;
            let done = py.detach(|| catch_unwind(AssertUnwindSafe(step)));
            // Also after a failure, since this restores the thread's stream.
            let left = recording.call_method1("__exit__", (py.None(), py.None(), py.None()));
            match done {
                Ok(()) => left.map(|_| graph.unbind()),
                Err(panic) => {
                    let said = panic.downcast_ref::<String>();
                    let text = said.map_or("an operation failed", String::as_str);
                    let first = text.lines().next().unwrap_or_default().to_owned();
                    Err(pyo3::exceptions::PyRuntimeError::new_err(first))
                }
            }
        });
        self.0 = Some(recorded.map_err(|error| failed("recorded", &error))?);
        Ok(())
    }

    fn replay(&mut self, _: &mut (dyn FnMut() + Send)) -> Result<()> {
        let graph = self.0.as_ref().expect("recorded before");
        Python::attach(|py| graph.call_method0(py, "replay")).map_err(|error| failed("launched", &error))?;
        Ok(())
    }
}

fn failed(act: &str, error: &PyErr) -> Error {
    Error::Device(format!("the step could not be {act} as a CUDA graph, train with cuda_graph=False: {error}"))
}
