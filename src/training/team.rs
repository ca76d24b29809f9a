//! The processes that train one run together: torch.distributed connects them, each computes its rows of every batch.
//!
//! ```text
//! gradient    sum over processes r of rows_r / batch * gradient_r       once for each network and step
//! whole(s)    rows_r / batch * sum over processes of s                  the sums that a loss divides by
//! terms       as the gradient, once for each report
//! a turn      whether a process stops, fails, is late or gets no better: all end at the same step
//! ```
//!
//! All processes make the same calls in the same order, the one rule of torch.distributed. A call that fails ends the
//! connection: [`Team::is_lost`], and no later call waits for anybody.

use std::sync::{Arc, Mutex, PoisonError};

use tch::{Cuda, Device, Kind, Tensor};

use crate::config::Config;
use crate::data::{Crew, Share, agreed};
use crate::error::{Error, Result};
use crate::native::{all_reduce, broadcast};

/// Where a process is among the others, as torch.distributed says.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The number of the process, from 0.
    pub rank: usize,
    /// The number of processes.
    pub world: usize,
    /// The number of the process on its machine.
    pub local_rank: usize,
    /// The number of processes on its machine.
    pub local_world: usize,
    /// The name of the group that adds up tensors of the training device.
    pub group: String,
    /// The name of the group that adds up tensors of the CPU.
    pub control: String,
}

#[derive(Debug)]
struct Joined {
    seat: Seat,
    /// The first failure of a call.
    lost: Mutex<Option<String>>,
    /// The words on this process's stop.
    why: Mutex<String>,
}

/// The processes of a run, or one alone, for which every call changes nothing.
#[derive(Clone, Debug)]
pub struct Team {
    joined: Option<Arc<Joined>>,
    /// The share of the batch's rows.
    part: f64,
}

/// What a process knows at the beginning of a turn, or all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The time limit is reached.
    pub late: bool,
    /// The score did not improve for too long.
    pub no_better: bool,
}

impl Team {
    /// A process alone.
    pub fn alone() -> Team {
        Team { joined: None, part: 1.0 }
    }

    /// The processes of a group of torch.distributed.
    pub fn of(seat: Seat) -> Team {
        let part = 1.0 / seat.world as f64;
        let joined = (seat.world > 1).then(|| Joined { seat, lost: Mutex::default(), why: Mutex::default() });
        Team { joined: joined.map(Arc::new), part }
    }

    /// The same processes, for batches of `batch` rows in all.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer rows than processes.
    pub(super) fn for_batch(&self, batch: usize) -> Result<Team> {
        let share = self.share();
        if share.world > batch {
            let rule = format!("at least one picture for each of {} processes", share.world);
            return Err(Error::setting("batch_size", rule, batch));
        }
        Ok(Team { joined: self.joined.clone(), part: share.rows(batch).len() as f64 / batch as f64 })
    }

