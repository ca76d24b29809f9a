//! `cagan.Trainer`, and the run behind `cagan.train`.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{from_dict, from_numpy, into_numpy, to_dict, to_numpy, to_python};
use super::config::PyConfig;
use super::dataset::PyPairs;
use crate::data::{LeftOut, Triplet};
use crate::error::Error;
use crate::networks::Parameters;
use crate::training::{Event, Pass, Resume, Trainer, train};

type Array<'py> = Bound<'py, PyArrayDyn<f32>>;

/// Both networks, their optimisers and the data, stepped by hand: for research and for comparing with other
/// implementations. `cagan.train` is the same with a run folder around it.
///
/// Args:
///     pairs: The pairs, decoded at once.
///     config: The settings.
///
/// Raises:
///     ValueError: For fewer than two pairs, fewer than a batch, pairs of several splits, a pair without any target, or a picture
///         that cannot be decoded.
///     RuntimeError: For a device that is not there.
#[pyclass(name = "Trainer", module = "cagan", frozen)]
pub struct PyTrainer(Mutex<Trainer>);

impl PyTrainer {
    /// Waits for another thread's step without the interpreter.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Trainer> {
        use pyo3::sync::MutexExt;
        self.0.lock_py_attached(py).expect("no step has panicked")
    }
}

fn parameters<'a>(trainer: &'a mut Trainer, network: &str) -> PyResult<&'a mut Parameters> {
    match network {
        "generator" => Ok(&mut trainer.models.generator_parameters),
        "discriminator" => Ok(&mut trainer.models.discriminator_parameters),
        _ => Err(Error::unknown("network", network, ["generator", "discriminator"]).into()),
    }
}

#[pymethods]
impl PyTrainer {
    #[new]
    fn new(py: Python<'_>, pairs: &PyPairs, config: &PyConfig) -> PyResult<Self> {
        let mut raised = Ok(());
        let trainer = py.detach(|| {
            Trainer::watched(&pairs.0, config.0.clone(), &mut |_, _| {
                raised = Python::attach(|py| py.check_signals());
                raised.is_ok()
            })
        })?;
        raised?;
        Ok(PyTrainer(Mutex::new(trainer.expect("only a signal stops it"))))
    }

    #[getter]
    fn config(&self, py: Python<'_>) -> PyConfig {
        PyConfig(self.lock(py).config.clone())
    }

    /// Updates done so far.
    #[getter]
    fn step(&self, py: Python<'_>) -> u64 {
        self.lock(py).step
    }

