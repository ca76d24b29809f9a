//! `cagan.Trainer`, and the run behind `cagan.train`.

use std::ffi::CStr;
use std::path::PathBuf;

use numpy::PyArrayDyn;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use tch::{Device, Tensor};

use super::arrays::{from_dict, from_numpy, into_numpy, to_dict, to_numpy, to_python};
use super::compute::compute;
use super::config::PyConfig;
use super::dataset::PyPairs;
use super::held::Held;
use crate::data::{LeftOut, Triplet};
use crate::error::{Error, Named, Result};
use crate::native::{Shared, outside, use_threads};
use crate::networks::Parameters;
use crate::training::{Event, Pass, Resume, Seat, Team, Trainer, train_together};

type Array<'py> = Bound<'py, PyArrayDyn<f32>>;

/// Both networks, their optimisers and the data, stepped by hand, for research and for comparison with other
/// implementations. `cagan.train` does the same in a run folder. Both begin with the networks of `init_from`.
///
/// Args:
///     pairs: The pairs, which are decoded at once.
///     config: The settings.
///     team: The processes that train together, as `cagan.team` gives them. Each makes a trainer and calls the same
///         methods in the same order: a step takes its rows of the batch and averages the gradients.
///
/// Raises:
///     ValueError: There are fewer than two pairs or fewer than a batch, the pairs are of several splits, a pair has no
///         target, a picture cannot be decoded, or there are more processes than pictures in a batch.
///     FileNotFoundError: `init_from` is missing.
///     RuntimeError: The device is missing, or another process of the team failed or is gone.
#[pyclass(name = "Trainer", module = "cagan", frozen)]
pub struct PyTrainer {
    trainer: Held<Trainer>,
    /// The settings, resolved.
    #[pyo3(get)]
    config: PyConfig,
}

impl PyTrainer {
    /// Computes with the trainer, once other threads are done with it, and with the interpreter released.
    fn with<T: Send>(&self, py: Python<'_>, body: impl FnOnce(&mut Trainer) -> Result<T> + Send) -> PyResult<T> {
        let mut trainer = self.trainer.lock_attached(py)?;
        let trainer = &mut *trainer;
        compute(py, || {
            let _threads = use_threads(trainer.threads());
            body(trainer)
        })
    }
}

/// A `cagan.Team`: where this process is among others.
#[derive(FromPyObject)]
pub struct PySeat {
    rank: usize,
    world: usize,
    local_rank: usize,
    local_world: usize,
    group: String,
    control: String,
}

impl PySeat {
    fn team(self) -> Team {
        let PySeat { rank, world, local_rank, local_world, group, control } = self;
        Team::of(Seat { rank, world, local_rank, local_world, group, control })
    }
}

/// Puts a view into the capsule that DLPack describes. Whoever takes it renames it.
fn to_capsule(py: Python<'_>, view: Shared) -> PyResult<Bound<'_, PyAny>> {
    const NAME: &CStr = c"dltensor";
    unsafe extern "C" fn dropped(capsule: *mut ffi::PyObject) {
        // SAFETY: Python passes the capsule, whose pointer is that of the view unless a receiver has renamed it.
        unsafe {
            if ffi::PyCapsule_IsValid(capsule, NAME.as_ptr()) == 1 {
                drop(Shared::taken_back(ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr())));
            }
        }
    }
    // SAFETY: the pointer is not null, and the name lives for ever.
    unsafe {
        let capsule = ffi::PyCapsule_New(view.handed_over(), NAME.as_ptr(), Some(dropped));
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}

fn parameters<'a>(trainer: &'a mut Trainer, network: &str) -> Result<&'a mut Parameters> {
    match network {
        "generator" => Ok(&mut trainer.models.generator.parameters),
        "discriminator" => Ok(&mut trainer.models.discriminator.parameters),
        _ => Err(Error::unknown(Named::Network, network, ["generator", "discriminator"])),
    }
}

#[pymethods]
impl PyTrainer {
    #[new]
    #[pyo3(signature = (pairs, config, team=None))]
    fn new(py: Python<'_>, pairs: &PyPairs, config: &PyConfig, team: Option<PySeat>) -> PyResult<Self> {
        let mut raised = Ok(());
        let team = team.map_or_else(Team::alone, PySeat::team);
        let trainer = compute(py, || {
            Trainer::together(&team, &pairs.0, config.0.clone(), &mut |_, _| {
                raised = outside(|| Python::attach(|py| py.check_signals()));
                told(&team, &raised);
                raised.is_ok()
            })
        })?;
        raised?;
        let trainer = trainer.expect("only a signal stops it");
        let config = PyConfig(trainer.config.clone());
        Ok(PyTrainer { trainer: Held::new(trainer), config })
    }

