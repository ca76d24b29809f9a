//! Models, data and the step counter of a run, without its folder.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use super::augment::Augment;
use super::ema::Ema;
use super::erasure::Erasures;
use super::graph::Graph;
use super::monitor::{Look, Monitor};
use super::noise::{Noise, Pass, reverse_noise};
use super::step::{Models, Terms};
use crate::config::{Architecture, Config};
use crate::data::{Loader, Pairs, Plan, Triplet};
use crate::error::{Error, Result};
use crate::native::keep_memory;
use crate::networks::{Parameters, Swap, use_precision};

/// Everything that a step needs.
#[derive(Debug)]
pub struct Trainer {
    pub config: Config,
    pub device: Device,
    pub data: Loader,
    pub models: Models,
    /// Updates done so far.
    pub step: u64,
    pub ema: Option<Ema>,
    pub monitor: Option<Monitor>,
    noise: Option<Noise>,
    graph: Option<Graph>,
}

impl Trainer {
    /// Decodes the pairs and initialises the networks.
    ///
    /// # Errors
    /// A device that is not there, and what [`Loader::open`] refuses.
    pub fn new(pairs: &Pairs, config: Config) -> Result<Trainer> {
        let trainer = Self::watched(pairs, config, &mut |_, _| true)?;
        Ok(trainer.expect("nobody stops it"))
    }

