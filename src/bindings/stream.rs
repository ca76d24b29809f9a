//! `Swapper.stream`: swaps of lists and iterators, a part at a time within the budget of memory.

use std::collections::VecDeque;
use std::sync::Arc;

use image::RgbImage;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};
use rayon::prelude::*;

use super::arrays::{Given, Picture};
use super::compute::{Signals, compute};
use super::shared::Shared;
use super::swap::PySwap;
use crate::error::{Error, Result};
use crate::inference::{PAINTED, Request, Swapped, Swapper};
use crate::pixels::BUDGET;

/// The names of the sides, in the order of [`PySwapStream`]'s.
const NAMES: [&str; 3] = ["human", "target", "worn"];
/// Rows of a part: the generator's largest batch.
const PART: usize = 16;

/// Whether the object is a list of pictures.
pub fn is_list(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>())
}

/// The pictures of one side of the swaps.
pub enum Side {
    /// No picture: the worn article is not known.
    Nothing,
    /// One picture for every row.
    One(Option<Picture>),
    /// A picture for each row.
    Many(Py<PyIterator>),
}

impl Side {
    /// One picture for every row.
    pub fn one(name: &'static str, object: &Bound<'_, PyAny>) -> PyResult<Side> {
        Ok(Side::One(Some(Given::of(name, object)?.load(name)?)))
    }

    /// A picture for each row.
    pub fn many(iterator: Bound<'_, PyIterator>) -> Side {
        Side::Many(iterator.unbind())
    }

    /// Whether each row has its own picture.
    pub fn is_many(&self) -> bool {
        matches!(self, Side::Many(_))
    }
}

/// What becomes of a row whose pictures cannot be read.
#[derive(Clone, Copy, PartialEq)]
pub enum OnRow {
    Raise,
    Skip,
}

impl OnRow {
    /// Parses the argument `on_error`.
    pub fn of(text: Option<&str>) -> PyResult<OnRow> {
        match text {
            None | Some("raise") => Ok(OnRow::Raise),
            Some("skip") => Ok(OnRow::Skip),
            Some(other) => Err(Error::setting("on_error", "raise or skip", other).into()),
        }
    }
}

/// The pictures of one row: of the sides that have one for each row.
type Row = (usize, PyResult<[Option<Picture>; 3]>);

/// An iterator of swaps, as `Swapper.stream` returns it.
#[pyclass(name = "SwapStream", module = "cagan._cagan")]
pub struct PySwapStream {
    swapper: Arc<Shared<Swapper>>,
    sides: [Side; 3],
    /// The pictures of the sides with one picture, once they are decoded.
    ones: Option<[Option<RgbImage>; 3]>,
    on_row: OnRow,
    /// The number of rows taken.
    taken: usize,
    rows: VecDeque<Row>,
    ready: VecDeque<PyResult<Swapped>>,
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
        self.advance(py)
    }
}

impl PySwapStream {
    /// A stream of rows.
    pub fn new(swapper: Arc<Shared<Swapper>>, sides: [Side; 3], on_row: OnRow) -> Self {
        PySwapStream {
            swapper,
            sides,
            ones: None,
            on_row,
            taken: 0,
            rows: VecDeque::new(),
            ready: VecDeque::new(),
            failure: None,
            ended: false,
        }
    }

