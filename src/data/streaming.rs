//! Decodes batches ahead of the training in threads. The pictures of a step are a function of (seed, step), so the
//! threads' number and pace change nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use rayon::ThreadPool;
use tch::{Device, Kind, Tensor};

use super::batch::Batch;
use super::draw::{Draw, PictureDraw};
use super::set::Set;
use crate::error::{Error, Result};
use crate::native::{isolated, pinned};

/// A bounded queue of batches that are being decoded.
#[derive(Debug)]
pub struct Streaming {
    set: Arc<Set>,
    pool: ThreadPool,
    device: Device,
    prefetch: usize,
    pending: Mutex<VecDeque<(u64, Receiver<Result<Batch>>)>>,
    closed: Arc<AtomicBool>,
}

impl Streaming {
    pub fn new(set: Arc<Set>, pool: ThreadPool, device: Device) -> Streaming {
        Streaming {
            prefetch: set.config.loader_prefetch,
            set,
            pool,
            device,
            pending: Mutex::default(),
            closed: Arc::default(),
        }
    }

    /// Returns the batch of a step, which the threads have mostly decoded by now, and begins those of the next steps.
    ///
    /// # Errors
    /// A picture that can no longer be read or decoded.
    pub fn of_step(&self, step: u64) -> Result<Batch> {
        let receiver = {
            let mut pending = self.pending.lock().expect("nothing panics in between");
            if pending.front().is_some_and(|(first, _)| *first != step) {
                // Another step than the next one: the begun batches are dropped, and their senders fail.
                pending.clear();
            }
            let next = pending.back().map_or(step, |(last, _)| last + 1);
            for step in next..=step + self.prefetch as u64 {
                pending.push_back((step, self.begin(step)));
            }
            pending.pop_front().expect("the step was begun").1
        };
        let batch = receiver.recv().unwrap_or_else(|_| {
            let text = "a thread that decodes pictures was lost";
            Err(Error::Device(text.into()))
        });
        match batch {
            // There may be enough memory by now.
            Err(Error::Memory(_)) => self.of_draw(&self.set.draw(step)),
            batch => batch,
        }
    }

    /// Decodes the pictures of any draw now.
    ///
    /// # Errors
    /// As [`Streaming::of_step`].
    pub fn of_draw(&self, draw: &Draw) -> Result<Batch> {
        let open = AtomicBool::new(false);
        (self.pool).install(|| decode(&self.set, draw, self.device, &open))
    }

    fn begin(&self, step: u64) -> Receiver<Result<Batch>> {
        let (sender, receiver) = sync_channel(1);
        let (set, device, closed) = (self.set.clone(), self.device, self.closed.clone());
        self.pool.spawn_fifo(move || {
            if !closed.load(Ordering::Relaxed) {
                // It fails where the batch was dropped.
                let _ = sender.send(isolated(|| decode(&set, &set.draw(step), device, &closed)));
            }
        });
        receiver
    }
}

impl Drop for Streaming {
    /// Ends the batches under way at their next picture, and with them the pool's threads.
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Decodes the pictures of a draw, one after the other: the threads share out whole batches.
fn decode(set: &Set, draw: &Draw, device: Device, closed: &AtomicBool) -> Result<Batch> {
    let pictures = set.pictures(draw);
    match device {
        Device::Cpu if draw.colours.is_empty() => {
            let range = set.config.range();
            let values = |side: Side| taken(set, side, Kind::Float, closed, |byte| range.from_byte(byte));
            Ok(Batch::Values(each(pictures, values)?))
        }
        _ => {
            let bytes = |side: Side| {
                let bytes = taken(set, side, Kind::Uint8, closed, |byte| byte)?;
                match device {
                    Device::Cpu => Ok(bytes),
                    // The copy from page-locked memory to the device runs beside the computation there.
                    _ => Ok(pinned(&bytes, device)?),
                }
            };
            Ok(Batch::Bytes(each(pictures, bytes)?))
        }
    }
}

/// The pictures of one side of a batch: files with how each is taken.
type Side<'a> = Vec<(usize, &'a PictureDraw)>;

fn each<'a>(sides: [Side<'a>; 3], decode: impl Fn(Side<'a>) -> Result<Tensor>) -> Result<[Tensor; 3]> {
    let [humans, worn, targets] = sides;
    Ok([decode(humans)?, decode(worn)?, decode(targets)?])
}

/// Decodes, crops and mirrors pictures. `T` is the type of `kind`.
fn taken<T: Copy>(
    set: &Set,
    pictures: Side,
    kind: Kind,
    closed: &AtomicBool,
    value: impl Fn(u8) -> T,
) -> Result<Tensor> {
    let [h, w] = set.config.image_size;
    let batch = Tensor::empty([pictures.len() as i64, 3, h, w], (kind, Device::Cpu));
    // SAFETY: a contiguous tensor of that kind on the CPU, to which no other reference exists yet.
    let values = unsafe { std::slice::from_raw_parts_mut(batch.data_ptr().cast::<T>(), batch.numel()) };
    for ((file, draw), out) in pictures.into_iter().zip(values.chunks_exact_mut((3 * h * w) as usize)) {
        if closed.load(Ordering::Relaxed) {
            return Err(Error::Device("the loader was closed".into()));
        }
        let picture = set.decode(file)?;
        set.cut(&picture, draw, out, &value);
    }
    Ok(batch)
}