    /// Takes so many steps and returns the last one's terms by log key.
    ///
    /// Raises:
    ///     ValueError: For no steps.
    fn run<'py>(&self, py: Python<'py>, steps: u64) -> PyResult<Bound<'py, PyDict>> {
        if steps == 0 {
            return Err(Error::setting("steps", "at least 1", steps).into());
        }
        let mut trainer = self.lock(py);
        let trainer = &mut *trainer;
        let mut terms = py.detach(|| trainer.step())?;
        for _ in 1..steps {
            py.check_signals()?;
            terms = py.detach(|| trainer.step())?;
        }
        let dict = PyDict::new(py);
        for (i, name) in terms.names.iter().enumerate() {
            dict.set_item(name, terms.values.double_value(&[i as i64]))?;
        }
        Ok(dict)
    }

    /// The pictures that a step takes: human, worn, target, each float32 [N, 3, H, W] in the networks' value range.
    ///
    /// Raises:
    ///     ValueError, OSError: Where pictures stream, for one that cannot be decoded any more.
    fn triplet<'py>(&self, py: Python<'py>, step: u64) -> PyResult<[Array<'py>; 3]> {
        let Triplet { human, worn, target } = {
            let mut trainer = self.lock(py);
            let trainer = &mut *trainer;
            py.detach(move || trainer.triplet(step))?
        };
        Ok([into_numpy(py, human)?, into_numpy(py, worn)?, into_numpy(py, target)?])
    }

    /// The discriminator's noise in a step, for the discriminator's update ([3 N, ...]) and the generator's ([N, ...]):
    /// one array for its input and one for each layer; empty lists where the config has no noise.
    fn noise<'py>(&self, py: Python<'py>, step: u64) -> PyResult<[Vec<Array<'py>>; 2]> {
        let mut trainer = self.lock(py);
        let mut pass =
            |pass| -> PyResult<Vec<Array<'py>>> { trainer.noise(pass, step).iter().map(|t| to_numpy(py, t)).collect() };
        Ok([pass(Pass::Discriminator)?, pass(Pass::Generator)?])
    }

    /// What else a step draws at random, by name, as far as the config has it: `reverse`, the noise on what the
    /// detached way back sees ([N, 3, H, W]); `augment/discriminator` ([3 N, 11]) and `augment/generator` ([N, 11]):
    /// brightness, saturation and contrast; how far the human's and the article's rows and columns move; where the rows
    /// and columns of their cutouts start. Of kisekae the erasures: `blobs` ([N, 1, H, W]); `masked`, `beside` and
    /// `withheld` ([N, 1, 1, 1], 0 or 1); `widen`, in pixels, and `sharp` ([1]).
    fn draws<'py>(&self, py: Python<'py>, step: u64) -> PyResult<Bound<'py, PyDict>> {
        to_dict(py, &self.lock(py).draws(step))
    }

    /// The weights of the fixed random network of `perceptual_weight` by state-dict name; empty where that is 0.
    fn perceptual<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.lock(py).models.pyramid {
            None => Ok(PyDict::new(py)),
            Some(network) => to_dict(py, &network.parameters.named(&network.parameters.values)),
        }
    }

    /// What of the discriminator is state but no parameter, by name: the vectors of its spectral norms. Empty without
    /// them.
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.lock(py).models.discriminator_parameters.vectors {
            None => Ok(PyDict::new(py)),
            Some(vectors) => to_dict(py, &vectors.named(&vectors.values)),
        }
    }

    /// The parameters of "generator" or "discriminator" by state-dict name.
    fn state<'py>(&self, py: Python<'py>, network: &str) -> PyResult<Bound<'py, PyDict>> {
        let mut trainer = self.lock(py);
        let parameters = parameters(&mut trainer, network)?;
        to_dict(py, &parameters.named(&parameters.values))
    }

    /// The gradients that the last step computed, by state-dict name.
    fn gradients<'py>(&self, py: Python<'py>, network: &str) -> PyResult<Bound<'py, PyDict>> {
        let mut trainer = self.lock(py);
        let parameters = parameters(&mut trainer, network)?;
        to_dict(py, &parameters.named(&parameters.gradient))
    }

    /// Replaces the parameters of a network.
    ///
    /// Raises:
    ///     ValueError: For a name or a shape that is not the network's; nothing is changed then.
    fn load_state(&self, py: Python<'_>, network: &str, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut trainer = self.lock(py);
        Ok(parameters(&mut trainer, network)?.load(&from_dict(state)?)?)
    }

    /// The generator's composite, paint and mask for pictures in its value range.
    ///
    /// Args:
    ///     human, worn, target: float32 [N, 3, H, W].
    ///
    /// Raises:
    ///     ValueError: For arrays of another type or shape.
    fn swap<'py>(
        &self,
        py: Python<'py>,
        human: &Bound<'py, PyAny>,
        worn: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
    ) -> PyResult<[Array<'py>; 3]> {
        let trainer = self.lock(py);
        let (human, worn, target) = (
            pictures(&trainer, "human", human)?,
            pictures(&trainer, "worn", worn)?,
            pictures(&trainer, "target", target)?,
        );
        same_count(&[("worn", &worn), ("target", &target)], &human)?;
        let swap = trainer.swap(&Triplet { human, worn, target });
        Ok([into_numpy(py, swap.composite)?, into_numpy(py, swap.paint)?, into_numpy(py, swap.mask)?])
    }

    /// The discriminator's logits without noise: float32 [N, 1] or [N, 1, H / 16, W / 16], or [N, positions] of several
    /// scales.
    ///
    /// Args:
    ///     human, article: float32 [N, 3, H, W].
    ///
    /// Raises:
    ///     ValueError: For arrays of another type or shape.
    fn score<'py>(
        &self,
        py: Python<'py>,
        human: &Bound<'py, PyAny>,
        article: &Bound<'py, PyAny>,
    ) -> PyResult<Array<'py>> {
        let trainer = self.lock(py);
        let (human, article) = (pictures(&trainer, "human", human)?, pictures(&trainer, "article", article)?);
        same_count(&[("article", &article)], &human)?;
        let logits = tch::no_grad(|| trainer.models.score(&human, &article));
        to_numpy(py, &logits)
    }
}