    /// Returns the next swap, or the exception in its place, or None at the end.
    pub fn advance<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        while self.ready.is_empty() {
            self.take(py);
            if self.rows.is_empty() {
                return self.failure.take().map_or(Ok(None), Err);
            }
            let worked = self.work(py);
            if worked.is_err() {
                self.ended = true;
                self.rows.clear();
            }
            worked?;
        }
        match self.ready.pop_front().expect("it is not empty") {
            Ok(swap) => Ok(Some(Bound::new(py, PySwap(swap))?.into_any())),
            Err(error) if self.on_row == OnRow::Skip => Ok(Some(error.into_value(py).into_bound(py).into_any())),
            Err(error) => Err(error),
        }
    }

    /// Takes rows from the iterators: a part, or fewer if the pictures that are in memory fill the budget.
    fn take(&mut self, py: Python<'_>) {
        let mut need = Need::default();
        self.rows.iter().for_each(|row| need.add(in_memory(row)));
        // The next row may be as large as the last one.
        while self.rows.len() < PART && need.fits_another() && !self.ended {
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
                    }
                    self.failure = Some(error);
                }
            }
        }
    }

    fn take_one(&mut self, py: Python<'_>) -> PyResult<Option<Row>> {
        let number = self.taken;
        let mut first = None;
        let mut row = Ok([None, None, None]);
        for (place, side) in self.sides.iter().enumerate() {
            let Side::Many(iterator) = side else { continue };
            let item = iterator.bind(py).clone().next().transpose()?;
            let (name, there) = *first.get_or_insert((NAMES[place], item.is_some()));
            if there != item.is_some() {
                let (expected, got) = match there {
                    true => (format!("as many pictures as {name}"), number.to_string()),
                    false => (format!("as many pictures as {name} ({number})"), "more".into()),
                };
                return Err(Error::Array { name: NAMES[place].into(), expected, got }.into());
            }
            let Some(item) = item else { continue };
            let name = format!("{}[{number}]", NAMES[place]);
            match Given::of(&name, &item).and_then(|given| given.load(&name)) {
                Ok(picture) => {
                    if let Ok(row) = &mut row {
                        row[place] = Some(picture);
                    }
                }
                // Running out of memory, or Ctrl-C, is not the row's fault.
                Err(error) if is_of_row(py, &error) => row = Err(error),
                Err(error) => return Err(error),
            }
        }
        if first.map_or(number > 0, |(_, there)| !there) {
            return Ok(None);
        }
        self.taken += 1;
        Ok(Some((number, row)))
    }

    /// Swaps the first rows: as many as the budget holds.
    fn work(&mut self, py: Python<'_>) -> PyResult<()> {
        let swapper = &self.swapper;
        let (rows, sides, ones) = (&mut self.rows, &mut self.sides, &mut self.ones);
        let (done, failure) = compute(py, || -> PyResult<_> {
            let mut signals = Signals::new();
            if ones.is_none() {
                let mut decoded = [None, None, None];
                for (place, side) in sides.iter_mut().enumerate() {
                    if let Side::One(picture) = side {
                        let picture = picture.take().expect("it is decoded once");
                        decoded[place] = Some(picture.decode(NAMES[place])?);
                    }
                }
                *ones = Some(decoded);
            }
            let ones = ones.as_ref().expect("just decoded");
            let part = part(rows, ones);
            let mut done = Vec::with_capacity(part.rows.len());
            let failure = swapped(swapper, part, ones, &mut done, &mut signals).err();
            Ok((done, failure))
        })?;
        self.ready.extend(done);
        failure.map_or(Ok(()), Err)
    }
}

/// Whether an error comes from one row's picture.
fn is_of_row(py: Python<'_>, error: &PyErr) -> bool {
    use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
    error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyOSError>(py)
}

/// What rows need at once, in bytes.
#[derive(Clone, Copy, Default)]
struct Need {
    /// Of all rows: the pictures, of which the photo becomes the swap, and what the swap keeps beside it.
    held: u64,
    /// Of the row that needs most: what its decoding or its finishing takes for a while.
    working: u64,
    /// Of the last row.
    last: u64,
}

impl Need {
    /// For each pixel that is painted one by one. Measured with kisekae: 57.
    const PAINTING: u64 = 60;
    /// For each pixel of a photo that is decoded or blended. Measured: at most 5 beside the result.
    const PIXEL: u64 = 5;

    /// Counts a row, given the pixels of its human, target and worn article.
    fn add(&mut self, [human, target, worn]: [u64; 3]) {
        let painted = human.min(PAINTED as u64);
        self.last = 3 * (human + target + worn) + 4 * painted;
        self.held += self.last;
        self.working = self.working.max(Self::PIXEL * human.max(target).max(worn)).max(Self::PAINTING * painted);
    }

    /// Whether the rows fit the budget.
    fn fits(self) -> bool {
        self.held + self.working <= BUDGET
    }

    /// Whether one more row like the last would fit.
    fn fits_another(self) -> bool {
        self.held + self.last + self.working <= BUDGET
    }
}

