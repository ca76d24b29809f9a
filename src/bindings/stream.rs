//! `Swapper.stream`: swaps of lists and iterators, a part at a time within the budget of memory. While the networks work
//! on a part, the pictures of the next one are decoded.

use std::collections::{HashMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use image::RgbImage;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};
use rayon::prelude::*;

use super::arrays::{Given, Picture};
use super::compute::{Signals, compute};
use super::held::Held;
use super::kept::{Dressed, KEPT, Kept, Key};
use super::look::PyLook;
use super::swap::PySwap;
use crate::error::{Error, Result};
use crate::inference::{Look, PAINTED, Person, Swapped, Swapper, TOGETHER};
use crate::native::{is_alone, isolated, use_threads};
use crate::pixels::BUDGET;

/// The names of the sides, in the order of [`PySwapStream`]'s.
const NAMES: [&str; 3] = ["human", "target", "worn"];
const HUMAN: usize = 0;
const TARGET: usize = 1;
const WORN: usize = 2;
/// Rows of a part: the generator's largest batch.
const PART: usize = 16;

/// Whether the object is a list of pictures.
pub fn is_list(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>())
}

/// A picture, or a look in the place of a photo.
pub enum Thing {
    Picture(Picture),
    Look(Arc<Look>),
}

impl Thing {
    /// Takes what Python gives on a side. None of a list of worn articles is an unknown one.
    fn of(side: usize, name: &str, object: &Bound<'_, PyAny>) -> PyResult<Option<Thing>> {
        if side == WORN && object.is_none() {
            return Ok(None);
        }
        if side == HUMAN
            && let Ok(look) = object.cast::<PyLook>()
        {
            return Ok(Some(Thing::Look(look.get().0.clone())));
        }
        Ok(Some(Thing::Picture(Given::of(name, object)?.load(name)?)))
    }

    /// Looks at it as [`Thing::of`] does, and copies nothing.
    pub fn check(name: &str, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let (nothing, look) = (object.is_none(), object.is_instance_of::<PyLook>());
        if (nothing && name.starts_with(NAMES[WORN])) || (look && name.starts_with(NAMES[HUMAN])) {
            return Ok(());
        }
        Given::of(name, object).map(|_| ())
    }
}

/// The pictures of one side of the swaps.
pub enum Side {
    /// No picture: the worn article is not known.
    Nothing,
    /// One picture for every row.
    One(Option<Thing>),
    /// A picture for each row.
    Many(Py<PyIterator>),
}

impl Side {
    /// One picture for every row.
    pub fn one(name: &'static str, object: &Bound<'_, PyAny>) -> PyResult<Side> {
        let side = NAMES.iter().position(|side| *side == name).expect("a side");
        Ok(Side::One(Thing::of(side, name, object)?))
    }

    /// A picture for each row.
    pub fn many(iterator: Bound<'_, PyIterator>) -> Side {
        Side::Many(iterator.unbind())
    }

    /// Whether it is one look for every row.
    pub fn is_look(&self) -> bool {
        matches!(self, Side::One(Some(Thing::Look(_))))
    }

    /// Whether each row has its own picture.
    pub fn is_many(&self) -> bool {
        matches!(self, Side::Many(_))
    }
}

/// What becomes of a row whose pictures cannot be read.
#[derive(Clone, Copy, PartialEq)]
pub enum OnRow {
    /// Its error is raised.
    Raise,
    /// It is left out.
    Skip,
    /// A `SwapError` stands in its place.
    Return,
}

impl OnRow {
    /// Parses the argument `on_error`.
    pub fn of(text: Option<&str>) -> PyResult<OnRow> {
        match text {
            None | Some("raise") => Ok(OnRow::Raise),
            Some("skip") => Ok(OnRow::Skip),
            Some("return") => Ok(OnRow::Return),
            Some(other) => Err(Error::setting("on_error", "raise, skip or return", other).into()),
        }
    }
}