/// A batch of the run's size on its device.
fn pictures(trainer: &Trainer, name: &str, object: &Bound<'_, PyAny>) -> PyResult<tch::Tensor> {
    let tensor = from_numpy(name, object)?;
    let [h, w] = trainer.config.image_size;
    match tensor.size()[..] {
        [n, 3, height, width] if n > 0 && [height, width] == [h, w] => Ok(tensor.to_device(trainer.device)),
        _ => Err(Error::Array {
            name: name.into(),
            expected: format!("shape [N, 3, {h}, {w}]"),
            got: format!("{:?}", tensor.size()),
        }
        .into()),
    }
}

fn same_count(others: &[(&str, &tch::Tensor)], human: &tch::Tensor) -> PyResult<()> {
    for (name, other) in others {
        if other.size()[0] != human.size()[0] {
            return Err(Error::Array {
                name: (*name).into(),
                expected: format!("as many pictures as human ({})", human.size()[0]),
                got: other.size()[0].to_string(),
            }
            .into());
        }
    }
    Ok(())
}

/// Trains in a run folder, or goes on there. `observer(event, value)` is called for "load" and "start" (dictionaries),
/// "step" (a number), "report" and "look" (dictionaries), "warning" (a text), and "sample", "snapshot" and "checkpoint"
/// (paths). `resume` is "auto", "never" or "must".
///
/// When a signal or the observer raises, the step is finished and a checkpoint written before the exception goes on.
#[pyfunction]
pub fn run(
    py: Python<'_>,
    pairs: &PyPairs,
    run_dir: PathBuf,
    config: &PyConfig,
    resume: Option<&str>,
    observer: Py<PyAny>,
) -> PyResult<()> {
    let resume = match resume {
        None => Resume::default(),
        Some("auto") => Resume::Auto,
        Some("never") => Resume::Never,
        Some("must") => Resume::Must,
        Some(other) => return Err(Error::setting("resume", "auto, never or must", other).into()),
    };
    let mut raised: Option<PyErr> = None;
    let result = py.detach(|| {
        train(&pairs.0, &run_dir, config.0.clone(), resume, &mut |event| {
            Python::attach(|py| {
                let told = tell(py, &observer, &event).and_then(|()| py.check_signals());
                match told {
                    Ok(()) => true,
                    Err(error) => {
                        raised.get_or_insert(error);
                        false
                    }
                }
            })
        })
    });
    match (raised, result) {
        // What stopped the run is what the caller asked for; a failure to save must not hide behind it.
        (Some(_), Err(error)) | (None, Err(error)) => Err(error.into()),
        (Some(error), Ok(_)) => Err(error),
        (None, Ok(_)) => Ok(()),
    }
}

fn tell(py: Python<'_>, observer: &Py<PyAny>, event: &Event) -> PyResult<()> {
    match event {
        Event::Load { plan, done } => {
            let load = serde_json::json!({
                "done": done, "files": plan.files, "pairs": plan.pairs, "loader": plan.mode, "bytes": plan.bytes,
                "workers": plan.workers,
            });
            observer.call1(py, ("load", to_python(py, &load)?))?
        }
        Event::Start { step, total, batch_size, pairs, articles, skipped, checkpoint_bytes } => {
            let skipped: Vec<_> =
                (skipped.iter()).map(|LeftOut { id, path, reason }| (id, path.display().to_string(), reason)).collect();
            let start = serde_json::json!({
                "step": step, "total": total, "batch_size": batch_size, "pairs": pairs, "articles": articles,
                "skipped": skipped, "checkpoint_bytes": checkpoint_bytes,
            });
            observer.call1(py, ("start", to_python(py, &start)?))?
        }
        Event::Warning(text) => observer.call1(py, ("warning", *text))?,
        Event::Step { step } => observer.call1(py, ("step", *step))?,
        Event::Look(line) => observer.call1(py, ("look", to_python(py, line)?))?,
        Event::Report(line) => observer.call1(py, ("report", to_python(py, line)?))?,
        Event::Sample(path) => observer.call1(py, ("sample", path.to_path_buf()))?,
        Event::Snapshot(path) => observer.call1(py, ("snapshot", path.to_path_buf()))?,
        Event::Checkpoint(path) => observer.call1(py, ("checkpoint", path.to_path_buf()))?,
    };
    Ok(())
}