    /// Returns the first process's settings, but for the device, which is that of each process.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(super) fn first_config(&self, own: Config) -> Result<Config> {
        if self.is_alone() {
            return Ok(own);
        }
        let device = own.device.clone();
        let text = self.first_text(own.to_json())?;
        let mut settings: serde_json::Value = serde_json::from_str(&text).expect("the text of a config");
        settings["device"] = device.into();
        Config::from_json(&settings.to_string())
    }

    /// Whether there is one process.
    pub fn is_alone(&self) -> bool {
        self.joined.is_none()
    }

    /// Whether this process writes the run's files and calls its observer.
    pub fn is_first(&self) -> bool {
        self.joined.as_ref().is_none_or(|joined| joined.seat.rank == 0)
    }

    /// Whether a call failed: the processes are not at one step any more.
    pub fn is_lost(&self) -> bool {
        self.joined.as_ref().is_some_and(|joined| joined.lost().is_some())
    }

    /// The device of a config: of several CUDA devices each process of a machine gets its own.
    ///
    /// # Errors
    /// As [`Config::torch_device`]; [`Error::Setting`] for one device for several processes; [`Error::Device`] for fewer
    /// devices than processes.
    pub fn device(&self, config: &Config) -> Result<Device> {
        let device = config.torch_device()?;
        let Some(Joined { seat: Seat { local_rank, local_world, .. }, .. }) = self.joined.as_deref() else {
            return Ok(device);
        };
        match device {
            Device::Cuda(_) if config.device.contains(':') && *local_world > 1 => {
                let rule = format!("auto, cuda or cpu for {local_world} processes on a machine");
                Err(Error::setting("device", rule, format!("`{}`", config.device)))
            }
            Device::Cuda(_) if !config.device.contains(':') => match Cuda::device_count() {
                // A scheduler shows each process its own device alone.
                1 => Ok(Device::Cuda(0)),
                count if count as usize > *local_rank => Ok(Device::Cuda(*local_rank)),
                count => Err(Error::Device(format!(
                    "expected a CUDA device for each of {local_world} processes on this machine, but libtorch finds {count}"
                ))),
            },
            device => Ok(device),
        }
    }

    /// The number of libtorch's threads, 0 for its own: processes of a machine share its cores unless the config has a
    /// number.
    pub fn threads(&self, config: &Config) -> usize {
        let here = self.share().here;
        match config.threads {
            0 if here > 1 => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                (cores / here).clamp(1, tch::get_num_threads().max(1) as usize)
            }
            threads => threads,
        }
    }

    /// Sets the words that the other processes get if this one stops.
    pub fn stops(&self, why: impl Into<String>) {
        if let Some(joined) = &self.joined {
            *joined.why.lock().unwrap_or_else(PoisonError::into_inner) = why.into();
        }
    }

    /// Leaves the others, who wait for this process in a step that it cannot finish: no later call waits for them. They
    /// notice when the process ends.
    pub(super) fn leave(&self, why: &str) {
        if let Some(joined) = &self.joined {
            joined.lost().get_or_insert_with(|| why.into());
        }
    }

    /// Averages a gradient over the batch: that of each process is a mean over its own rows.
    ///
    /// # Errors
    /// [`Error::Lost`], also for an earlier call of this step.
    pub(super) fn average(&self, mean: &mut Tensor) -> Result<()> {
        let Some(joined) = &self.joined else { return Ok(()) };
        tch::no_grad(|| {
            let _ = mean.g_mul_scalar_(self.part);
            joined.sum(mean)
        })
    }

    /// Returns the part of a sum over the whole batch that belongs to this process's rows, without a gradient: a loss
    /// that divides by it is a mean over the whole batch once the gradients are averaged. A failure shows in
    /// [`Team::average`].
    pub(super) fn whole(&self, sum: Tensor) -> Tensor {
        let Some(joined) = &self.joined else { return sum };
        tch::no_grad(|| {
            let sum = sum.detach().copy();
            drop(joined.sum(&sum));
            sum * self.part
        })
    }

    /// Returns for each row the one before it in the whole batch, and for the first the last. The rows hold 0 and 1. A
    /// failure shows in [`Team::average`].
    ///
    /// # Shapes
    /// `[N, ...]`. Returns the same.
    pub(super) fn before(&self, rows: &Tensor) -> Tensor {
        let Some(joined) = &self.joined else { return rows.roll([1], [0]) };
        let Seat { rank, world, .. } = joined.seat;
        tch::no_grad(|| {
            let (mut size, count) = (rows.size(), rows.size()[0]);
            size[0] = world as i64;
            let last = Tensor::zeros(&size[..], (Kind::Uint8, rows.device()));
            last.get(rank as i64).copy_(&rows.get(count - 1));
            drop(joined.sum(&last));
            let first = last.narrow(0, ((rank + world - 1) % world) as i64, 1).to_kind(rows.kind());
            Tensor::cat(&[first, rows.narrow(0, 0, count - 1)], 0)
        })
    }

    /// Adds up what all processes know, and tells them of this one's trouble.
    ///
    /// # Errors
    /// As [`Crew::hear`].
    pub(super) fn turn(&self, own: Signs, trouble: Option<&str>) -> Result<Signs> {
        let Some(joined) = &self.joined else { return Ok(own) };
        joined.turn(own, trouble)
    }

    /// Returns this process's own error, or that of another one, which all processes then return.
    ///
    /// # Errors
    /// As said; [`Error::Lost`].
    pub(super) fn agreed<T>(&self, own: Result<T>) -> Result<T> {
        agreed(self, own)
    }

    /// Copies a tensor of the first process to the others, in place.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(super) fn copy_first(&self, tensor: &Tensor) -> Result<()> {
        let Some(joined) = &self.joined else { return Ok(()) };
        joined.call(|| broadcast(tensor, 0, joined.group(tensor)))
    }

    /// Returns the first process's numbers.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(super) fn first_numbers<const N: usize>(&self, own: [f64; N]) -> Result<[f64; N]> {
        let numbers = Tensor::from_slice(&own);
        self.copy_first(&numbers)?;
        Ok(std::array::from_fn(|k| numbers.double_value(&[k as i64])))
    }

    /// Returns the first process's text.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(super) fn first_text(&self, own: String) -> Result<String> {
        let Some(joined) = &self.joined else { return Ok(own) };
        let [length] = self.first_numbers([own.len() as f64])?;
        joined.text(0, &own, length as usize)
    }
}

impl Crew for Team {
    fn share(&self) -> Share {
        match self.joined.as_deref() {
            None => Share::WHOLE,
            Some(Joined { seat: Seat { rank, world, local_world, .. }, .. }) => {
                Share { rank: *rank, world: *world, here: *local_world }
            }
        }
    }

    fn sum(&self, values: &Tensor) -> Result<()> {
        self.joined.as_ref().map_or(Ok(()), |joined| joined.sum(values))
    }

