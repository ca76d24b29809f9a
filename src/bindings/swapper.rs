//! `cagan.Swapper`.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use tch::Kind;

use super::arrays::{DeviceName, unbatched};
use super::compute::compute;
use super::config::PyConfig;
use super::dataset::PyPairs;
use super::held::Held;
use super::look::PyLook;
use super::pair::{PyPair, path_or_pixels};
use super::stream::{OnRow, PySwapStream, Side, Thing, is_list, looks};
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
///     threads: The threads of libtorch in this swapper's work, and the pictures decoded at once; other computations of
///         the process keep their own. 0 (the default) takes libtorch's number. Several processes on one machine are
///         fastest with 1 each.
///
/// Raises:
///     FileNotFoundError: The path does not exist.
///     ValueError: The folder has no such snapshot, `which` comes with a file, the snapshot is truncated or of another
///         version, or `threads` is negative or above 1024.
///     RuntimeError: libtorch does not find the device.
#[pyclass(name = "Swapper", module = "cagan", frozen)]
pub struct PySwapper {
    swapper: Arc<Held<Swapper>>,
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
    /// The threads of libtorch; 0 for its default.
    #[pyo3(get)]
    threads: usize,
}

#[pymethods]
impl PySwapper {
    #[new]
    #[pyo3(signature = (path, device=None, *, which=None, threads=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        device: Option<DeviceName>,
        which: Option<&Bound<'_, PyAny>>,
        threads: Option<i64>,
    ) -> PyResult<Self> {
        let threads = threads.unwrap_or(0);
        let most = 1024;
        let wrong = || Error::setting("threads", format!("0 to {most}"), threads);
        let threads = usize::try_from(threads).ok().filter(|threads| *threads <= most).ok_or_else(wrong)?;
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
            swapper: Arc::new(Held::new(swapper)),
            absolute,
            device,
            threads,
        })
    }

    /// Loads a model of the Hugging Face Hub, as `Run.push_to_hub` put it there, by way of the Hub's cache. Without a
    /// network, or with `HF_HUB_OFFLINE=1`, the copy in the cache is loaded. Needs `pip install 'cagan[hub]'`.
    ///
    /// Args:
    ///     repository: The repository, as "me/dress".
    ///     revision: A branch, a tag or a commit. Defaults to the newest of the main branch; a commit never changes.
    ///     device: As for the class.
    ///     token: A token of the Hub, or False for none. Defaults to the one that `hf auth login` saved.
    ///
    /// Raises:
    ///     ImportError: huggingface_hub is missing.
    ///     FileNotFoundError: There is no such repository, revision or model, or no network and no copy in the cache.
    ///     ValueError: The name is none of a repository, or the repository holds a model of another library.
    ///     RuntimeError: libtorch does not find the device.
    ///     OSError: The Hub refuses or fails.
    #[staticmethod]
    #[pyo3(signature = (repository, *, revision=None, device=None, token=None))]
    fn from_hub<'py>(
        py: Python<'py>,
        repository: &str,
        revision: Option<&str>,
        device: Option<Bound<'py, PyAny>>,
        token: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        py.import("cagan.hub")?.call_method1("load", (repository, revision, device, token))
    }

    /// Loads a pickled swapper's snapshot.
    ///
    /// Raises:
    ///     FileNotFoundError: The snapshot is gone.
    ///     ValueError: The file now holds the snapshot of another step.
    #[staticmethod]
    #[pyo3(signature = (path, device, step, threads=0))]
    fn _restored(py: Python<'_>, path: PathBuf, device: DeviceName, step: u64, threads: i64) -> PyResult<Self> {
        let swapper = Self::new(py, path, Some(device), None, Some(threads))?;
        if swapper.step != step {
            let text = format!("expected the snapshot of step {step}, as it was pickled, got step {}", swapper.step);
            return Err(Error::content(&swapper.path, text).into());
        }
        Ok(swapper)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let it = slf.get();
        let parts = (it.absolute.clone(), it.device.clone(), it.step, it.threads);
        Ok((slf.get_type().getattr("_restored")?, parts.into_pyobject(slf.py())?))
    }

    /// Returns the swapper itself, which never changes.
    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Py<Self>, _memo: &Bound<'py, PyAny>) -> Py<Self> {
        slf
    }

    /// Looks at a person once, for any number of targets: decodes the pictures and, with "kisekae", locates the worn
    /// article. `swap` takes the look in the place of the photo.
    ///
    /// Args:
    ///     human: The photo, as `swap` takes it; or a Pair, which brings the worn article; or a list.
    ///     worn: The product picture of the worn article, or a Pair; or a list, in which None is an unknown article.
    ///
    /// Returns:
    ///     A Look, or a list of them if any argument is a list.
    ///
    /// Raises:
    ///     FileNotFoundError: A path does not exist.
    ///     ValueError: As `swap`.
    ///
    /// Example:
    ///     >>> import cagan
    ///     >>> pairs = cagan.dolls("data/dolls", count=8)
    ///     >>> swapper = cagan.Swapper("dolls")
    ///     >>> look = swapper.look(pairs[0])
    ///     >>> swaps = swapper.swap(look, [pair.article for pair in pairs])
    ///     >>> len(swaps)
    ///     8
    #[pyo3(signature = (human, worn=None))]
    fn look<'py>(
        slf: &Bound<'py, Self>,
        human: &Bound<'py, PyAny>,
        worn: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let [human, worn, _] = unpaired(human, worn, None)?;
        let (human, worn) = (human.expect("a photo"), worn);
        check_lists(&[("human", Some(&human)), ("worn", worn.as_ref())], OnRow::Raise)?;
        let sides = [&human, worn.as_ref().unwrap_or(&human)];
        let lists = sides.map(|side| is_list(side)).into_iter().collect::<PyResult<Vec<_>>>()?;
        let count = match sides.iter().zip(&lists).find(|(_, is_list)| **is_list) {
            Some((list, _)) => list.len()?,
            None => 1,
        };
        let it = slf.get();
        let all = looks(py, &it.swapper, it.threads, count, |side, row| {
            let given = if side == "human" { Some(&human) } else { worn.as_ref() };
            let Some(given) = given else { return Ok(None) };
            Ok(Some(if is_list(given)? { given.get_item(row)? } else { given.clone() }))
        })?;
        let mut all = all.into_iter().map(|look| Bound::new(py, PyLook(look.into())));
        if lists.contains(&true) {
            return Ok(PyList::new(py, all.collect::<PyResult<Vec<_>>>()?)?.into_any());
        }
        Ok(all.next().expect("one person, one look")?.into_any())
    }

    /// Puts the target article on the person. Ctrl-C is heard during a long list.
    ///
    /// The rows of a list are swapped person by person, in whatever order they come: each picture that rows share is
    /// decoded once, and each person is looked at once. A swap's bytes do not depend on the other rows (on a CPU).
    ///
    /// Args:
    ///     human: The photo: a path, a file's bytes, a file opened for bytes, a PIL picture, a uint8 array [H, W, 3], or
    ///         floats of 0 to 1, [H, W, 3] or [3, H, W]; or a Pair, which brings the worn article too; or a Look, which
    ///         brings it too, and whose second argument is the target; or a list of them, a batch of floats,
    ///         [N, H, W, 3] or [N, 3, H, W], or Pairs.
    ///     worn: The product picture of the worn article, or a Pair; or a list, in which None is an unknown article.
    ///         "kisekae" works without it, less well.
    ///     target: The product picture of the article to put on, or a Pair that wears it; or a list. A single picture goes
    ///         with every element of a list.
    ///     on_error: What becomes of a swap whose pictures cannot be read. "raise" (the default) raises; "skip" leaves it
    ///         out; "return" puts a `cagan.SwapError` in its place.
    ///
    /// Returns:
    ///     A Swap, or a list of them if any argument is a list. `stream` gives them one by one.
    ///
    /// Raises:
    ///     FileNotFoundError: A path does not exist.
    ///     ValueError: Lists differ in length, a file is not a picture, an array has another shape or type, a Look comes
    ///         with a worn article or is another snapshot's, or "vasily" or "paper" gets no worn article.
    ///     TypeError: The target is missing.
    #[pyo3(signature = (human, worn=None, target=None, *, on_error=None))]
    fn swap<'py>(
        slf: &Bound<'py, Self>,
        human: &Bound<'py, PyAny>,
        worn: Option<&Bound<'py, PyAny>>,
        target: Option<&Bound<'py, PyAny>>,
        on_error: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let [human, worn, target] = unpaired(human, worn, target)?;
        let (mut human, mut worn, mut target) = (human.expect("a photo"), worn, target);
        let on_row = OnRow::of(on_error)?;
        check_lists(&[("human", Some(&human)), ("target", target.as_ref()), ("worn", worn.as_ref())], on_row)?;
        let order = order(&human, worn.as_ref())?;
        if let Some(order) = &order {
            let sorted = |object: Bound<'py, PyAny>| -> PyResult<_> {
                if !is_list(&object)? {
                    return Ok(object);
                }
                let items = order.iter().map(|row| object.get_item(*row)).collect::<PyResult<Vec<_>>>()?;
                Ok(PyList::new(py, items)?.into_any())
            };
            human = sorted(human)?;
            worn = worn.map(sorted).transpose()?;
            target = target.map(sorted).transpose()?;
        }
        let sides = sides(&human, worn.as_ref(), target.as_ref(), is_list)?;
        slf.get().check_worn(&human, worn.as_ref())?;
        let many = sides.iter().any(Side::is_many);
        let mut stream = slf.get().streamed(sides, on_row, order)?;
        if many {
            let mut swaps = Vec::new();
            while let Some(swap) = stream.advance(py)? {
                swaps.push(swap);
            }
            swaps.sort_by_key(|(row, _)| *row);
            return Ok(PyList::new(py, swaps.into_iter().map(|(_, swap)| swap))?.into_any());
        }
        match stream.advance(py)? {
            Some((_, swap)) => Ok(swap),
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// Swaps as `swap` does, and gives the swaps one by one: a list of any length takes the memory of a few. Pictures
    /// are read as the swaps are taken, those of the next swaps while the networks work.
    ///
    /// Args:
    ///     human: A photo or a Look, or a list or an iterator of them, as `swap` takes them.
    ///     worn: The worn articles.
    ///     target: The articles to put on.
    ///     on_error: As in `swap`. "raise" raises in the turn of a swap whose pictures cannot be read; the next call of
    ///         `next` goes on behind it.
    ///
    /// Returns:
    ///     An iterator of the swaps, in order. After Ctrl-C it still gives those that were done. Rows that follow each
    ///     other share what they can: sort them by person.
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
        slf.get().check_worn(human, worn)?;
        slf.get().streamed(sides, on_row, None)
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
    fn streamed(&self, sides: [Side; 3], on_row: OnRow, numbers: Option<Vec<usize>>) -> PyResult<PySwapStream> {
        if sides[0].is_look() && !matches!(sides[2], Side::Nothing) {
            let rule = "none beside a look, which has it";
            return Err(Error::setting("worn", rule, "a picture").into());
        }
        Ok(PySwapStream::new(self.swapper.clone(), self.threads, self.needs_worn, sides, on_row, numbers))
    }

    /// Checks before any work that photos come with their worn articles, if the networks need them. An iterator may
    /// give looks, which have them.
    fn check_worn(&self, human: &Bound<'_, PyAny>, worn: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let is_iterator = !is_list(human)? && human.hasattr("__next__")? && !human.hasattr("read")?;
        if self.needs_worn && worn.is_none() && !is_iterator && !is_looked(human)? {
            let rule = "a picture: these networks locate the worn article by it";
            return Err(Error::setting("worn", rule, "none").into());
        }
        Ok(())
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

/// Returns the order in which rows of the same person come one after the other, the first one's place first; None if they
/// do already. A person is known by the paths or by the objects.
fn order(human: &Bound<'_, PyAny>, worn: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Vec<usize>>> {
    let py = human.py();
    let mut lists = Vec::new();
    for side in [Some(human), worn].into_iter().flatten() {
        if is_list(side)? {
            lists.push(side);
        }
    }
    let Some(count) = lists.first().map(|list| list.len()).transpose()? else { return Ok(None) };
    let known_by = |object: Bound<'_, PyAny>| -> PyResult<Py<PyAny>> {
        if object.is_instance_of::<PyBytes>() {
            return Ok(object.unbind());
        }
        match object.extract::<PathBuf>() {
            Ok(path) => Ok(path.into_pyobject(py)?.into_any().unbind()),
            Err(_) => Ok((object.as_ptr() as usize).into_pyobject(py)?.into_any().unbind()),
        }
    };
    let groups = PyDict::new(py);
    let mut of_row = Vec::with_capacity(count);
    for row in 0..count {
        let keys = lists.iter().map(|list| known_by(list.get_item(row)?)).collect::<PyResult<Vec<_>>>()?;
        let key = PyTuple::new(py, keys)?;
        let group: usize = match groups.get_item(&key)? {
            Some(group) => group.extract()?,
            None => {
                groups.set_item(&key, groups.len())?;
                groups.len() - 1
            }
        };
        of_row.push(group);
    }
    if of_row.is_sorted() {
        return Ok(None);
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|row| of_row[*row]);
    Ok(Some(order))
}

/// Puts pictures in the place of pairs: human, worn, target. A pair as human brings its article as worn, unless another
/// one is given. Behind a look the second picture is the target.
fn unpaired<'py>(
    human: &Bound<'py, PyAny>,
    worn: Option<&Bound<'py, PyAny>>,
    target: Option<&Bound<'py, PyAny>>,
) -> PyResult<[Option<Bound<'py, PyAny>>; 3]> {
    let human = &unbatched("human", human)?;
    let worn = worn.map(|worn| unbatched("worn", worn)).transpose()?;
    let target = target.map(|target| unbatched("target", target)).transpose()?;
    let (worn, target) = match (worn.as_ref(), target.as_ref()) {
        (Some(given), None) if is_looked(human)? => (None, Some(given)),
        given => given,
    };
    let brought = match worn {
        None if is_paired(human)? => Some(side_of(human, |pair| &pair.article)?),
        worn => worn.map(|worn| side_of(worn, |pair| &pair.article)).transpose()?,
    };
    let target = target.map(|target| side_of(target, |pair| &pair.article)).transpose()?;
    Ok([Some(side_of(human, |pair| &pair.human)?), brought, target])
}

/// Whether the object is a look, or a list of looks alone.
fn is_looked(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !is_list(object)? || object.len()? == 0 {
        return Ok(object.is_instance_of::<PyLook>());
    }
    Ok(object.try_iter()?.collect::<PyResult<Vec<_>>>()?.iter().all(|item| item.is_instance_of::<PyLook>()))
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
        let pictures = pairs.get().0.iter().map(|pair| path_or_pixels(py, side(&pair)));
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
                Thing::check(&format!("{name}[{i}]"), &item?)?;
            }
        }
    }
    Ok(())
}