/// One row as it was taken.
struct Row {
    /// Its number in the caller's lists.
    number: usize,
    /// The pictures of the sides that have one for each row.
    own: PyResult<[Option<Own>; 3]>,
}

/// A row's own picture.
struct Own {
    /// None once it is taken to be decoded.
    thing: Option<Thing>,
    key: Key,
    pixels: u64,
}

impl Own {
    fn of(thing: Thing, side: usize, row: usize) -> Own {
        let (key, pixels) = match &thing {
            Thing::Picture(picture) => (Key::of(picture, side, row), picture.pixels()),
            Thing::Look(_) => (Key::Alone(side, row), 0),
        };
        Own { thing: Some(thing), key, pixels }
    }

    /// The bytes that it holds now.
    fn held(&self) -> u64 {
        match &self.thing {
            Some(Thing::Picture(picture)) => picture.held(),
            _ => 0,
        }
    }
}

/// The pictures of all rows, once they are decoded.
#[derive(Default)]
struct Shared {
    /// Human and worn article, if neither is a row's own.
    person: Option<Arc<Dressed>>,
    human: Option<Arc<RgbImage>>,
    worn: Option<Arc<RgbImage>>,
    target: Option<Arc<RgbImage>>,
}

impl Shared {
    /// Decodes them.
    fn of(sides: &mut [Side; 3]) -> Result<Shared> {
        let mut shared = Shared::default();
        for (side, given) in sides.iter_mut().enumerate() {
            let Side::One(thing) = given else { continue };
            let Some(thing) = thing.take() else { continue };
            match thing {
                Thing::Look(look) => shared.person = Some(Dressed::from(look).into()),
                Thing::Picture(picture) => {
                    let picture = Some(picture.decode(NAMES[side])?.into());
                    match side {
                        HUMAN => shared.human = picture,
                        TARGET => shared.target = picture,
                        _ => shared.worn = picture,
                    }
                }
            }
        }
        if !sides[WORN].is_many()
            && let Some(human) = shared.human.take()
        {
            shared.person = Some(Dressed::new(Person { human, worn: shared.worn.take() }).into());
        }
        Ok(shared)
    }

    /// The pixels of a side's picture.
    fn pixels(&self, side: usize) -> u64 {
        let pixels = |picture: &Option<Arc<RgbImage>>| picture.as_ref().map_or(0, |p| p.as_raw().len() as u64 / 3);
        match side {
            HUMAN => self.person.as_ref().map_or_else(|| pixels(&self.human), |person| person.pixels()),
            TARGET => pixels(&self.target),
            _ => pixels(&self.worn),
        }
    }
}

/// What one row's swap is made of.
struct Ready {
    person: Arc<Dressed>,
    target: Arc<RgbImage>,
}

/// Rows whose pictures are decoded.
#[derive(Default)]
struct Decoded {
    rows: Vec<(usize, PyResult<Ready>)>,
    need: Need,
}

/// An iterator of swaps, as `Swapper.stream` returns it.
#[pyclass(name = "SwapStream", module = "cagan._cagan")]
pub struct PySwapStream {
    swapper: Arc<Held<Swapper>>,
    /// libtorch's threads; 0 for its default.
    threads: usize,
    needs_worn: bool,
    sides: [Side; 3],
    /// Whether the photo of all rows is a look, and whether they have one worn article.
    everyones: [bool; 2],
    shared: Option<Shared>,
    on_row: OnRow,
    /// The caller's number of each row, if they come in another order.
    numbers: Option<Vec<usize>>,
    /// The number of rows taken.
    taken: usize,
    rows: VecDeque<Row>,
    kept: Kept,
    /// The part that comes next.
    next: Option<Decoded>,
    ready: VecDeque<(usize, PyResult<Swapped>)>,
    /// What ended the rows before their end. It is raised behind the swaps of the rows before it.
    failure: Option<PyErr>,
    ended: bool,
}

