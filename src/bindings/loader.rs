//! `cagan.Loader`.

use std::sync::Mutex;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tch::Device;

use super::arrays::into_numpy;
use super::compute::{compute, lock};
use super::config::PyConfig;
use super::dataset::PyPairs;
use crate::data::{LeftOut, Loader, Triplet};
use crate::error::{Error, Result};
use crate::native::{outside, use_threads};

/// The batches of a training as torch tensors, without networks: a step's human, worn and target are those that
/// `cagan.train` sees in this step, whatever the number of threads.
///
/// It is a sequence, so that `for human, worn, target in loader` and `torch.utils.data.DataLoader(loader,
/// batch_size=None)` go through all steps in order. Each tensor is float32 [N, 3, H, W] on the CPU, in the networks' range:
/// -1 to 1 for "vasily" and "paper", 0 to 1 for "kisekae". It shares no memory with others, so it may be changed.
/// Pictures are decoded by threads of the core, so a DataLoader needs no workers.
///
/// Args:
///     pairs: The pairs, which are decoded once to check them.
///     config: The settings. Of these count `image_size`, the fits, `crop_margin`, `flip`, `colour_jitter`, the seed, the
///         length, `batch_size`, `threads` and the loader's.
///
/// Raises:
///     ValueError: There are fewer than two pairs or fewer than a batch, the pairs are of several splits, a pair has no
///         target, or a picture cannot be decoded.
///
/// Example:
///     >>> import cagan
///     >>> pairs = cagan.dolls("data/dolls", count=8, size=64)
///     >>> loader = cagan.Loader(pairs, cagan.Config("smoke", steps=3, batch_size=2))
///     >>> for human, worn, target in loader:
///     ...     shape = human.shape
///     >>> len(loader), shape
///     (3, torch.Size([2, 3, 64, 64]))
#[pyclass(name = "Loader", module = "cagan", frozen, sequence)]
pub struct PyLoader {
    loader: Mutex<Loader>,
    /// The settings, resolved.
    #[pyo3(get)]
    config: PyConfig,
    /// Pairs that are left out, with `on_error="skip"`: ids, files and reasons.
    #[pyo3(get)]
    skipped: Vec<(String, std::path::PathBuf, String)>,
    steps: u64,
    /// The process whose threads decode.
    process: u32,
}

#[pymethods]
impl PyLoader {
    #[new]
    fn new(py: Python<'_>, pairs: &PyPairs, config: &PyConfig) -> PyResult<Self> {
        let mut raised = Ok(());
        let loader = compute(py, || {
            let _threads = use_threads(config.0.threads);
            Loader::open(&pairs.0, &config.0, Device::Cpu, &mut |_, _| {
                raised = outside(|| Python::attach(|py| py.check_signals()));
                raised.is_ok()
            })
        })?;
        raised?;
        let loader = loader.expect("only a signal stops it");
        let config = config.0.resolved(loader.len())?;
        let skipped =
            loader.skipped.iter().map(|LeftOut { id, path, reason }| (id.clone(), path.clone(), reason.clone()));
        Ok(PyLoader {
            steps: config.total_steps(loader.len()),
            skipped: skipped.collect(),
            config: PyConfig(config),
            loader: Mutex::new(loader),
            process: std::process::id(),
        })
    }

    /// The number of steps.
    fn __len__(&self) -> usize {
        self.steps as usize
    }

    /// Returns human, worn and target of a step.
    ///
    /// Raises:
    ///     IndexError: The training has fewer steps.
    ///     RuntimeError: The process is another one than that of the loader.
    ///     ValueError, OSError: Pictures stream, and one can no longer be decoded.
    fn __getitem__<'py>(&self, py: Python<'py>, step: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let Ok(index) = step.extract::<i64>() else {
            return Err(PyTypeError::new_err(format!("step: expected a number, got {}", step.repr()?)));
        };
        let place = if index < 0 { index + self.steps as i64 } else { index };
        let len = self.steps as usize;
        let place = u64::try_from(place).ok().filter(|&step| step < self.steps).ok_or(Error::Index { index, len })?;
        if std::process::id() != self.process {
            let text = "a Loader decodes in threads of its own, which another process does not have: expected \
                        num_workers=0 of a DataLoader";
            return Err(PyRuntimeError::new_err(text));
        }
        let triplet = {
            let mut loader = lock(py, &self.loader);
            let loader = &mut *loader;
            compute(py, || {
                let _threads = use_threads(self.config.0.threads);
                taken(loader, place)
            })?
        };
        let Triplet { human, worn, target } = triplet;
        let torch = py.import("torch")?;
        let tensors = [human, worn, target].map(|t| torch.call_method1("from_numpy", (into_numpy(py, t)?,)));
        PyTuple::new(py, tensors.into_iter().collect::<PyResult<Vec<_>>>()?)
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("collections.abc")?.getattr("Sequence")?.call_method1("__iter__", (slf,))
    }

    /// Raises:
    ///     TypeError: Always; make a loader in each process.
    fn __reduce__(&self) -> PyResult<Bound<'_, PyTuple>> {
        let text =
            "a Loader decodes in threads of its own and cannot be pickled: expected num_workers=0 of a DataLoader";
        Err(PyTypeError::new_err(text))
    }

    fn __repr__(&self) -> String {
        format!("Loader({} steps of {})", self.steps, self.config.0.batch_size)
    }
}

/// The exclusive reference may go to the thread that computes.
fn taken(loader: &mut Loader, step: u64) -> Result<Triplet> {
    loader.triplet(step)
}
