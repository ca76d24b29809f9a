//! Batches decoded ahead of the training by threads of their own. Which pictures a step takes is a function of (seed,
//! step), so the threads' number and pace change nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use rayon::ThreadPool;
use tch::{Device, Kind, Tensor};

use super::draw::{Draw, PictureDraw};
use super::set::Set;
use crate::error::{Error, Result};

/// Humans, worn articles, targets, each `[N, 3, H, W]`: finished values on a CPU, bytes for another device and for
/// colour jitter.
type Batch = [Tensor; 3];

/// A bounded row of batches under way.
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

    /// The pictures of a step, which the threads have mostly decoded by now; those of the next steps are begun.
    ///
    /// # Errors
    /// A picture that cannot be read or decoded any more.
    pub fn of_step(&self, step: u64) -> Result<Batch> {
        let receiver = {
            let mut pending = self.pending.lock().expect("nothing panics in between");
            if pending.front().is_some_and(|(first, _)| *first != step) {
                // Not the next step: what was begun is of no use. Its senders find nobody listening.
                pending.clear();
            }
            let next = pending.back().map_or(step, |(last, _)| last + 1);
            for step in next..=step + self.prefetch as u64 {
                pending.push_back((step, self.begin(step)));
            }
            pending.pop_front().expect("the step was begun").1
        };
        receiver.recv().unwrap_or_else(|_| {
            let text = "a thread that decodes pictures was lost";
            Err(Error::Device(text.into()))
        })
    }

    /// The pictures of any draw, decoded now.
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
                // Nobody may be waiting any more.
                let _ = sender.send(decode(&set, &set.draw(step), device, &closed));
            }
        });
        receiver
    }
}

impl Drop for Streaming {
    /// Batches that are under way end at their next picture; the pool's threads follow.
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Decodes the pictures of a draw, one after the other: the threads share out whole batches.
fn decode(set: &Set, draw: &Draw, device: Device, closed: &AtomicBool) -> Result<Batch> {
    let [humans, worn, targets] = set.pictures(draw);
    let side = |pictures: Vec<(usize, &PictureDraw)>| match device {
        Device::Cpu if draw.colours.is_empty() => {
            let range = set.config.range();
            taken(set, &pictures, Kind::Float, closed, |byte| range.from_byte(byte))
        }
        Device::Cpu => taken(set, &pictures, Kind::Uint8, closed, |byte| byte),
        // From page-locked memory the copy to the device runs beside the computation there.
        _ => Ok(taken(set, &pictures, Kind::Uint8, closed, |byte| byte)?.f_pin_memory(device)?),
    };
    Ok([side(humans)?, side(worn)?, side(targets)?])
}

/// `T` is the type behind `kind`.
fn taken<T: Copy>(
    set: &Set,
    pictures: &[(usize, &PictureDraw)],
    kind: Kind,
    closed: &AtomicBool,
    value: impl Fn(u8) -> T,
) -> Result<Tensor> {
    let [h, w] = set.config.image_size;
    let batch = Tensor::empty([pictures.len() as i64, 3, h, w], (kind, Device::Cpu));
    // SAFETY: a contiguous tensor of that kind on the CPU, which nobody else has yet.
    let values = unsafe { std::slice::from_raw_parts_mut(batch.data_ptr().cast::<T>(), batch.numel()) };
    for ((file, draw), out) in pictures.iter().zip(values.chunks_exact_mut((3 * h * w) as usize)) {
        if closed.load(Ordering::Relaxed) {
            return Err(Error::Device("the loader was closed".into()));
        }
        let picture = set.files[*file].decode(&set.config)?;
        set.cut(&picture, draw, out, &value);
    }
    Ok(batch)
}