#[pymethods]
impl PySwapStream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.advance(py)?.map(|(_, swap)| swap))
    }
}

impl PySwapStream {
    /// A stream of rows. `numbers` are the caller's, if the rows come in another order.
    pub fn new(
        swapper: Arc<Held<Swapper>>,
        threads: usize,
        needs_worn: bool,
        sides: [Side; 3],
        on_row: OnRow,
        numbers: Option<Vec<usize>>,
    ) -> Self {
        let everyones = [sides[HUMAN].is_look(), matches!(sides[WORN], Side::One(_))];
        PySwapStream {
            swapper,
            threads,
            needs_worn,
            sides,
            everyones,
            shared: None,
            on_row,
            numbers,
            taken: 0,
            rows: VecDeque::new(),
            kept: Kept::new(),
            next: None,
            ready: VecDeque::new(),
            failure: None,
            ended: false,
        }
    }

    /// Returns the next swap and its row's number, or the error in its place, or None at the end.
    pub fn advance<'py>(&mut self, py: Python<'py>) -> PyResult<Option<(usize, Bound<'py, PyAny>)>> {
        loop {
            while self.ready.is_empty() {
                self.take(py);
                if self.rows.is_empty() && self.next.is_none() {
                    return self.failure.take().map_or(Ok(None), Err);
                }
                let worked = self.work(py);
                if worked.is_err() {
                    self.ended = true;
                    self.rows.clear();
                    self.next = None;
                }
                worked?;
            }
            let (number, swap) = self.ready.pop_front().expect("it is not empty");
            return match (swap, self.on_row) {
                (Ok(swap), _) => Ok(Some((number, Bound::new(py, PySwap(swap))?.into_any()))),
                (Err(_), OnRow::Skip) => continue,
                (Err(error), OnRow::Raise) => Err(error),
                (Err(error), OnRow::Return) => {
                    let kind = py.import("cagan.failures")?.getattr("SwapError")?;
                    Ok(Some((number, kind.call_method1("of", (number, error.into_value(py)))?)))
                }
            };
        }
    }

    /// Takes rows from the iterators: two parts, or fewer if the pictures that are in memory fill the budget.
    fn take(&mut self, py: Python<'_>) {
        let mut need = Need::default();
        self.rows.iter().for_each(|row| need.add(in_memory(row)));
        // The next row may be as large as the last one.
        while self.rows.len() < 2 * PART && need.fits_another() && !self.ended {
            match self.take_one(py) {
                Ok(Some(row)) => {
                    need.add(in_memory(&row));
                    self.rows.push_back(row);
                }
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    // Ctrl-C, or an exit: nobody waits for the rows before it.
                    if !error.is_instance_of::<PyException>(py) {
                        self.rows.clear();
                        self.next = None;
                    }
                    self.failure = Some(error);
                }
            }
        }
    }

    fn take_one(&mut self, py: Python<'_>) -> PyResult<Option<Row>> {
        let place = self.taken;
        let number = self.numbers.as_ref().map_or(place, |numbers| numbers.get(place).copied().unwrap_or(place));
        let mut first = None;
        let mut own = Ok([None, None, None]);
        for (side, given) in self.sides.iter().enumerate() {
            let Side::Many(iterator) = given else { continue };
            let item = iterator.bind(py).clone().next().transpose()?;
            let (name, there) = *first.get_or_insert((NAMES[side], item.is_some()));
            if there != item.is_some() {
                let (expected, got) = match there {
                    true => (format!("as many pictures as {name}"), place.to_string()),
                    false => (format!("as many pictures as {name} ({place})"), "more".into()),
                };
                return Err(Error::Array { name: NAMES[side].into(), expected, got }.into());
            }
            let Some(item) = item else { continue };
            let name = format!("{}[{number}]", NAMES[side]);
            match Thing::of(side, &name, &item) {
                Ok(thing) => {
                    if let (Ok(own), Some(thing)) = (&mut own, thing) {
                        own[side] = Some(Own::of(thing, side, place));
                    }
                }
                // Running out of memory, or Ctrl-C, is not the row's fault.
                Err(error) if is_of_row(py, &error) => own = Err(error),
                Err(error) => return Err(error),
            }
        }
        if first.map_or(place > 0, |(_, there)| !there) {
            return Ok(None);
        }
        self.taken += 1;
        let row = Row { number, own };
        Ok(Some(self.checked(row)))
    }

    /// Puts an error into a row that has a look and a worn article beside it, or lacks an article that it needs.
    fn checked(&self, row: Row) -> Row {
        let Row { number, own: Ok(own) } = &row else { return row };
        let looked = own[HUMAN].as_ref().map_or(self.everyones[0], |own| matches!(own.thing, Some(Thing::Look(_))));
        let worn = own[WORN].is_some() || self.everyones[1];
        let name = format!("worn[{number}]");
        let (rule, got) = match (looked, worn) {
            (true, true) => ("none beside a look, which has it", "a picture"),
            (false, false) if self.needs_worn => ("a picture: these networks locate the worn article by it", "none"),
            _ => return row,
        };
        Row { number: *number, own: Err(Error::setting(&name, rule, got).into()) }
    }

    /// Swaps the part that comes next, and decodes the one behind it.
    fn work(&mut self, py: Python<'_>) -> PyResult<()> {
        let (swapper, threads) = (&self.swapper, self.threads);
        let (rows, sides, shared) = (&mut self.rows, &mut self.sides, &mut self.shared);
        let (kept, next) = (&mut self.kept, &mut self.next);
        let (done, failure) = compute(py, || -> PyResult<_> {
            let _threads = use_threads(threads);
            let mut signals = Signals::new();
            let shared: &Shared = match shared {
                Some(shared) => shared,
                none => none.insert(Shared::of(sides)?),
            };
            let workers = match threads {
                0 => rayon::current_num_threads(),
                _ => threads.min(rayon::current_num_threads()),
            };
            let look_bytes = swapper.lock()?.look_bytes() as u64;
            let mut decoder = Decoder { shared, kept, workers, look_bytes };
            let current = match next.take() {
                Some(current) => current,
                None => {
                    let part = Part::of(rows, shared, LIMIT).unwrap_or_default();
                    decoder.decode(part, LIMIT, &mut || signals.check())?
                }
            };
            // A child of `fork` has one thread.
            let left = LIMIT.saturating_sub(current.need.held + current.need.working);
            let part = if is_alone() { None } else { Part::of(rows, shared, left) };
            let mut done = Vec::with_capacity(current.rows.len());
            let (waiting, stop) = (Mutex::new(part), AtomicBool::new(false));
            let taken = || waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            let failure = thread::scope(|scope| {
                let there = waiting.lock().is_ok_and(|part| part.is_some());
                let job = there.then(|| {
                    let body = || -> PyResult<_> {
                        let part = taken().expect("it waits");
                        isolated(|| decoder.decode(part, left, &mut || stopped(&stop)))
                    };
                    thread::Builder::new().name("cagan-decode".into()).spawn_scoped(scope, body)
                });
                let mut failure = finished(swapper, current, &mut done, &mut signals).err();
                stop.store(failure.is_some(), Relaxed);
                if let Some(Ok(job)) = job {
                    match job.join().unwrap_or_else(|payload| resume_unwind(payload)) {
                        Ok(decoded) => *next = Some(decoded),
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
                failure
            });
            // No thread was to be had: the rows wait.
            if let Some(part) = waiting.into_inner().unwrap_or_else(PoisonError::into_inner) {
                part.rows.into_iter().rev().for_each(|row| rows.push_front(row));
            }
            Ok((done, failure))
        })?;
        self.ready.extend(done);
        failure.map_or(Ok(()), Err)
    }
}

/// Ends decoding that nobody waits for any more.
fn stopped(stop: &AtomicBool) -> PyResult<()> {
    match stop.load(Relaxed) {
        true => Err(Error::Panic("the part before this one failed".into()).into()),
        false => Ok(()),
    }
}

/// Whether an error comes from one row's picture.
fn is_of_row(py: Python<'_>, error: &PyErr) -> bool {
    use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
    error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyOSError>(py)
}

/// The bytes that two parts may need at once: one in the networks, the next one decoded.
const LIMIT: u64 = BUDGET - KEPT;

/// What rows need at once, in bytes.
#[derive(Clone, Copy, Default)]
struct Need {
    /// Of all rows: the pictures, of which the photo becomes the swap, and what the swap keeps beside it.
    held: u64,
    /// Of the row that needs most: what its decoding, or its finishing beside others of its size, takes for a while.
    working: u64,
    /// Of the row that needs most: what its decoding takes.
    decoding: u64,
    /// Of the last row.
    last: u64,
}

impl Need {
    /// For each pixel that is painted one by one. Measured with kisekae: 57.
    const PAINTING: u64 = 60;
    /// The largest number of photos that are painted at once: a batch of the networks.
    const AT_ONCE: u64 = 16;
    /// For each pixel of a photo that is decoded or blended. Measured: at most 5 beside the result.
    const PIXEL: u64 = 5;

    /// Counts a row, given the pixels of its human, target and worn article.
    fn add(&mut self, [human, target, worn]: [u64; 3]) {
        let painted = human.min(PAINTED as u64);
        self.last = 3 * (human + target + worn) + 4 * painted;
        self.held += self.last;
        self.decoding = self.decoding.max(Self::PIXEL * human.max(target).max(worn));
        let at_once = TOGETHER.min(Self::AT_ONCE * painted).max(painted);
        self.working = self.working.max(self.decoding).max(Self::PAINTING * at_once);
    }

    /// Whether one more row like the last would fit.
    fn fits_another(self) -> bool {
        self.held + self.last + self.working <= LIMIT
    }
}

/// The pixels of the row's pictures that are in memory.
fn in_memory(row: &Row) -> [u64; 3] {
    let pixels = |own: &Own| if own.held() > 0 { own.pixels } else { 0 };
    row.own.as_ref().map_or([0; 3], |own| own.each_ref().map(|one| one.as_ref().map_or(0, pixels)))
}

/// Rows to be swapped together.
#[derive(Default)]
struct Part {
    rows: Vec<Row>,
    need: Need,
}

impl Part {
    /// Takes the first rows: those whose pictures and swaps need a third of the limit, at least one. None if there is no
    /// row, or the first one does not fit `room`, unless that is the whole limit.
    fn of(rows: &mut VecDeque<Row>, shared: &Shared, room: u64) -> Option<Part> {
        let mut part = Part::default();
        while part.rows.len() < PART
            && let Some(row) = rows.pop_front()
        {
            let mut need = part.need;
            if let Ok(own) = &row.own {
                need.add([0, 1, 2].map(|side| own[side].as_ref().map_or(shared.pixels(side), |own| own.pixels)));
            }
            let first = part.rows.is_empty();
            let share = need.held <= LIMIT / 3 && need.held + need.working <= LIMIT;
            let fits = match room {
                LIMIT => first || share,
                // Its swaps are painted when those of the part before are.
                room => need.held + need.decoding <= room && (first || share),
            };
            if !fits {
                rows.push_front(row);
                break;
            }
            part.need = need;
            part.rows.push(row);
        }
        (!part.rows.is_empty()).then_some(part)
    }
}

/// Decodes parts.
struct Decoder<'a> {
    shared: &'a Shared,
    kept: &'a mut Kept,
    /// Pictures at once.
    workers: usize,
    /// The bytes of a look beside its photo.
    look_bytes: u64,
}

