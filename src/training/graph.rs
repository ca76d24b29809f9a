//! A step recorded as a CUDA graph and launched as a whole: at these networks' sizes a GPU computes faster than a host
//! can name operations to it one by one.

use std::fmt;
use std::sync::OnceLock;

use tch::Tensor;

use super::noise::Noise;
use super::step::{Models, Terms};
use crate::config::Config;
use crate::data::Triplet;
use crate::error::{Error, Result};

/// Steps that are taken one operation at a time before the recording, in which the device's libraries choose and
/// allocate.
const WARM: u32 = 3;

/// Who records. This crate links to no CUDA: the Python package has torch do it.
pub trait Capture: Send {
    /// Records what `step` gives the device to do, without doing it. What was recorded before is dropped.
    ///
    /// # Errors
    /// [`Error::Device`] for what a device can't record.
    fn record(&mut self, step: &mut (dyn FnMut() + Send)) -> Result<()>;

    /// Does what was recorded. `step` is the same again, for a capture without a device.
    ///
    /// # Errors
    /// [`Error::Device`] for what the device refuses.
    fn replay(&mut self, step: &mut (dyn FnMut() + Send)) -> Result<()>;
}

type Make = fn() -> Box<dyn Capture>;

static MAKE: OnceLock<Make> = OnceLock::new();

/// Says once for the process who records graphs where a config has `cuda_graph`.
pub fn set_capture(make: Make) {
    let _ = MAKE.set(make);
}

/// The recorded step and the memory it reads from and writes to.
struct Recorded {
    triplet: Triplet,
    terms: Option<Terms>,
    step: u64,
    /// What both rates are multiplied by, which lies in the graph as a number.
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
    /// [`Error::Device`] where nobody records.
    pub fn new() -> Result<Graph> {
        let make = MAKE.get().ok_or_else(|| {
            Error::Device("cuda_graph: expected somebody who records graphs, as the Python package does".into())
        })?;
        Ok(Graph::with(make()))
    }

    fn with(capture: Box<dyn Capture>) -> Graph {
        Graph { capture, recorded: None, taken: 0 }
    }

    /// As [`Models::step`]. The noise is another draw than that of steps without a graph, and as repeatable.
    ///
    /// # Errors
    /// [`Error::Device`] for a step that can't be recorded or launched.
    pub fn step(
        &mut self,
        models: &mut Models,
        config: &Config,
        triplet: &Triplet,
        noise: &mut Option<Noise>,
        step: u64,
    ) -> Result<Terms> {
        if self.taken < WARM {
            self.taken += 1;
            return Ok(models.step(config, triplet, noise, step));
        }
        let factor = models.factor(config, step);
        if let Some(noise) = noise {
            noise.reseed(step);
        }
        let mut recorded = match self.recorded.take() {
            Some(recorded) if recorded.factor == factor => recorded,
            // The first time, or the run went back and goes on at another rate.
            _ => {
                let mut triplet =
                    Triplet { human: triplet.human.copy(), worn: triplet.worn.copy(), target: triplet.target.copy() };
                let mut terms = None;
                self.capture.record(&mut || {
                    // Tensors go to another thread, but are not shared between two.
                    let triplet: &mut Triplet = &mut triplet;
                    terms = Some(models.step(config, triplet, noise, step));
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
            *terms = Some(models.step(config, place, noise, *then));
        })?;
        if let Some(noise) = noise {
            noise.seed_each_draw();
        }
        let done = terms.as_ref().expect("recorded or done");
        let terms = Terms {
            names: done.names.clone(),
            // The next launch writes there again.
            values: Tensor::copy(&done.values),
        };
        self.recorded = Some(recorded);
        Ok(terms)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Records nothing and does the step again, with the numbers that the host had at the recording.
    #[derive(Default)]
    pub struct Again {
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

    fn models(config: &Config) -> Models {
        Models::new(config, tch::Device::Cpu)
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

    /// Nothing in a step may depend on what the host knows of it but the pictures: a device would repeat it for ever.
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
            let (mut eager, mut launched) = (models(&config), models(&config));
            let again = Again::default();
            let recordings = again.recordings.clone();
            let mut graph = Graph::with(Box::new(again));
            let mut kept = Vec::new();
            for step in 0..8 {
                if step == 6 {
                    (eager.slowdown, launched.slowdown) = (0.5, 0.5);
                }
                let triplet = triplet(&config, step);
                let expected = eager.step(&config, &triplet, &mut None, step);
                let got = graph.step(&mut launched, &config, &triplet, &mut None, step).unwrap();
                assert_eq!(got.names, expected.names);
                kept.push((got.values, expected.values));
            }
            // Each step's terms stay its own.
            for (step, (got, expected)) in kept.iter().enumerate() {
                assert_eq!(got, expected, "step {step}");
            }
            let values = |models: &Models| models.generator_parameters.values.copy();
            assert_eq!(values(&eager), values(&launched));
            // Once, and once more at the other rate.
            assert_eq!(recordings.load(std::sync::atomic::Ordering::Relaxed), 2);
        }
    }

    #[test]
    fn without_somebody_who_records_it_is_refused() {
        let error = Graph::new().unwrap_err().to_string();
        assert!(error.contains("cuda_graph"), "{error}");
    }
}