    /// As [`Trainer::new`], with `progress` told of the pictures that are decoded, as [`Loader::open`] does; none after
    /// it said no.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn watched(
        pairs: &Pairs,
        config: Config,
        progress: &mut dyn FnMut(&Plan, usize) -> bool,
    ) -> Result<Option<Trainer>> {
        let device = config.torch_device()?;
        if config.threads > 0 {
            tch::set_num_threads(config.threads as i32);
        }
        if device == Device::Cpu {
            keep_memory();
        }
        if config.cuda_graph && !device.is_cuda() {
            return Err(Error::setting("cuda_graph", "false on a CPU", true));
        }
        let graph = config.cuda_graph.then(Graph::new).transpose()?;
        let Some(data) = Loader::open(pairs, &config, device, progress)? else {
            return Ok(None);
        };
        let models = Models::new(&config, device);
        let mut trainer = Trainer {
            data,
            monitor: None,
            ema: Ema::new(&models.generator_parameters.values, &config),
            models,
            noise: Noise::new(&config, device),
            graph,
            step: 0,
            config,
            device,
        };
        if trainer.config.monitor_every > 0 {
            trainer.monitor = Some(Monitor::new(&trainer));
        }
        Ok(Some(trainer))
    }

    pub fn images_seen(&self) -> u64 {
        self.step * self.config.batch_size as u64
    }

    pub fn total_steps(&self) -> u64 {
        self.config.total_steps(self.data.len())
    }

    /// The pictures that a step takes.
    ///
    /// # Errors
    /// Where pictures stream, one that cannot be decoded any more.
    pub fn triplet(&self, step: u64) -> Result<Triplet> {
        self.data.triplet(step)
    }

    /// A copy of the discriminator's noise in a pass of a step, empty where the config has none.
    pub fn noise(&mut self, pass: Pass, step: u64) -> Vec<Tensor> {
        let Some(noise) = &mut self.noise else {
            return Vec::new();
        };
        noise.draw(pass, step).iter().map(Tensor::copy).collect()
    }

    /// What else a step draws at random, by name, as far as the config has it: `reverse`, the noise that the detached
    /// way back sees, `[N, 3, H, W]`; `augment/discriminator`, `[3 N, 11]`, and `augment/generator`, `[N, 11]`, whose
    /// columns `augment.rs` lists. Of kisekae the fields of [`Erasures`] by their names, `widen` and `sharp` as `[1]`.
    pub fn draws(&self, step: u64) -> Vec<(String, Tensor)> {
        let [h, w] = self.config.image_size;
        let like = Tensor::empty([self.config.batch_size as i64, 3, h, w], (tch::Kind::Float, self.device));
        if self.config.architecture == Architecture::Kisekae {
            return Erasures::draw(&self.config, step, self.device).named();
        }
        let mut draws = Vec::new();
        if self.config.reverse_noise != 0.0 {
            draws.push(("reverse".into(), reverse_noise(&self.config, &like, step)));
        }
        let batch = self.config.batch_size as i64;
        for (name, pass, count) in
            [("augment/discriminator", Pass::Discriminator, 3 * batch), ("augment/generator", Pass::Generator, batch)]
        {
            let table = Augment::draw(&self.config, pass, count, step, &like).table();
            draws.extend(table.map(|table| (name.into(), table)));
        }
        draws
    }

    /// One update of both networks. Returns the step's terms on the device.
    ///
    /// # Errors
    /// As [`Trainer::triplet`]; nothing has changed then.
    pub fn step(&mut self) -> Result<Terms> {
        let triplet = self.triplet(self.step)?;
        use_precision(self.config.precision, self.device);
        let (config, noise) = (&self.config, &mut self.noise);
        let terms = match &mut self.graph {
            Some(graph) => graph.step(&mut self.models, config, &triplet, noise, self.step)?,
            None => self.models.step(config, &triplet, noise, self.step),
        };
        self.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.models.generator_parameters.values, self.step);
        }
        Ok(terms)
    }

    /// The generator's flat buffer that snapshots and samples are of: its average, or itself where the config has none.
    pub fn averaged(&self) -> Tensor {
        let values = &self.models.generator_parameters.values;
        match &self.ema {
            Some(ema) => ema.current(values, self.step),
            None => values.shallow_clone(),
        }
    }

    /// Begins the average anew at the generator as it is.
    pub(super) fn restart_average(&mut self) {
        self.ema = Ema::new(&self.models.generator_parameters.values, &self.config);
    }

    /// Calls `look` while the generator has the weights of [`Trainer::averaged`].
    pub fn with_averaged<T>(&mut self, look: impl FnOnce(&Trainer) -> T) -> T {
        if self.ema.is_none() {
            return look(self);
        }
        let average = self.averaged();
        let own = self.models.generator_parameters.values.copy();
        let put = |parameters: &mut Parameters, values: &Tensor| {
            tch::no_grad(|| parameters.values.copy_(values));
            parameters.changed();
        };
        put(&mut self.models.generator_parameters, &average);
        let seen = look(self);
        put(&mut self.models.generator_parameters, &own);
        seen
    }

    /// The monitor's look at the run, where there is a monitor.
    ///
    /// # Errors
    /// As [`Monitor::look`].
    pub fn look(&mut self) -> Result<Option<Look>> {
        let Some(mut monitor) = self.monitor.take() else {
            return Ok(None);
        };
        let look = monitor.look(self);
        self.monitor = Some(monitor);
        look.map(Some)
    }

    /// The first network whose weights are no finite numbers any more.
    pub fn broken(&self) -> Option<&'static str> {
        let finite = |values: &Tensor| values.sum(Kind::Double).double_value(&[]).is_finite();
        let networks = [
            ("parameters/generator", &self.models.generator_parameters),
            ("parameters/discriminator", &self.models.discriminator_parameters),
        ];
        let mut broken = networks.into_iter().filter(|(_, network)| !finite(&network.values));
        broken.next().map(|(name, _)| name)
    }

    /// The generator's swaps of pictures in its value range, without gradients.
    pub fn swap(&self, triplet: &Triplet) -> Swap {
        let Triplet { human, worn, target } = triplet;
        use_precision(self.config.precision, self.device);
        tch::no_grad(|| self.models.generator.swap(human, worn, target))
    }

    /// All state but the counter: name in a checkpoint, layout, flat buffer.
    pub(super) fn buffers(&self) -> Vec<(&'static str, &Parameters, &Tensor)> {
        let Models { generator_parameters: g, discriminator_parameters: d, generator_adam, discriminator_adam, .. } =
            &self.models;
        let mut buffers = vec![
            ("generator.", g, &g.values),
            ("discriminator.", d, &d.values),
            ("generator_adam.first.", g, &generator_adam.first),
            ("generator_adam.second.", g, &generator_adam.second),
            ("discriminator_adam.first.", d, &discriminator_adam.first),
            ("discriminator_adam.second.", d, &discriminator_adam.second),
        ];
        if let Some(ema) = &self.ema {
            buffers.push(("generator_ema.", g, &ema.values));
        }
        if let Some(vectors) = &d.vectors {
            buffers.push(("discriminator_vectors.", vectors, &vectors.values));
        }
        buffers
    }

    /// Goes on from another state at `step`: `part` gives the tensors under each of the checkpoint's names.
    ///
    /// # Errors
    /// [`crate::Error::Array`] or [`crate::Error::UnknownName`] for tensors that are not this run's.
    pub(super) fn restore(&mut self, step: u64, part: impl Fn(&str) -> HashMap<String, Tensor>) -> Result<()> {
        for (name, parameters, buffer) in self.buffers() {
            parameters.fill(buffer, &part(name))?;
        }
        let models = &mut self.models;
        models.generator_parameters.changed();
        models.discriminator_parameters.changed();
        models.generator_adam.set_steps(step);
        // The discriminator may have joined later.
        let waited = (self.config.judge_after).div_ceil(self.config.batch_size as u64);
        (models.discriminator_adam).set_steps(step.saturating_sub(waited));
        self.step = step;
        Ok(())
    }
}
