//! A step that is recorded as a CUDA graph and launched as a whole: at these networks' sizes a GPU computes faster than
//! a host launches operations one by one.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use tch::Device;

use super::models::{Method, Models, Terms};
use crate::config::Config;
use crate::data::Triplet;
use crate::error::{Error, Result};
use crate::native::{isolated, try_convolutions};

/// Steps without a graph before the recording: the device's libraries choose algorithms and allocate in them.
const WARM: u32 = 3;

/// Records and launches. This crate does not link to CUDA: the Python package lets torch do it.
pub trait Capture: Send {
    /// Records the device's operations in `step` without running them. Drops the previous recording.
    ///
    /// # Errors
    /// [`Error::Device`] for operations that the device cannot record; the error of `step`.
    fn record(&mut self, step: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()>;

    /// Runs the recording. `step` is the same again, for a capture without a device.
    ///
    /// # Errors
    /// [`Error::Device`] if the launch fails; the error of `step`.
    fn replay(&mut self, step: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()>;
}

type Make = fn(Device) -> Box<dyn Capture>;

static MAKE: OnceLock<Make> = OnceLock::new();

/// Sets, once for the process, what makes the capture of a device for configs with `cuda_graph`.
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
    pub fn new(device: Device) -> Result<Graph> {
        let make = MAKE.get().ok_or_else(|| {
            Error::Device("cuda_graph: expected a program that records graphs, as the Python package does".into())
        })?;
        Ok(Graph::with(make(device)))
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
            return method.step(models, config, triplet, step);
        }
        let _lent = method.noise().map(|noise| noise.lent(step));
        let seed_each_draw = |method: &mut dyn Method, seeded| method.noise().map(|noise| noise.seed_each_draw(seeded));
        seed_each_draw(method, false);
        // Also a panic leads past the next line.
        let done = isolated(|| self.launch(method, models, config, triplet, step));
        seed_each_draw(method, true);
        done
    }

    /// Records the step if it must, and launches it.
    fn launch(
        &mut self,
        method: &mut dyn Method,
        models: &mut Models,
        config: &Config,
        triplet: &Triplet,
        step: u64,
    ) -> Result<Terms> {
        let factor = models.factor(config, step);
        let (mut recorded, new) = match self.recorded.take() {
            Some(recorded) if recorded.factor == factor => (recorded, false),
            // Nothing is recorded yet, or the rate has changed since.
            _ => {
                let mut triplet =
                    Triplet { human: triplet.human.copy(), worn: triplet.worn.copy(), target: triplet.target.copy() };
                let mut terms = None;
                // The steps before have tried them. A trial would launch and wait, which no recording can.
                try_convolutions(false);
                self.capture.record(&mut || {
                    // The closure must be `Send`, and `&Triplet` is not: tensors are not `Sync`.
                    let triplet: &mut Triplet = &mut triplet;
                    terms = Some(method.step(models, config, triplet, step)?);
                    Ok(())
                })?;
                (Recorded { triplet, terms, step, factor }, true)
            }
        };
        let Recorded { triplet: place, terms, step: then, .. } = &mut recorded;
        place.human.copy_(&triplet.human);
        place.worn.copy_(&triplet.worn);
        place.target.copy_(&triplet.target);
        // The next launch overwrites the original. Made before the launch: nothing may fail after it.
        let kept = terms.as_ref().map(|terms| terms.values.empty_like());
        let updates = new.then(|| models.generator.adam.steps());
        self.capture.replay(&mut || {
            let place: &mut Triplet = &mut *place;
            *terms = Some(method.step(models, config, place, *then)?);
            Ok(())
        })?;
        // A recording of another device or stream is empty.
        if updates.is_some_and(|updates| models.generator.adam.steps() != updates + 1) {
            let text = "the step's CUDA graph is empty: it does not update the networks; train with cuda_graph=False";
            return Err(Error::Device(text.into()));
        }
        let done = terms.as_ref().expect("recorded or done");
        let mut values = kept.unwrap_or_else(|| done.values.empty_like());
        values.copy_(&done.values);
        let terms = Terms { names: done.names.clone(), values, registration: Duration::ZERO };
        self.recorded = Some(recorded);
        Ok(terms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::method;
    use super::super::team::Team;
    use super::*;
    use tch::Tensor;

    /// Records nothing and repeats the step, with the numbers that the host had at the recording.
    #[derive(Default)]
    struct Again {
        recordings: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Capture for Again {
        fn record(&mut self, _: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
            self.recordings.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }

        fn replay(&mut self, step: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
            step()
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
            let config = small(settings);
            let [(mut eager, mut eager_models), (mut launched, mut launched_models)] =
                [0, 1].map(|_| method(&config, tch::Device::Cpu, &Team::alone()));
            let again = Again::default();
            let recordings = again.recordings.clone();
            let mut graph = Graph::with(Box::new(again));
            let mut kept = Vec::new();
            for step in 0..8 {
                if step == 6 {
                    (eager_models.slowdown, launched_models.slowdown) = (0.5, 0.5);
                }
                let triplet = triplet(&config, step);
                let expected = eager.step(&mut eager_models, &config, &triplet, step).unwrap();
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

    /// Records and launches nothing, as torch does for a device on which the step did not run.
    struct Empty;

    impl Capture for Empty {
        fn record(&mut self, _: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
            Ok(())
        }

        fn replay(&mut self, _: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
            Ok(())
        }
    }

    fn small(settings: serde_json::Value) -> Config {
        let mut settings = settings;
        settings["image_size"] = 32.into();
        settings["width"] = 16.into();
        settings["batch_size"] = 2.into();
        settings["cuda_graph"] = true.into();
        Config::with(crate::config::Preset::Paper, settings).unwrap()
    }

    #[test]
    fn an_empty_graph_fails() {
        let config = small(serde_json::json!({}));
        let (mut method, mut models) = method(&config, tch::Device::Cpu, &Team::alone());
        let mut graph = Graph::with(Box::new(Empty));
        let mut step = |step| graph.step(&mut *method, &mut models, &config, &triplet(&config, step), step);
        (0..3).for_each(|k| drop(step(k).unwrap()));
        let error = step(3).unwrap_err().to_string();
        assert!(error.contains("the step's CUDA graph is empty"), "{error}");
    }

    #[test]
    fn the_processs_generator_is_lent_for_a_step() {
        let config = small(serde_json::json!({"discriminator_noise": 0.1}));
        let (mut method, mut models) = method(&config, tch::Device::Cpu, &Team::alone());
        let mut graph = Graph::with(Box::new(Again::default()));
        let draw = || Tensor::randn([5], (tch::Kind::Float, tch::Device::Cpu));
        let like = Tensor::zeros([5], (tch::Kind::Float, tch::Device::Cpu));
        let state = crate::native::LentGenerator::seeded(&like, 5);
        let expected = draw();
        drop(state);
        let _state = crate::native::LentGenerator::seeded(&like, 5);
        for step in 0..5 {
            graph.step(&mut *method, &mut models, &config, &triplet(&config, step), step).unwrap();
        }
        assert_eq!(draw(), expected);
    }

    #[test]
    fn without_a_capture_it_fails() {
        let error = Graph::new(tch::Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("cuda_graph"), "{error}");
    }
}