    fn hear(&self, trouble: Option<&str>) -> Result<()> {
        self.turn(Signs::default(), trouble).map(drop)
    }

    fn why_stopped(&self) -> String {
        let why = self.joined.as_ref().map(|joined| joined.why.lock().unwrap_or_else(PoisonError::into_inner).clone());
        why.filter(|why| !why.is_empty()).unwrap_or_else(|| "was stopped".into())
    }
}

impl Joined {
    fn lost(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group(&self, tensor: &Tensor) -> &str {
        match tensor.device() {
            Device::Cpu => &self.seat.control,
            _ => &self.seat.group,
        }
    }

    /// Makes a call of the group, unless one has failed.
    fn call(&self, call: impl FnOnce() -> std::result::Result<(), String>) -> Result<()> {
        if let Some(text) = &*self.lost() {
            return Err(Error::Lost(text.clone()));
        }
        // Not under the lock: a call may wait for minutes.
        call().map_err(|text| {
            self.lost().get_or_insert_with(|| text.clone());
            Error::Lost(text)
        })
    }

    fn sum(&self, values: &Tensor) -> Result<()> {
        self.call(|| all_reduce(values, self.group(values)))
    }

    fn turn(&self, own: Signs, trouble: Option<&str>) -> Result<Signs> {
        /// The bytes of a message that others get.
        const MOST: usize = 4000;
        let Seat { rank, world, .. } = self.seat;
        let end = |words: &str| (0..=MOST.min(words.len())).rev().find(|&end| words.is_char_boundary(end));
        let words = trouble.map(|words| &words[..end(words).unwrap_or(0)]);
        // Both signs, then each process's message by its length and one.
        let mut numbers = vec![0i64; 2 + world];
        (numbers[0], numbers[1]) = (own.late.into(), own.no_better.into());
        numbers[2 + rank] = words.map_or(0, |words| words.len() as i64 + 1);
        let numbers = Tensor::from_slice(&numbers);
        self.sum(&numbers)?;
        let numbers = Vec::<i64>::try_from(numbers)?;
        if let Some(from) = numbers[2..].iter().position(|&length| length > 0) {
            let message = self.text(from, words.unwrap_or_default(), numbers[2 + from] as usize - 1)?;
            if words.is_none() {
                return Err(Error::Peer { rank: from, world, message });
            }
        }
        Ok(Signs { late: numbers[0] > 0, no_better: numbers[1] > 0 })
    }

    /// Returns a text of the process `from`, whose length all know.
    fn text(&self, from: usize, own: &str, length: usize) -> Result<String> {
        if length == 0 {
            return Ok(String::new());
        }
        let mut bytes = vec![0u8; length];
        if from == self.seat.rank {
            bytes.copy_from_slice(own.as_bytes());
        }
        let bytes = Tensor::from_slice(&bytes);
        self.call(|| broadcast(&bytes, from, &self.seat.control))?;
        Ok(String::from_utf8_lossy(&Vec::<u8>::try_from(bytes)?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_alone_changes_nothing() {
        let team = Team::alone();
        let values = Tensor::from_slice(&[0f32, 1.0, 1.0]).reshape([3, 1]);
        assert_eq!(team.before(&values), Tensor::from_slice(&[1f32, 0.0, 1.0]).reshape([3, 1]));
        assert_eq!(team.whole(values.shallow_clone()), values);
        assert!(team.turn(Signs { late: true, no_better: false }, Some("trouble")).unwrap().late);
        assert_eq!(team.first_text("a".into()).unwrap(), "a");
    }

    #[test]
    fn a_lost_connection_is_an_error_at_each_call_and_nobody_is_waited_for() {
        let (group, control) = ("no group".to_owned(), "no group".to_owned());
        let seat = Seat { rank: 0, world: 2, local_rank: 0, local_world: 2, group, control };
        let error = Team::of(seat.clone()).for_batch(1).unwrap_err().to_string();
        assert_eq!(error, "batch_size: expected at least one picture for each of 2 processes, got 1");
        let team = Team::of(seat).for_batch(5).unwrap();
        assert_eq!((team.part, team.share().rows(5)), (0.4, 0..2));
        assert!(!team.is_lost());
        // A loss goes on with its own sum; the gradient has the error.
        let sum = team.whole(Tensor::from_slice(&[5f32]));
        assert_eq!(sum.double_value(&[0]), 2.0);
        assert!(team.is_lost());
        let error = team.average(&mut Tensor::from_slice(&[1f32])).unwrap_err();
        assert!(matches!(&error, Error::Lost(text) if text.contains("no group")), "{error}");
        assert!(matches!(team.agreed(Ok(())), Err(Error::Lost(_))));
        let own = team.agreed::<()>(Err(Error::Torn)).unwrap_err();
        assert!(matches!(own, Error::Torn));
    }
}