/// A picture to decode, for one row or more.
struct Task {
    name: String,
    picture: Option<Picture>,
    pixels: u64,
    /// An error goes to the row that brought the picture.
    result: Option<Result<Arc<RgbImage>>>,
}

/// The pictures to decode for a part, each once.
#[derive(Default)]
struct Tasks {
    tasks: Vec<Task>,
    by_key: HashMap<(usize, Key), usize>,
}

impl Tasks {
    /// Adds a row's picture, or finds the task of an equal one.
    fn add(&mut self, side: usize, number: usize, own: &mut Own) -> Option<usize> {
        let place = (side, own.key.clone());
        if let Some(task) = self.by_key.get(&place) {
            return Some(*task);
        }
        let Some(Thing::Picture(picture)) = own.thing.take() else { return None };
        let name = format!("{}[{number}]", NAMES[side]);
        self.tasks.push(Task { name, picture: Some(picture), pixels: own.pixels, result: None });
        self.by_key.insert(place, self.tasks.len() - 1);
        Some(self.tasks.len() - 1)
    }

    /// Decodes all, some at a time, within `left` bytes beside the results.
    fn run(&mut self, workers: usize, left: u64, check: &mut dyn FnMut() -> PyResult<()>) -> PyResult<()> {
        let mut tasks = &mut self.tasks[..];
        while !tasks.is_empty() {
            // A photo of 12 megapixels takes some 100 ms.
            check()?;
            let mut need = 0;
            let fits = |task: &&Task| {
                need += Need::PIXEL * task.pixels;
                need <= left
            };
            let count = tasks.iter().take(workers).take_while(fits).count().max(1);
            let (some, rest) = tasks.split_at_mut(count);
            some.into_par_iter().for_each(|task| {
                let picture = task.picture.take().expect("it is decoded once");
                task.result = Some(picture.decode(&task.name).map(Arc::new));
            });
            tasks = rest;
        }
        Ok(())
    }