    /// Updates done so far.
    #[getter]
    fn step(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.trainer.lock_attached(py)?.step)
    }

    /// Takes `steps` steps. Returns the terms of the last one by log key.
    ///
    /// Raises:
    ///     ValueError: `steps` is 0.
    ///     RuntimeError: Another process of the team failed or is gone. The trainer is as before the step.
    fn run<'py>(&self, py: Python<'py>, steps: u64) -> PyResult<Bound<'py, PyDict>> {
        if steps == 0 {
            return Err(Error::setting("steps", "at least 1", steps).into());
        }
        let _threads = use_threads(self.trainer.lock_attached(py)?.threads());
        for _ in 1..steps {
            self.with(py, Trainer::step)?;
            // Unlocked: a signal handler may use the trainer.
            py.check_signals()?;
        }
        let terms = self.with(py, |trainer| {
            let terms = trainer.step()?;
            let values = Vec::<f32>::try_from(terms.values.to_device(Device::Cpu))?;
            Ok(terms.names.into_iter().zip(values).collect::<Vec<_>>())
        })?;
        terms.into_py_dict(py)
    }

    /// The pictures of a step, of a team this process's rows: human, worn, target, each float32 [N, 3, H, W] in the networks' value range.
    ///
    /// Raises:
    ///     ValueError: No run reaches the step.
    ///     ValueError, OSError: Pictures stream, and one can no longer be decoded.
    fn triplet<'py>(&self, py: Python<'py>, step: u64) -> PyResult<[Array<'py>; 3]> {
        let Triplet { human, worn, target } = self.with(py, |trainer| trainer.triplet(step))?;
        Ok([into_numpy(py, human)?, into_numpy(py, worn)?, into_numpy(py, target)?])
    }

    /// The discriminator's noise in a step, for the discriminator's update ([3 N, ...]) and the generator's ([N, ...]):
    /// one array for the input and one for each layer; empty lists if the config has no noise.
    fn noise<'py>(&self, py: Python<'py>, step: u64) -> PyResult<[Vec<Array<'py>>; 2]> {
        let passes = [Pass::Discriminator, Pass::Generator];
        let passes = self.with(py, |trainer| Ok(passes.map(|pass| trainer.noise(pass, step))))?;
        let [discriminator, generator] =
            passes.map(|noise| noise.iter().map(|t| to_numpy(py, t)).collect::<PyResult<Vec<_>>>());
        Ok([discriminator?, generator?])
    }

    /// The other random draws of a step, by name, those that the config has: `reverse`, the noise on the input of the
    /// detached swap back ([N, 3, H, W]); `augment/discriminator` ([3 N, 11]) and `augment/generator` ([N, 11]), with
    /// the columns brightness, saturation and contrast, the moves of the human's and of the article's rows and columns,
    /// the first row and column of the human's and of the article's cutout. For kisekae the erasures: `blobs`
    /// ([N, 1, H, W]); `masked`, `beside`, `joined` and `withheld` ([N, 1, 1, 1], 0 or 1); `widen`, in pixels, and
    /// `sharp` ([1]); `jitter` ([N, 3, 3]); from `place_after` on the maps that the step finds in its pictures,
    /// `registered` ([N, 2, 3]), and their `confidence` ([N]).
    ///
    /// Raises:
    ///     ValueError: A step that no run reaches, or a picture that can no longer be decoded.
    fn draws<'py>(&self, py: Python<'py>, step: u64) -> PyResult<Bound<'py, PyDict>> {
        to_dict(py, &self.with(py, |trainer| trainer.draws(step))?)
    }

    /// The weights of the fixed random network of `perceptual_weight` by state-dict name; empty if the weight is 0.
    fn perceptual<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let weights = self.with(py, |trainer| {
            let network = trainer.models.pyramid.as_ref();
            Ok(network.map_or_else(Vec::new, |network| copied(network.parameters.named(&network.parameters.values))))
        })?;
        to_dict(py, &weights)
    }

    /// The discriminator's state that is no parameter, by name: the vectors of its spectral norms; empty without them.
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let vectors = self.with(py, |trainer| {
            let vectors = trainer.models.discriminator.parameters.vectors.as_ref();
            Ok(vectors.map_or_else(Vec::new, |vectors| copied(vectors.named(&vectors.values))))
        })?;
        to_dict(py, &vectors)
    }

    /// The parameters of "generator" or "discriminator" by state-dict name.
    fn state<'py>(&self, py: Python<'py>, network: &str) -> PyResult<Bound<'py, PyDict>> {
        let state = self.with(py, |trainer| {
            let parameters = parameters(trainer, network)?;
            Ok(copied(parameters.named(&parameters.values)))
        })?;
        to_dict(py, &state)
    }

    /// The gradients that the last step computed, by state-dict name.
    fn gradients<'py>(&self, py: Python<'py>, network: &str) -> PyResult<Bound<'py, PyDict>> {
        let gradients = self.with(py, |trainer| {
            let parameters = parameters(trainer, network)?;
            Ok(copied(parameters.named(&parameters.gradient)))
        })?;
        to_dict(py, &gradients)
    }

    /// The tensors of "generator" or "discriminator" by state-dict name, as torch tensors that share the core's memory,
    /// on the trainer's device: what is written there is what the next step reads. They stay valid for ever, and a step
    /// changes them. The layout is the core's: on a CPU the channels of convolutions are last in memory. Networks of
    /// kisekae that grew have other tensors: take them anew.
    ///
    /// Args:
    ///     network: "generator" or "discriminator".
    ///     part: "values", or "gradient": that of the last step, before Adam. After values are written call `changed`.
    ///
    /// Raises:
    ///     ValueError: There is no such network or part.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> pairs = cagan.dolls("data/dolls", count=8)
    ///     >>> trainer = cagan.Trainer(pairs, cagan.Config("smoke"))
    ///     >>> values = trainer.tensors("generator", "values")
    ///     >>> for tensor in values.values():
    ///     ...     _ = tensor.mul_(0.5)
    ///     >>> trainer.changed("generator")
    fn tensors<'py>(&self, py: Python<'py>, network: &str, part: &str) -> PyResult<Bound<'py, PyDict>> {
        let views = self.with(py, |trainer| {
            let parameters = parameters(trainer, network)?;
            let buffer = match part {
                "values" => &parameters.values,
                "gradient" => &parameters.gradient,
                _ => return Err(Error::setting("part", "values or gradient", part)),
            };
            let named = parameters.named(buffer).into_iter();
            Ok(named.map(|(name, tensor)| (name, Shared::of(&tensor))).collect::<Vec<_>>())
        })?;
        let from_dlpack = py.import("torch.utils.dlpack")?.getattr("from_dlpack")?;
        let tensors = PyDict::new(py);
        for (name, view) in views {
            tensors.set_item(name, from_dlpack.call1((to_capsule(py, view)?,))?)?;
        }
        Ok(tensors)
    }

    /// Tells the core that values of `tensors` were written: in bfloat16 the convolutions read a copy of them.
    ///
    /// Raises:
    ///     ValueError: There is no such network.
    fn changed(&self, py: Python<'_>, network: &str) -> PyResult<()> {
        self.with(py, |trainer| {
            parameters(trainer, network)?.changed();
            Ok(())
        })
    }

    /// Replaces the parameters of a network.
    ///
    /// Raises:
    ///     ValueError: A name or a shape is not the network's. The network is then unchanged.
    fn load_state(&self, py: Python<'_>, network: &str, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let state = from_dict(state)?;
        self.with(py, move |trainer| parameters(trainer, network)?.load(&state))
    }

    /// The generator's composite, paint and mask for pictures in the networks' value range.
    ///
    /// Args:
    ///     human, worn, target: float32 [N, 3, H, W].
    ///
    /// Raises:
    ///     ValueError: An array has another type or shape.
    fn swap<'py>(
        &self,
        py: Python<'py>,
        human: &Bound<'py, PyAny>,
        worn: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
    ) -> PyResult<[Array<'py>; 3]> {
        let size = self.trainer.lock_attached(py)?.stage.image_size;
        let [human, worn, target] =
            [pictures(size, "human", human)?, pictures(size, "worn", worn)?, pictures(size, "target", target)?];
        same_count(&[("worn", &worn), ("target", &target)], &human)?;
        let swap = self.with(py, |trainer| {
            let [human, worn, target] = [human, worn, target].map(|pictures| pictures.to_device(trainer.device));
            Ok(trainer.swap(&Triplet { human, worn, target }))
        })?;
        Ok([into_numpy(py, swap.composite)?, into_numpy(py, swap.paint)?, into_numpy(py, swap.mask)?])
    }

    /// The discriminator's logits without noise: float32 [N, 1] or [N, 1, H / 16, W / 16]; with several scales
    /// [N, positions].
    ///
    /// Args:
    ///     human, article: float32 [N, 3, H, W].
    ///
    /// Raises:
    ///     ValueError: An array has another type or shape.
    fn score<'py>(
        &self,
        py: Python<'py>,
        human: &Bound<'py, PyAny>,
        article: &Bound<'py, PyAny>,
    ) -> PyResult<Array<'py>> {
        let size = self.trainer.lock_attached(py)?.stage.image_size;
        let [human, article] = [pictures(size, "human", human)?, pictures(size, "article", article)?];
        same_count(&[("article", &article)], &human)?;
        let logits = self.with(py, |trainer| {
            let [human, article] = [human, article].map(|pictures| pictures.to_device(trainer.device));
            Ok(trainer.score(&human, &article))
        })?;
        to_numpy(py, &logits)
    }
}

