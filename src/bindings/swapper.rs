//! `cagan.Swapper`.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use tch::Kind;

use super::arrays::{DeviceName, Given};
use super::compute::compute;
use super::config::PyConfig;
use super::dataset::PyPairs;
use super::pair::{PyPair, path_or_pixels};
use super::shared::Shared;
use super::stream::{OnRow, PySwapStream, Side, is_list};
use crate::data::{Pair, Source};
use crate::error::{AtPath, Error, Result};
use crate::inference::{Swapper, Which};

/// A trained generator in use. It can be copied and pickled: the copy in another process loads the same snapshot.
///
/// Args:
///     path: A run folder, one snapshot file, or "dolls": the weights that the package brings, trained on `cagan.dolls`. A
///         snapshot or a run called dolls in the current folder comes first.
///     device: "auto", "cpu", "cuda" or "cuda:N", or a `torch.device`. Defaults to "auto".
///     which: The snapshot of a run folder: "best" (the default) is the newest, unless the monitor saw the run get worse:
///         where its last score is above its lowest by more than 0.1, it is the one with the lowest. "newest", or a step.
///
/// Raises:
///     FileNotFoundError: The path does not exist.
///     ValueError: The folder has no such snapshot, `which` comes with a file, or the snapshot is truncated or of another
///         version.
///     RuntimeError: libtorch does not find the device.
#[pyclass(name = "Swapper", module = "cagan", frozen)]
pub struct PySwapper {
    swapper: Arc<Shared<Swapper>>,
    /// Whether a swap needs the picture of the worn article ("vasily", "paper").
    #[pyo3(get)]
    needs_worn: bool,
    #[pyo3(get)]
    config: PyConfig,
    #[pyo3(get)]
    path: PathBuf,
    /// The step that the snapshot was taken at.
    #[pyo3(get)]
    step: u64,
    /// The path from the root, since a worker may be in another folder.
    absolute: PathBuf,
    /// As it was given.
    device: String,
}