    /// The picture of a task.
    fn picture(&mut self, task: usize, side: usize, number: usize, own: &mut Own) -> Result<Arc<RgbImage>> {
        let task = &mut self.tasks[task];
        if let Some(Ok(picture)) = &task.result {
            return Ok(picture.clone());
        }
        match own.thing.take() {
            // Another row's picture failed: the error has to tell of this one.
            Some(Thing::Picture(picture)) => picture.decode(&format!("{}[{number}]", NAMES[side])).map(Arc::new),
            _ => task.result.take().expect("the row that brought the picture asks once"),
        }
    }
}

/// A row, of which some pictures are there and others are tasks.
struct Planned {
    own: [Option<Own>; 3],
    tasks: [Option<usize>; 3],
    keys: [Key; 2],
    person: Option<Arc<Dressed>>,
    target: Option<Arc<RgbImage>>,
}

impl Decoder<'_> {
    /// Decodes a part's pictures, each once, but for those that are kept.
    fn decode(&mut self, part: Part, room: u64, check: &mut dyn FnMut() -> PyResult<()>) -> PyResult<Decoded> {
        let Part { rows, need } = part;
        let mut tasks = Tasks::default();
        let mut planned = Vec::with_capacity(rows.len());
        for Row { number, own } in rows {
            planned.push((number, own.map(|own| self.plan(number, own, &mut tasks))));
        }
        tasks.run(self.workers, room.saturating_sub(need.held), check)?;
        let mut made = HashMap::new();
        let ready = |(number, row): (usize, PyResult<Planned>)| {
            (number, row.and_then(|row| Ok(self.ready(number, row, &mut tasks, &mut made)?)))
        };
        Ok(Decoded { rows: planned.into_iter().map(ready).collect(), need })
    }

    /// Finds what is there already of a row, and adds tasks for the rest.
    fn plan(&mut self, number: usize, mut own: [Option<Own>; 3], tasks: &mut Tasks) -> Planned {
        let key = |side: usize, otherwise: Key| own[side].as_ref().map_or(otherwise, |own| own.key.clone());
        let worn = if self.shared.worn.is_some() { Key::Shared } else { Key::Nothing };
        let keys = [key(HUMAN, Key::Shared), key(WORN, worn)];
        let person = match own[HUMAN].as_mut().map(|own| &mut own.thing) {
            Some(thing @ Some(Thing::Look(_))) => match thing.take() {
                Some(Thing::Look(look)) => Some(Dressed::from(look).into()),
                _ => unreachable!("it is a look"),
            },
            None if self.shared.person.is_some() => self.shared.person.clone(),
            _ => self.kept.person(&keys),
        };
        let target = match &own[TARGET] {
            Some(own) => self.kept.target(&own.key),
            None => self.shared.target.clone(),
        };
        let there = [person.is_some(), target.is_some(), person.is_some()];
        let mut numbers = [None; 3];
        for side in [HUMAN, TARGET, WORN] {
            if let (Some(own), false) = (&mut own[side], there[side]) {
                numbers[side] = tasks.add(side, number, own);
            }
        }
        Planned { own, tasks: numbers, keys, person, target }
    }

    /// Puts a row's decoded pictures together.
    fn ready(
        &mut self,
        number: usize,
        row: Planned,
        tasks: &mut Tasks,
        made: &mut HashMap<[Key; 2], Arc<Dressed>>,
    ) -> Result<Ready> {
        let Planned { mut own, tasks: numbers, keys, person, target } = row;
        let mut picture = |side: usize| match (&mut own[side], numbers[side]) {
            (Some(own), Some(task)) => tasks.picture(task, side, number, own).map(Some),
            _ => Ok(None),
        };
        let person = match person.or_else(|| made.get(&keys).cloned()) {
            Some(person) => person,
            None => {
                let human = picture(HUMAN)?.or_else(|| self.shared.human.clone()).expect("every row has a photo");
                let worn = picture(WORN)?.or_else(|| self.shared.worn.clone());
                let bytes = human.as_raw().len() as u64 + self.look_bytes;
                let person = Arc::new(Dressed::new(Person { human, worn }));
                made.insert(keys.clone(), person.clone());
                self.kept.put_person(keys, &person, bytes);
                person
            }
        };
        let target = match target {
            Some(target) => target,
            None => {
                let target = picture(TARGET)?.expect("every row has a target");
                if let Some(own) = own[TARGET].take() {
                    self.kept.put_target(own.key, &target);
                }
                target
            }
        };
        Ok(Ready { person, target })
    }
}

