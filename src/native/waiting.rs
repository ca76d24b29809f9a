//! How libtorch's threads wait for each other on a machine that others use.
//!
//! libgomp's threads spin for milliseconds before they sleep. Beside another process the system may put two of them on
//! one core, where one spins while the other could work: a step takes ten times longer, or a hundred. libgomp spins for
//! a microsecond only while it has more threads than there are cores. So a thread looks at how long the others wait for
//! a core during a computation. If that is long, it makes more threads for libgomp, which sleep. No result of a computation
//! alone changes; while several are under way it makes none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Once, OnceLock};
use std::thread::{Builder, Thread, park, sleep};
use std::time::{Duration, Instant};
use std::{env, fs};

use super::shim::{cagan_openmp_team, openmp_processors};

/// A computation under way.
pub struct Computing(());

/// What is under way now.
static COMPUTATIONS: AtomicUsize = AtomicUsize::new(0);
/// All that ever began.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
/// The number of libtorch's threads that the last one computes with.
static THREADS: AtomicUsize = AtomicUsize::new(1);
static WATCH: OnceLock<Thread> = OnceLock::new();
/// The cores that libgomp counts; it does so once.
static CORES: OnceLock<usize> = OnceLock::new();

/// The time between two looks.
const PERIOD: Duration = Duration::from_millis(100);
/// The seconds that all threads wait for a core in a second, from which on they must not spin. Quiet machines have .1,
/// and one busy process makes it .5 to 1.
const LONG: f64 = 0.3;
/// The time with short spins, after which one period with long ones tells whether the machine is still busy. It doubles
/// each time that it is, up to the second.
const SHORT_SPINS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(8)];
/// Looks without a computation, after which the watch sleeps.
const IDLE: usize = 10;

impl Computing {
    /// Begins one that ends when the value is dropped. A process that starts no threads is not watched.
    pub fn begin(alone: bool) -> Self {
        let first = COMPUTATIONS.fetch_add(1, Relaxed) == 0;
        BEGUN.fetch_add(1, Relaxed);
        // One inside another may be on a thread of libtorch's.
        if first && !alone {
            compute_with(tch::get_num_threads().max(1) as usize);
            start();
        }
        Computing(())
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        COMPUTATIONS.fetch_sub(1, Relaxed);
    }
}

/// Notes the number of threads of the computation under way.
pub fn compute_with(threads: usize) {
    THREADS.store(threads.max(1), Relaxed);
}

/// Starts the watch, or wakes it up. Where the user chose how threads wait, nothing watches.
fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let chosen = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"].iter().any(|name| env::var_os(name).is_some());
        if chosen || !cfg!(target_os = "linux") || waits().is_empty() {
            return;
        }
        CORES.get_or_init(openmp_processors);
        // Without a thread for it, all stays as libgomp does it.
        if let Ok(watch) = Builder::new().name("cagan-watch".into()).spawn(watch) {
            let _ = WATCH.set(watch.thread().clone());
        }
    });
    if let Some(watch) = WATCH.get() {
        // A token and a look at an atomic unless it sleeps.
        watch.unpark();
    }
}

fn watch() {
    let mut sleepers: Option<Sleepers> = None;
    let mut idle = 0;
    let mut begun = 0;
    let mut short = SHORT_SPINS[0];
    let mut before = waits();
    let mut seen = Instant::now();
    loop {
        sleep(PERIOD);
        let now = BEGUN.load(Relaxed);
        idle = if now == begun && COMPUTATIONS.load(Relaxed) == 0 { idle + 1 } else { 0 };
        begun = now;
        if idle >= IDLE {
            sleepers = None;
            park();
            idle = 0;
            (before, seen) = (waits(), Instant::now());
            continue;
        }
        if let Some(made) = &sleepers {
            if made.since.elapsed() >= short {
                sleepers = None;
                short = (2 * short).min(SHORT_SPINS[1]);
                (before, seen) = (waits(), Instant::now());
            }
            continue;
        }
        let after = waits();
        let share = waited(&before, &after).as_secs_f64() / seen.elapsed().as_secs_f64();
        (before, seen) = (after, Instant::now());
        if share < LONG {
            short = SHORT_SPINS[0];
        } else if idle == 0 && COMPUTATIONS.load(Relaxed) == 1 {
            // Two at once have more threads than cores by themselves, and beside sleepers one may get other last bits.
            sleepers = Sleepers::make(THREADS.load(Relaxed));
        }
    }
}

/// The time that each thread of this process waited for a core so far; empty where the system does not say.
fn waits() -> HashMap<String, Duration> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |folder: fs::DirEntry| {
        let text = fs::read_to_string(folder.path().join("schedstat")).ok()?;
        let wait = text.split(' ').nth(1)?.parse().ok()?;
        Some((folder.file_name().into_string().ok()?, Duration::from_nanos(wait)))
    };
    threads.filter_map(of).collect()
}

/// The time that the threads which were there before waited since then.
fn waited(before: &HashMap<String, Duration>, after: &HashMap<String, Duration>) -> Duration {
    after.iter().filter_map(|(thread, time)| Some(time.saturating_sub(*before.get(thread)?))).sum()
}

/// Threads of libgomp that sleep. Those of a thread of ours end with it.
struct Sleepers {
    since: Instant,
    // Dropped, it ends the thread.
    _end: Sender<()>,
}

impl Sleepers {
    /// Makes as many as let libgomp have more threads than cores, beside a computation with `threads`.
    fn make(threads: usize) -> Option<Self> {
        let cores = CORES.get().copied().unwrap_or(0);
        // Alone it waits for none; more than the cores spin for a short time as it is.
        if threads < 2 || threads > cores {
            return None;
        }
        let (end, ended) = channel();
        let hold = move || {
            // SAFETY: the function has no conditions.
            unsafe { cagan_openmp_team((cores - threads + 2) as i32) };
            let _ = ended.recv();
        };
        Builder::new().name("cagan-sleep".into()).spawn(hold).ok()?;
        Some(Sleepers { since: Instant::now(), _end: end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_that_were_there_before_count() {
        let times = |pairs: &[(&str, u64)]| -> HashMap<String, Duration> {
            pairs.iter().map(|(name, time)| ((*name).to_owned(), Duration::from_millis(*time))).collect()
        };
        let before = times(&[("1", 10), ("2", 500), ("3", 7)]);
        // 1 waited for 5 ms, 2 ended, 3 did not wait, 4 is new.
        let after = times(&[("1", 15), ("3", 7), ("4", 80)]);
        assert_eq!(waited(&before, &after), Duration::from_millis(5));
    }
}
