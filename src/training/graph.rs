//! A step that is recorded as a CUDA graph and launched as a whole: at these networks' sizes a GPU computes faster than
//! a host launches operations one by one.

use std::fmt;
use std::sync::OnceLock;

use tch::Tensor;

use super::models::{Method, Models, Terms};
use crate::config::Config;
use crate::data::Triplet;
use crate::error::{Error, Result};

/// Steps without a graph before the recording: the device's libraries choose algorithms and allocate in them.
const WARM: u32 = 3;

/// Records and launches. This crate does not link to CUDA: the Python package lets torch do it.
pub trait Capture: Send {
    /// Records the device's operations in `step` without running them. Drops the previous recording.
    ///
    /// # Errors
    /// [`Error::Device`] for operations that the device cannot record.
    fn record(&mut self, step: &mut (dyn FnMut() + Send)) -> Result<()>;

    /// Runs the recording. `step` is the same again, for a capture without a device.
    ///
    /// # Errors
    /// [`Error::Device`] if the launch fails.
    fn replay(&mut self, step: &mut (dyn FnMut() + Send)) -> Result<()>;
}

type Make = fn() -> Box<dyn Capture>;

static MAKE: OnceLock<Make> = OnceLock::new();

/// Sets, once for the process, the capture of configs with `cuda_graph`.
pub fn set_capture(make: Make) {
    let _ = MAKE.set(make);
}

/// The recorded step and the memory it reads from and writes to.
struct Recorded {
    triplet: Triplet,
    terms: Option<Terms>,
    step: u64,
    /// The factor of both learning rates, which the graph holds as a constant.
    factor: f64,
}

/// A step that is recorded once and then launched.
pub struct Graph {
    capture: Box<dyn Capture>,
    recorded: Option<Recorded>,
    taken: u32,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

impl Graph {
    /// # Errors
    /// [`Error::Device`] if [`set_capture`] was not called.
    pub fn new() -> Result<Graph> {
        let make = MAKE.get().ok_or_else(|| {
            Error::Device("cuda_graph: expected a program that records graphs, as the Python package does".into())
        })?;
        Ok(Graph::with(make()))
    }

    fn with(capture: Box<dyn Capture>) -> Graph {
        Graph { capture, recorded: None, taken: 0 }
    }

    /// As [`Method::step`]. Its noise differs from that of steps without a graph, and is as repeatable.
    ///
    /// # Errors
    /// [`Error::Device`] if the step cannot be recorded or launched.
    pub fn step(
        &mut self,
        method: &mut dyn Method,
        models: &mut Models,
        config: &Config,
        triplet: &Triplet,
        step: u64,
    ) -> Result<Terms> {
        if self.taken < WARM {
            self.taken += 1;
            return Ok(method.step(models, config, triplet, step));
        }
        let factor = models.factor(config, step);
        if let Some(noise) = method.noise() {
            noise.reseed(step);
        }
        let mut recorded = match self.recorded.take() {
            Some(recorded) if recorded.factor == factor => recorded,
            // Nothing is recorded yet, or the rate has changed since.
            _ => {
                let mut triplet =
                    Triplet { human: triplet.human.copy(), worn: triplet.worn.copy(), target: triplet.target.copy() };
                let mut terms = None;
                self.capture.record(&mut || {
                    // The closure must be `Send`, and `&Triplet` is not: tensors are not `Sync`.
                    let triplet: &mut Triplet = &mut triplet;
                    terms = Some(method.step(models, config, triplet, step));
                })?;
                Recorded { triplet, terms, step, factor }
            }
        };
        let Recorded { triplet: place, terms, step: then, .. } = &mut recorded;
        place.human.copy_(&triplet.human);
        place.worn.copy_(&triplet.worn);
        place.target.copy_(&triplet.target);
        self.capture.replay(&mut || {
            let place: &mut Triplet = &mut *place;
            *terms = Some(method.step(models, config, place, *then));
        })?;
        if let Some(noise) = method.noise() {
            noise.seed_each_draw();
        }
        let done = terms.as_ref().expect("recorded or done");
        let terms = Terms {
            names: done.names.clone(),
            // The next launch overwrites the original.
            values: Tensor::copy(&done.values),
        };
        self.recorded = Some(recorded);
        Ok(terms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::method;
    use super::*;

    /// Records nothing and repeats the step, with the numbers that the host had at the recording.
    #[derive(Default)]
    struct Again {
        recordings: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Capture for Again {
        fn record(&mut self, _: &mut (dyn FnMut() + Send)) -> Result<()> {
            self.recordings.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }

        fn replay(&mut self, step: &mut (dyn FnMut() + Send)) -> Result<()> {
            step();
            Ok(())
        }
    }

    fn triplet(config: &Config, number: u64) -> Triplet {
        let [h, w] = config.image_size;
        let picture = |purpose| {
            let mut t = Tensor::zeros([config.batch_size as i64, 3, h, w], (tch::Kind::Float, tch::Device::Cpu));
            crate::random::fill_normal(&mut t, 0.3, 0, purpose, number);
            t.clamp(-1.0, 1.0)
        };
        Triplet { human: picture("human"), worn: picture("worn"), target: picture("target") }
    }

    /// Only the pictures of a step may come from the host: a device would repeat any other number for ever.
    #[test]
    fn a_step_repeated_with_the_numbers_of_its_recording_is_the_step() {
        for settings in [
            serde_json::json!({}),
            serde_json::json!({"discriminator_spectral_norm": true, "gradient_clip": 1.0}),
            serde_json::json!({"precision": "bf16", "self_swap_weight": 1.0, "feature_weight": 1.0}),
        ] {
            let mut settings = settings;
            settings["image_size"] = 32.into();
            settings["width"] = 16.into();
            settings["batch_size"] = 2.into();
            settings["cuda_graph"] = true.into();
            let config = Config::with(crate::config::Preset::Paper, settings).unwrap();
            let [(mut eager, mut eager_models), (mut launched, mut launched_models)] =
                [0, 1].map(|_| method(&config, tch::Device::Cpu));
            let again = Again::default();
            let recordings = again.recordings.clone();
            let mut graph = Graph::with(Box::new(again));
            let mut kept = Vec::new();
            for step in 0..8 {
                if step == 6 {
                    (eager_models.slowdown, launched_models.slowdown) = (0.5, 0.5);
                }
                let triplet = triplet(&config, step);
                let expected = eager.step(&mut eager_models, &config, &triplet, step);
                let got = graph.step(&mut *launched, &mut launched_models, &config, &triplet, step).unwrap();
                assert_eq!(got.names, expected.names);
                kept.push((got.values, expected.values));
            }
            // Later steps do not overwrite the terms of earlier ones.
            for (step, (got, expected)) in kept.iter().enumerate() {
                assert_eq!(got, expected, "step {step}");
            }
            assert_eq!(eager_models.generator.parameters.values, launched_models.generator.parameters.values);
            // One recording at each rate.
            assert_eq!(recordings.load(std::sync::atomic::Ordering::Relaxed), 2);
        }
    }

    #[test]
    fn without_a_capture_it_fails() {
        let error = Graph::new().unwrap_err().to_string();
        assert!(error.contains("cuda_graph"), "{error}");
    }
}