/// Swaps a part. `done` gets the results in the order of the rows, as far as they came before an error that is not one
/// row's.
fn finished(
    swapper: &Held<Swapper>,
    part: Decoded,
    done: &mut Vec<(usize, PyResult<Swapped>)>,
    signals: &mut Signals,
) -> PyResult<()> {
    let batch = swapper.lock()?.batch();
    let people = part.rows.iter().filter_map(|(_, row)| row.as_ref().ok()).map(|row| &row.person);
    let new: Vec<(&Arc<Dressed>, Person)> = people.filter_map(|person| Some((person, person.take()?))).collect();
    let (dressed, mut new): (Vec<_>, Vec<_>) = new.into_iter().unzip();
    let mut dressed = dressed.into_iter();
    while !new.is_empty() {
        signals.check()?;
        // No lock is held while signals are checked.
        let some = new.drain(..batch.min(new.len())).collect();
        for look in swapper.lock()?.look(some)? {
            dressed.next().expect("a look for each person").keep(look);
        }
    }
    let mut rows = part.rows.into_iter().peekable();
    while rows.peek().is_some() {
        signals.check()?;
        let mut some = Vec::new();
        while some.iter().filter(|(_, row): &&(_, PyResult<Ready>)| row.is_ok()).count() < batch
            && let Some(row) = rows.next()
        {
            some.push(row);
        }
        let pictures: Vec<(&Look, &RgbImage)> =
            some.iter().filter_map(|(_, row)| row.as_ref().ok()).map(|row| (row.person.look(), &*row.target)).collect();
        let painted = match pictures.is_empty() {
            true => None,
            false => Some(swapper.lock()?.dress(&pictures)?),
        };
        let mut sizes: VecDeque<u64> =
            some.iter().filter_map(|(_, row)| row.as_ref().ok()).map(|row| row.person.pixels()).collect();
        let (mut some, mut next) = (some.into_iter().peekable(), 0);
        while some.peek().is_some() {
            signals.check()?;
            let count = painted.as_ref().map_or(0, |painted| painted.together(sizes.iter().copied()));
            let (mut numbers, mut rows) = (Vec::new(), Vec::new());
            // Rows that failed before keep their places.
            while let Some((number, row)) = some.next_if(|(_, row)| row.is_err() || rows.len() < count) {
                match row {
                    Ok(Ready { person, target }) => {
                        rows.push((person.into_photo(), target));
                        numbers.push((number, None));
                    }
                    Err(error) => numbers.push((number, Some(error))),
                }
            }
            sizes.drain(..rows.len());
            let first = next;
            next += rows.len();
            let photos = rows.iter_mut().zip(first..).map(|((photo, target), i)| (i, std::mem::take(photo), &**target));
            let mut swaps = match &painted {
                Some(painted) if next > first => painted.render(photos.collect())?.into_iter(),
                _ => Vec::new().into_iter(),
            };
            for (number, error) in numbers {
                done.push((number, error.map_or_else(|| Ok(swaps.next().expect("a swap for each row")), Err)));
            }
        }
    }
    Ok(())
}