#[pymethods]
impl PySwapper {
    #[new]
    #[pyo3(signature = (path, device=None, *, which=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        device: Option<DeviceName>,
        which: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let which = which.map_or(Ok(Which::default()), which_of)?;
        let device = device.map_or_else(|| crate::Config::default().device.clone(), |name| name.0);
        let (swapper, absolute) = compute(py, || -> Result<_> {
            let swapper = Swapper::open(&path, &device, which)?;
            let absolute = std::path::absolute(&swapper.path).at(&swapper.path)?;
            Ok((swapper, absolute))
        })?;
        Ok(PySwapper {
            config: PyConfig(swapper.config.clone()),
            path: swapper.path.clone(),
            step: swapper.step,
            needs_worn: swapper.needs_worn(),
            swapper: Arc::new(Shared::new(swapper)),
            absolute,
            device,
        })
    }

    /// Loads a pickled swapper's snapshot.
    ///
    /// Raises:
    ///     FileNotFoundError: The snapshot is gone.
    ///     ValueError: The file now holds the snapshot of another step.
    #[staticmethod]
    fn _restored(py: Python<'_>, path: PathBuf, device: DeviceName, step: u64) -> PyResult<Self> {
        let swapper = Self::new(py, path, Some(device), None)?;
        if swapper.step != step {
            let text = format!("expected the snapshot of step {step}, as it was pickled, got step {}", swapper.step);
            return Err(Error::content(&swapper.path, text).into());
        }
        Ok(swapper)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let it = slf.get();
        let parts = (it.absolute.clone(), it.device.clone(), it.step);
        Ok((slf.get_type().getattr("_restored")?, parts.into_pyobject(slf.py())?))
    }

    /// Returns the swapper itself, which never changes.
    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Py<Self>, _memo: &Bound<'py, PyAny>) -> Py<Self> {
        slf
    }

    /// Puts the target article on the person. Ctrl-C is heard during a long list.
    ///
    /// Args:
    ///     human: The photo: a path, a file's bytes, a file opened for bytes, a PIL picture, or a uint8 array [H, W, 3];
    ///         or a Pair, which brings the worn article too; or a list of them, or Pairs.
    ///     worn: The product picture of the worn article, or a Pair; or a list. "kisekae" works without it, less well.
    ///     target: The product picture of the article to put on, or a Pair that wears it; or a list. A single picture goes
    ///         with every element of a list.
    ///     on_error: "raise" (the default), or "skip" to put the exception in the place of a swap whose pictures cannot
    ///         be read.
    ///
    /// Returns:
    ///     A Swap, or a list of them if any argument is a list. `stream` gives them one by one.
    ///
    /// Raises:
    ///     FileNotFoundError: A path does not exist.
    ///     ValueError: Lists differ in length, a file is not a picture, an array has another shape or type, or "vasily" or
    ///         "paper" gets no worn article.
    ///     TypeError: The target is missing.
    #[pyo3(signature = (human, worn=None, target=None, *, on_error=None))]
    fn swap<'py>(
        slf: &Bound<'py, Self>,
        human: &Bound<'py, PyAny>,
        worn: Option<&Bound<'py, PyAny>>,
        target: Option<&Bound<'py, PyAny>>,
        on_error: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let [human, worn, target] = unpaired(human, worn, target)?;
        let (human, worn, target) = (&human.expect("a photo"), worn.as_ref(), target.as_ref());
        let sides = sides(human, worn, target, is_list)?;
        let on_row = OnRow::of(on_error)?;
        let many = sides.iter().any(Side::is_many);
        check_lists(&[("human", Some(human)), ("target", target), ("worn", worn)], on_row)?;
        let mut stream = slf.get().streamed(sides, on_row)?;
        if many {
            let swaps = PyList::empty(slf.py());
            while let Some(swap) = stream.advance(slf.py())? {
                swaps.append(swap)?;
            }
            return Ok(swaps.into_any());
        }
        Ok(stream.advance(slf.py())?.expect("one request, one swap"))
    }

    /// Swaps as `swap` does, and gives the swaps one by one: a list of any length takes the memory of a few. Pictures
    /// are read as the swaps are taken.
    ///
    /// Args:
    ///     human: A photo, or a list or an iterator of photos, as `swap` takes them.
    ///     worn: The worn articles.
    ///     target: The articles to put on.
    ///     on_error: "raise" (the default) raises in the turn of a swap whose pictures cannot be read; the next call
    ///         of `next` goes on behind it. "skip" gives the exception in its place.
    ///
    /// Returns:
    ///     An iterator of the swaps, in order. After Ctrl-C it still gives those that were done.
    ///
    /// Raises:
    ///     ValueError: Lists differ in length, or "vasily" or "paper" gets no worn article. The iterator raises as
    ///         `swap`.
    ///     TypeError: The target is missing.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> pairs = cagan.dolls("data/dolls", count=8)
    ///     >>> swapper = cagan.train(pairs, "runs/first", "smoke", steps=2, progress=False).swapper()
    ///     >>> photos = (pair.human_path for pair in pairs)
    ///     >>> for swap in swapper.stream(photos, pairs[0].article, pairs[1].article):
    ///     ...     size = swap.image.shape
    ///     >>> size
    ///     (128, 96, 3)
    #[pyo3(signature = (human, worn=None, target=None, *, on_error=None))]
    fn stream(
        slf: &Bound<'_, Self>,
        human: &Bound<'_, PyAny>,
        worn: Option<&Bound<'_, PyAny>>,
        target: Option<&Bound<'_, PyAny>>,
        on_error: Option<&str>,
    ) -> PyResult<PySwapStream> {
        let [human, worn, target] = unpaired(human, worn, target)?;
        let (human, worn, target) = (&human.expect("a photo"), worn.as_ref(), target.as_ref());
        let sides = sides(human, worn, target, |object| {
            Ok(is_list(object)? || (object.hasattr("__next__")? && !object.hasattr("read")?))
        })?;
        let on_row = OnRow::of(on_error)?;
        check_lists(&[("human", Some(human)), ("target", target), ("worn", worn)], on_row)?;
        slf.get().streamed(sides, on_row)
    }

    /// Returns the bytes of the snapshot's file, made of the weights that are loaded.
    ///
    /// Args:
    ///     half: Whether the weights are rounded to float16, for a file of half the size; they are read as float32.
    #[pyo3(signature = (*, half=false))]
    fn snapshot<'py>(&self, py: Python<'py>, half: bool) -> PyResult<Bound<'py, PyBytes>> {
        let kind = if half { Kind::Half } else { Kind::Float };
        let bytes = compute(py, || Ok::<_, Error>(self.swapper.lock()?.snapshot(kind)))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __repr__(&self) -> String {
        format!("Swapper({:?}, step {})", self.path.display().to_string(), self.step)
    }
}

impl PySwapper {
    fn streamed(&self, sides: [Side; 3], on_row: OnRow) -> PyResult<PySwapStream> {
        if matches!(sides[2], Side::Nothing) && self.needs_worn {
            let rule = "a picture: these networks locate the worn article by it";
            return Err(Error::setting("worn", rule, "none").into());
        }
        Ok(PySwapStream::new(self.swapper.clone(), sides, on_row))
    }
}

/// Returns the snapshot that `cagan.Swapper` loads of a run's folder.
///
/// Raises:
///     ValueError: The folder has no such snapshot.
#[pyfunction]
#[pyo3(signature = (run_dir, which=None))]
pub fn chosen(py: Python<'_>, run_dir: PathBuf, which: Option<&Bound<'_, PyAny>>) -> PyResult<PathBuf> {
    let which = which.map_or(Ok(Which::default()), which_of)?;
    compute(py, || which.of_run(&run_dir))
}