/// The pixels of the row's pictures that are in memory.
fn in_memory((_, row): &Row) -> [u64; 3] {
    let pixels = |picture: &Picture| if picture.held() > 0 { picture.pixels() } else { 0 };
    row.as_ref().map_or([0; 3], |row| row.each_ref().map(|one| one.as_ref().map_or(0, pixels)))
}

/// Rows to be swapped together.
#[derive(Default)]
struct Part {
    /// Each with the number of pixels to decode.
    rows: Vec<(Row, u64)>,
    need: Need,
}

/// Takes the first rows whose decoded pictures and swaps fit the budget, at least one.
fn part(rows: &mut VecDeque<Row>, ones: &[Option<RgbImage>; 3]) -> Part {
    let shared = ones.each_ref().map(|one| one.as_ref().map_or(0, |one| one.as_raw().len() as u64 / 3));
    let mut part = Part::default();
    while let Some(row) = rows.pop_front() {
        let mut need = part.need;
        let own = row.1.as_ref().map_or([None; 3], |row| row.each_ref().map(|one| one.as_ref().map(Picture::pixels)));
        if row.1.is_ok() {
            need.add([0, 1, 2].map(|side| own[side].unwrap_or(shared[side])));
        }
        if !part.rows.is_empty() && !need.fits() {
            rows.push_front(row);
            break;
        }
        part.need = need;
        part.rows.push((row, own.iter().flatten().sum()));
    }
    part
}

/// Decodes and swaps a part. `done` gets the results in the order of the rows, as far as they came before an error that
/// is not one row's.
fn swapped(
    swapper: &Shared<Swapper>,
    part: Part,
    ones: &[Option<RgbImage>; 3],
    done: &mut Vec<PyResult<Swapped>>,
    signals: &mut Signals,
) -> PyResult<()> {
    let Part { rows, need } = part;
    let mut requests = Vec::with_capacity(rows.len());
    // The error of each row that has one.
    let mut broken: Vec<Option<PyErr>> = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        // A photo of 12 megapixels takes some 100 ms.
        let mut some = Vec::new();
        let mut left = BUDGET.saturating_sub(need.held);
        while some.len() < rayon::current_num_threads() {
            let fits = |(_, pixels): &(Row, u64)| some.is_empty() || Need::PIXEL * pixels <= left;
            let Some((row, pixels)) = rows.next_if(fits) else { break };
            left = left.saturating_sub(Need::PIXEL * pixels);
            some.push(row);
        }
        signals.check()?;
        let decoded: Vec<PyResult<Request>> = some.into_par_iter().map(|row| decoded(row, ones)).collect();
        for request in decoded {
            match request {
                Ok(request) => {
                    requests.push(request);
                    broken.push(None);
                }
                Err(error) => broken.push(Some(error)),
            }
        }
    }
    let mut broken = broken.into_iter();
    let mut next = |done: &mut Vec<PyResult<Swapped>>| {
        for error in broken.by_ref() {
            match error {
                Some(error) => done.push(Err(error)),
                None => return,
            }
        }
    };
    let lengths: Vec<usize> = swapper.lock()?.parts(&requests).map(<[Request]>::len).collect();
    for length in lengths {
        signals.check()?;
        // No lock is held while signals are checked.
        let painted = swapper.lock()?.paint(&requests[..length])?;
        for (i, request) in requests.drain(..length).enumerate() {
            signals.check()?;
            next(done);
            done.push(Ok(painted.render(i, request.human, &request.target)));
        }
    }
    next(done);
    Ok(())
}

/// Decodes a row's pictures.
fn decoded((number, row): Row, ones: &[Option<RgbImage>; 3]) -> PyResult<Request> {
    let mut row = row?;
    let mut side = |place: usize| -> Result<Option<RgbImage>> {
        let Some(picture) = row[place].take() else { return Ok(ones[place].clone()) };
        picture.decode(&format!("{}[{number}]", NAMES[place])).map(Some)
    };
    let [human, target, worn] = [side(0)?, side(1)?, side(2)?];
    let there = "every row has it";
    Ok(Request { human: human.expect(there), target: target.expect(there), worn })
}