/// Looks at people, some at a time. `picture` gives the human and the worn article of a row.
pub fn looks<'py>(
    py: Python<'py>,
    swapper: &Held<Swapper>,
    threads: usize,
    count: usize,
    picture: impl Fn(&str, usize) -> PyResult<Option<Bound<'py, PyAny>>>,
) -> PyResult<Vec<Look>> {
    let mut looks = Vec::with_capacity(count);
    let mut rows = 0..count;
    while !rows.is_empty() {
        let (mut part, mut pixels) = (Vec::new(), 0);
        while part.len() < PART
            && Need::PIXEL * pixels <= LIMIT / 2
            && let Some(row) = rows.next()
        {
            let name = |side: &str| if count > 1 { format!("{side}[{row}]") } else { side.to_owned() };
            let [human, worn] = [HUMAN, WORN].map(|side| -> PyResult<_> {
                let name = name(NAMES[side]);
                let Some(object) = picture(NAMES[side], row)? else { return Ok(None) };
                if object.is_none() && side == WORN {
                    return Ok(None);
                }
                let picture = Given::of(&name, &object)?.load(&name)?;
                Ok(Some((name, picture)))
            });
            let (human, worn) = (human?.expect("every row has a photo"), worn?);
            pixels += human.1.pixels() + worn.as_ref().map_or(0, |(_, picture)| picture.pixels());
            part.push((human, worn));
        }
        let found = compute(py, || -> PyResult<_> {
            let _threads = use_threads(threads);
            let decoded = |(name, picture): (String, Picture)| picture.decode(&name).map(Arc::new);
            let people = part.into_par_iter().map(|(human, worn)| -> Result<Person> {
                Ok(Person { human: decoded(human)?, worn: worn.map(decoded).transpose()? })
            });
            let people = people.collect::<Result<Vec<_>>>()?;
            Signals::new().check()?;
            Ok(swapper.lock()?.look(people)?)
        })?;
        looks.extend(found);
    }
    Ok(looks)
}