/// Parses the argument `which`.
fn which_of(object: &Bound<'_, PyAny>) -> PyResult<Which> {
    let wrong = || Error::setting("which", "best, newest or a step", object);
    match object.extract::<String>() {
        Ok(text) if text == "best" => Ok(Which::Best),
        Ok(text) if text == "newest" => Ok(Which::Newest),
        Ok(_) => Err(wrong().into()),
        Err(_) => Ok(Which::Step(object.extract().map_err(|_| wrong())?)),
    }
}

/// Puts pictures in the place of pairs: human, worn, target. A pair as human brings its article as worn, unless another
/// one is given.
fn unpaired<'py>(
    human: &Bound<'py, PyAny>,
    worn: Option<&Bound<'py, PyAny>>,
    target: Option<&Bound<'py, PyAny>>,
) -> PyResult<[Option<Bound<'py, PyAny>>; 3]> {
    let brought = match worn {
        None if is_paired(human)? => Some(side_of(human, |pair| &pair.article)?),
        worn => worn.map(|worn| side_of(worn, |pair| &pair.article)).transpose()?,
    };
    let target = target.map(|target| side_of(target, |pair| &pair.article)).transpose()?;
    Ok([Some(side_of(human, |pair| &pair.human)?), brought, target])
}

/// Whether the object is a pair, or a list of pairs alone.
fn is_paired(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if object.is_instance_of::<PyPair>() || object.is_instance_of::<PyPairs>() {
        return Ok(true);
    }
    if !is_list(object)? || object.len()? == 0 {
        return Ok(false);
    }
    Ok(object.try_iter()?.collect::<PyResult<Vec<_>>>()?.iter().all(|item| item.is_instance_of::<PyPair>()))
}

/// One side's pictures of the pairs in an object; everything else stays.
fn side_of<'py>(object: &Bound<'py, PyAny>, side: fn(&Pair) -> &Source) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    if let Ok(pair) = object.cast::<PyPair>() {
        return path_or_pixels(py, side(&pair.get().0));
    }
    if let Ok(pairs) = object.cast::<PyPairs>() {
        let pictures = pairs.get().0.pairs.iter().map(|pair| path_or_pixels(py, side(pair)));
        return Ok(PyList::new(py, pictures.collect::<PyResult<Vec<_>>>()?)?.into_any());
    }
    if !is_list(object)? {
        return Ok(object.clone());
    }
    let items = object.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    if !items.iter().any(|item| item.is_instance_of::<PyPair>()) {
        return Ok(object.clone());
    }
    let pictures = items.iter().map(|item| side_of(item, side));
    Ok(PyList::new(py, pictures.collect::<PyResult<Vec<_>>>()?)?.into_any())
}

/// The pictures of human, target and worn article, each one or many.
fn sides<'py>(
    human: &Bound<'py, PyAny>,
    worn: Option<&Bound<'py, PyAny>>,
    target: Option<&Bound<'py, PyAny>>,
    is_many: impl Fn(&Bound<'py, PyAny>) -> PyResult<bool>,
) -> PyResult<[Side; 3]> {
    // Python allows only optional arguments after an optional one.
    let target = target
        .ok_or_else(|| PyTypeError::new_err("target: expected the picture of the article to put on, got none"))?;
    let side = |name: &'static str, object: &Bound<'py, PyAny>| match is_many(object)? {
        true => Ok::<_, PyErr>(Side::many(object.try_iter()?)),
        false => Side::one(name, object),
    };
    let worn = worn.map_or(Ok(Side::Nothing), |worn| side("worn", worn))?;
    Ok([side("human", human)?, side("target", target)?, worn])
}

/// Checks before any work that the lists among the arguments have one length and, where a row's error raises, hold
/// pictures.
fn check_lists(arguments: &[(&'static str, Option<&Bound<'_, PyAny>>)], on_row: OnRow) -> PyResult<()> {
    let mut length = None;
    for &(name, object) in arguments {
        let Some(object) = object else { continue };
        if !is_list(object)? {
            continue;
        }
        let count = object.len()?;
        let (first, expected) = *length.get_or_insert((name, count));
        if count != expected {
            return Err(Error::Array {
                name: name.into(),
                expected: format!("as many pictures as {first} ({expected})"),
                got: count.to_string(),
            }
            .into());
        }
        if on_row == OnRow::Raise {
            for (i, item) in object.try_iter()?.enumerate() {
                Given::of(&format!("{name}[{i}]"), &item?)?;
            }
        }
    }
    Ok(())
}