/// Copies named tensors to the CPU, so that a step cannot change them.
fn copied(named: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    named.into_iter().map(|(name, tensor)| (name, tensor.detach().to_device(Device::Cpu).copy())).collect()
}

/// A batch of pictures of a size.
fn pictures([h, w]: [i64; 2], name: &str, object: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let tensor = from_numpy(name, object)?;
    match tensor.size()[..] {
        [n, 3, height, width] if n > 0 && [height, width] == [h, w] => Ok(tensor),
        _ => Err(Error::Array {
            name: name.into(),
            expected: format!("shape [N, 3, {h}, {w}]"),
            got: format!("{:?}", tensor.size()),
        }
        .into()),
    }
}

fn same_count(others: &[(&str, &Tensor)], human: &Tensor) -> PyResult<()> {
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

/// Trains in a run folder, or goes on with the run there. Calls `observer(event, value)` for "load" and "start"
/// (dictionaries), "step" (a number), "report" and "look" (dictionaries), "warning" (a text), and "sample", "snapshot"
/// and "checkpoint" (paths). `resume` is "auto", "never" or "must". Of a team's processes the first alone calls it.
///
/// If a signal or the observer raises, the run finishes the step and writes a checkpoint before it raises.
#[pyfunction]
#[pyo3(signature = (pairs, run_dir, config, resume, observer, team=None))]
pub fn run(
    py: Python<'_>,
    pairs: &PyPairs,
    run_dir: PathBuf,
    config: &PyConfig,
    resume: Option<&str>,
    observer: Py<PyAny>,
    team: Option<PySeat>,
) -> PyResult<()> {
    let resume = match resume {
        None => Resume::default(),
        Some("auto") => Resume::Auto,
        Some("never") => Resume::Never,
        Some("must") => Resume::Must,
        Some(other) => return Err(Error::setting("resume", "auto, never or must", other).into()),
    };
    let mut raised: Option<PyErr> = None;
    let team = team.map_or_else(Team::alone, PySeat::team);
    let result = compute(py, || {
        train_together(&team, &pairs.0, &run_dir, config.0.clone(), resume, &mut |event| {
            let called = outside(|| {
                Python::attach(|py| {
                    let called = if team.is_first() { call(py, &observer, &event) } else { Ok(()) };
                    called.and_then(|()| py.check_signals())
                })
            });
            told(&team, &called);
            match called {
                Ok(()) => true,
                Err(error) => {
                    raised.get_or_insert(error);
                    false
                }
            }
        })
    });
    match (raised, result) {
        // The caller asked for the exception that stopped the run; it must not hide a failure to save.
        (Some(_), Err(error)) | (None, Err(error)) => Err(error),
        (Some(error), Ok(_)) => Err(error),
        (None, Ok(_)) => Ok(()),
    }
}

/// Sets the words that the other processes get.
fn told(team: &Team, called: &PyResult<()>) {
    if let Err(error) = called {
        let text = Python::attach(|py| {
            let kind = error.get_type(py).qualname().map_or_else(|_| "an exception".into(), |name| name.to_string());
            match error.value(py).to_string() {
                text if text.is_empty() => kind,
                text => format!("{kind}: {text}"),
            }
        });
        team.stops(text);
    }
}

/// A device as a config names it.
fn named(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

fn call(py: Python<'_>, observer: &Py<PyAny>, event: &Event) -> PyResult<()> {
    match event {
        Event::Load { plan, done } => {
            let load = serde_json::json!({
                "done": done, "files": plan.files, "pairs": plan.pairs, "loader": plan.mode, "bytes": plan.bytes,
                "workers": plan.workers,
            });
            observer.call1(py, ("load", to_python(py, &load)?))?
        }
        Event::Start {
            step,
            total,
            batch_size,
            pairs,
            config,
            parameters,
            device,
            articles,
            skipped,
            checkpoint_bytes,
        } => {
            let skipped: Vec<_> =
                (skipped.iter()).map(|LeftOut { id, path, reason }| (id, path.display().to_string(), reason)).collect();
            let start = serde_json::json!({
                "step": step, "total": total, "batch_size": batch_size, "pairs": pairs, "articles": articles,
                "skipped": skipped, "checkpoint_bytes": checkpoint_bytes, "config": config, "stages": config.stages(),
                "parameters": {"generator": parameters[0], "discriminator": parameters[1]},
                "device": named(*device),
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
