//! A method's networks, the data and the step counter, without a run folder.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use super::ema::Ema;
use super::graph::Graph;
use super::models::{Method, Models, Terms};
use super::noise::Pass;
use super::step::method;
use super::team::Team;
use super::undo::Undo;
use crate::config::Config;
use crate::data::{Loader, Pairs, Plan, Triplet};
use crate::error::{Error, Result};
use crate::native::{isolated, keep_memory, use_threads};
use crate::networks::{Parameters, Swap, batch_within, use_precision, use_precision_in_steps};
use crate::pixels::BUDGET;

/// Everything that a step needs.
#[derive(Debug)]
pub struct Trainer {
    /// The settings.
    pub config: Config,
    /// The settings with the size of the present pictures: training goes from coarse to fine.
    pub stage: Config,
    /// The device of networks and batches.
    pub device: Device,
    /// The pictures.
    pub data: Loader,
    /// The networks and their step.
    pub method: Box<dyn Method>,
    /// The parameters and optimisers.
    pub models: Models,
    /// Updates done so far.
    pub step: u64,
    ema: Option<Ema>,
    graph: Option<Graph>,
    undo: Undo,
    /// Whether a step failed while it wrote the weights.
    torn: bool,
}

impl Trainer {
    /// Makes a trainer of random networks, whatever `init_from` is. All processes of a team have the same settings.
    pub(super) fn fresh(
        team: &Team,
        pairs: &Pairs,
        config: Config,
        progress: &mut dyn FnMut(&Plan, usize) -> bool,
    ) -> Result<Option<Trainer>> {
        let team = &team.for_batch(config.batch_size)?;
        let device = team.agreed(team.device(&config))?;
        let _threads = use_threads(team.threads(&config));
        if device == Device::Cpu {
            keep_memory();
        }
        let graph = match config.cuda_graph && !device.is_cuda() {
            true => Err(Error::setting("cuda_graph", "false on a CPU", true)),
            false => config.cuda_graph.then(|| Graph::new(device)).transpose(),
        };
        let graph = team.agreed(graph)?;
        let Some(data) = Loader::shared(pairs, &config, device, team, progress)? else {
            return Ok(None);
        };
        let config = config.resolved(data.len())?;
        let stage = config.of_size(size_at(&config, 0));
        let (method, models) = method(&stage, device, team);
        let ema = Ema::new(&models.generator.parameters.values, &config);
        let undo = Undo::of(&models.discriminator);
        Ok(Some(Trainer { config, stage, device, data, method, models, step: 0, ema, graph, undo, torn: false }))
    }

    /// The height of the pictures of a step.
    pub(super) fn height_of(&self, step: u64) -> i64 {
        size_at(&self.config, step * self.config.batch_size as u64)[0]
    }

    /// Goes over to the pictures of the next step, if they are larger.
    fn enlarge(&mut self) -> Result<()> {
        let size = size_at(&self.config, self.images_seen());
        if self.step >= self.total_steps() || size[0] <= self.stage.image_size[0] {
            return Ok(());
        }
        isolated(|| {
            self.resize(size);
            Ok(())
        })
    }

    /// Goes over to networks of another size. They keep the tensors that both sizes have, with their moments; the others
    /// begin anew.
    pub(super) fn resize(&mut self, size: [i64; 2]) {
        if size == self.stage.image_size {
            return;
        }
        let named = |(name, parameters, buffer): (_, &Parameters, &Tensor)| (name, parameters.named(buffer));
        let kept: HashMap<_, HashMap<_, _>> = self
            .buffers()
            .into_iter()
            .map(named)
            .map(|(name, tensors)| (name, tensors.into_iter().collect()))
            .collect();
        let stage = self.config.of_size(size);
        let (method, mut models) = method(&stage, self.device, self.team());
        let ema = Ema::new(&models.generator.parameters.values, &stage);
        let undo = Undo::of(&models.discriminator);
        models.slowdown = self.models.slowdown;
        models.generator.adam.set_steps(self.models.generator.adam.steps());
        models.discriminator.adam.set_steps(self.models.discriminator.adam.steps());
        (self.stage, self.method, self.models, self.ema, self.undo) = (stage, method, models, ema, undo);
        for (name, parameters, buffer) in self.buffers() {
            parameters.keep(buffer, &kept[name]);
        }
        for learner in [&mut self.models.generator, &mut self.models.discriminator] {
            learner.parameters.changed();
        }
        self.undo.keep(&self.models.discriminator);
    }

    /// The processes that train together.
    pub fn team(&self) -> &Team {
        &self.models.team
    }

    /// The number of libtorch's threads to compute with, 0 for its own.
    pub fn threads(&self) -> usize {
        self.team().threads(&self.config)
    }

    /// Gives all processes the state of the first.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(super) fn share(&mut self) -> Result<()> {
        let team = self.team().clone();
        if team.is_alone() {
            return Ok(());
        }
        let Models { generator, discriminator, slowdown, .. } = &self.models;
        let counters = [generator, discriminator].map(|learner| learner.adam.steps() as f64);
        let [height, width] = self.stage.image_size.map(|side| side as f64);
        let [step, slowdown, first, second, height, width] =
            team.first_numbers([self.step as f64, *slowdown, counters[0], counters[1], height, width])?;
        self.resize([height as i64, width as i64]);
        for (_, _, buffer) in self.buffers() {
            team.copy_first(buffer)?;
        }
        self.step = step as u64;
        self.models.slowdown = slowdown;
        for (learner, steps) in
            [&mut self.models.generator, &mut self.models.discriminator].into_iter().zip([first, second])
        {
            learner.adam.set_steps(steps as u64);
            learner.parameters.changed();
            learner.torn = false;
        }
        self.torn = false;
        Ok(())
    }

    /// Triplets seen so far.
    pub fn images_seen(&self) -> u64 {
        self.step * self.config.batch_size as u64
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.config.total_steps(self.data.len())
    }

    /// Returns the pictures of a step, of the present size; of several processes each gets its rows.
    ///
    /// # Errors
    /// [`Error::Setting`] for a step that no run reaches; if pictures stream, a picture that can no longer be decoded.
    pub fn triplet(&self, step: u64) -> Result<Triplet> {
        /// Places in the sequence of pictures are counted in 64 bits.
        const LAST: u64 = 1 << 40;
        if step > LAST {
            return Err(Error::setting("step", format!("at most {LAST}"), step));
        }
        Ok(self.sized(self.data.triplet(step)?))
    }

    /// Returns the centre crops of these pairs and articles, unmirrored, of the present size.
    ///
    /// # Errors
    /// If pictures stream, a picture that can no longer be decoded.
    pub fn plain(&self, humans: &[usize], targets: &[usize]) -> Result<Triplet> {
        Ok(self.sized(self.data.plain(humans, targets)?))
    }

    /// Averages pictures down to the present size.
    fn sized(&self, triplet: Triplet) -> Triplet {
        let by = self.config.image_size[0] / self.stage.image_size[0];
        if by == 1 {
            return triplet;
        }
        let averaged = |xs: Tensor| xs.avg_pool2d([by, by], [by, by], [0, 0], false, true, None::<i64>);
        let Triplet { human, worn, target } = triplet;
        Triplet { human: averaged(human), worn: averaged(worn), target: averaged(target) }
    }

    /// Copies the discriminator's noise in a pass of a step; empty if the config has none.
    pub fn noise(&mut self, pass: Pass, step: u64) -> Vec<Tensor> {
        let Some(noise) = self.method.noise() else {
            return Vec::new();
        };
        noise.draw(pass, step).iter().map(Tensor::copy).collect()
    }

    /// As [`Method::draws`]: `extras.rs` lists those of the published method, `erasure.rs` those of kisekae.
    ///
    /// # Errors
    /// As [`Trainer::triplet`].
    pub fn draws(&self, step: u64) -> Result<Vec<(String, Tensor)>> {
        let triplet = self.triplet(step)?;
        let _precision = use_precision(self.config.precision, self.device);
        Ok(tch::no_grad(|| self.method.draws(&self.stage, step, &triplet, self.team())))
    }

    /// Updates both networks once. Returns the step's terms on the device. Then the networks grow if the next step is one
    /// of larger pictures.
    ///
    /// # Errors
    /// As [`Trainer::triplet`]; [`Error::Device`] if the step cannot be recorded or launched; [`Error::Memory`];
    /// [`Error::Torch`]; [`Error::Peer`] and [`Error::Lost`] where several processes train together. Nothing is changed
    /// then: the next call takes the same step. If that cannot be, [`Trainer::is_torn`], and each later call is an
    /// [`Error::Torn`].
    pub fn step(&mut self) -> Result<Terms> {
        let _threads = use_threads(self.threads());
        if self.torn {
            return Err(Error::Torn);
        }
        let mut waited_for = false;
        let done = isolated::<_, Error>(|| {
            self.undo.keep(&self.models.discriminator);
            // Pictures that are gone in one process end all before any of them waits for the others.
            let ready = self.enlarge().and_then(|()| self.triplet(self.step));
            let triplet = self.team().agreed(ready)?;
            waited_for = true;
            let _precision = use_precision_in_steps(self.config.precision, self.device);
            let (method, models) = (&mut *self.method, &mut self.models);
            let terms = match &mut self.graph {
                Some(graph) => graph.step(method, models, &self.stage, &triplet, self.step)?,
                None => method.step(models, &self.stage, &triplet, self.step)?,
            };
            self.torn = true;
            self.step += 1;
            if let Some(ema) = &mut self.ema {
                ema.update(&self.models.generator.parameters.values, self.step);
            }
            self.torn = false;
            Ok(terms)
        });
        if let Err(error) = &done {
            if waited_for {
                self.team().leave(&error.to_string());
            }
            self.torn |= self.models.generator.torn;
            let undone = isolated::<_, Error>(|| {
                self.undo.restore(&mut self.models.discriminator);
                Ok(())
            });
            self.torn |= undone.is_err();
        } else {
            // If it fails now, it does so again before the next step.
            let _ = self.enlarge();
        }
        done
    }

    /// Whether a step failed while it wrote the weights. They are then of no step: only those of a checkpoint help.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Returns the generator's flat buffer that snapshots and samples are of: its average, or itself if the config has
    /// no average.
    pub fn averaged(&self) -> Tensor {
        let values = &self.models.generator.parameters.values;
        match &self.ema {
            Some(ema) => ema.current(values, self.step),
            None => values.shallow_clone(),
        }
    }

    /// Restarts the average at the generator's present weights.
    pub(super) fn restart_average(&mut self) {
        self.ema = Ema::new(&self.models.generator.parameters.values, &self.config);
    }

    /// Calls `look` while the generator has the weights of [`Trainer::averaged`].
    ///
    /// # Errors
    /// Those of `look`; [`Error::Memory`]; [`Error::Torch`]. The generator has its own weights again.
    pub fn with_averaged<T>(&mut self, look: impl FnOnce(&Trainer) -> Result<T>) -> Result<T> {
        isolated(|| {
            if self.ema.is_none() {
                return look(self);
            }
            let average = self.averaged();
            let averaged = Averaged { own: self.models.generator.parameters.values.copy(), trainer: self };
            put(&mut averaged.trainer.models.generator.parameters, &average);
            look(averaged.trainer)
        })
    }

    /// Returns the first network whose weights are not finite.
    pub fn broken(&self) -> Option<&'static str> {
        let finite = |values: &Tensor| values.sum(Kind::Double).double_value(&[]).is_finite();
        let networks = [
            ("parameters/generator", &self.models.generator),
            ("parameters/discriminator", &self.models.discriminator),
        ];
        let mut broken = networks.into_iter().filter(|(_, network)| !finite(&network.parameters.values));
        broken.next().map(|(name, _)| name)
    }

    /// Checks that all weights are finite.
    ///
    /// # Errors
    /// [`Error::NonFinite`].
    pub(super) fn healthy(&self) -> Result<()> {
        match self.broken() {
            None => Ok(()),
            Some(term) => Err(Error::NonFinite { term: term.into(), value: f64::NAN, step: self.step }),
        }
    }

    /// Swaps pictures in the networks' value range, without gradients, in parts within the [`BUDGET`] of memory.
    pub fn swap(&self, triplet: &Triplet) -> Swap {
        let _precision = use_precision(self.config.precision, self.device);
        let (count, batch) = (triplet.human.size()[0], self.batch() as i64);
        if count <= batch {
            return tch::no_grad(|| self.method.swap(triplet));
        }
        let part = |first| {
            let part = |pictures: &Tensor| pictures.narrow(0, first, batch.min(count - first));
            let Triplet { human, worn, target } = triplet;
            self.method.swap(&Triplet { human: part(human), worn: part(worn), target: part(target) })
        };
        let firsts = (0..count).step_by(batch as usize);
        tch::no_grad(|| Swap::joined(&firsts.map(part).collect::<Vec<_>>()))
    }

    /// The largest batch within the [`BUDGET`] of memory, without gradients.
    pub fn batch(&self) -> usize {
        batch_within(&self.stage, BUDGET)
    }

    /// As [`Method::score`], without gradients.
    pub fn score(&self, human: &Tensor, article: &Tensor) -> Tensor {
        let _precision = use_precision(self.config.precision, self.device);
        let parts = |pictures: &Tensor| pictures.split(self.batch() as i64, 0);
        let parts = parts(human).into_iter().zip(parts(article));
        let scores =
            tch::no_grad(|| parts.map(|(human, article)| self.method.score(&human, &article)).collect::<Vec<_>>());
        Tensor::cat(&scores, 0)
    }

    /// Lists all state except the counters: name in a checkpoint, layout, flat buffer.
    pub(super) fn buffers(&self) -> Vec<(&'static str, &Parameters, &Tensor)> {
        let Models { generator, discriminator, .. } = &self.models;
        let (g, d) = (&generator.parameters, &discriminator.parameters);
        let mut buffers = vec![
            ("generator.", g, &g.values),
            ("discriminator.", d, &d.values),
            ("generator_adam.first.", g, &generator.adam.first),
            ("generator_adam.second.", g, &generator.adam.second),
            ("discriminator_adam.first.", d, &discriminator.adam.first),
            ("discriminator_adam.second.", d, &discriminator.adam.second),
        ];
        if let Some(ema) = &self.ema {
            buffers.push(("generator_ema.", g, &ema.values));
        }
        if let Some(vectors) = &d.vectors {
            buffers.push(("discriminator_vectors.", vectors, &vectors.values));
        }
        buffers
    }

    /// Replaces all of [`Trainer::buffers`]: `part` returns the tensors under each of their names.
    ///
    /// # Errors
    /// [`Error::Array`] or [`Error::UnknownName`] for tensors of other networks.
    pub(super) fn fill(&mut self, part: impl Fn(&str) -> HashMap<String, Tensor>) -> Result<()> {
        for (name, parameters, buffer) in self.buffers() {
            parameters.fill(buffer, &part(name))?;
        }
        for learner in [&mut self.models.generator, &mut self.models.discriminator] {
            learner.parameters.changed();
            learner.torn = false;
        }
        self.torn = false;
        Ok(())
    }
}

/// The size of the pictures after that many images.
fn size_at(config: &Config, images_seen: u64) -> [i64; 2] {
    let begun = config.sizes().into_iter().rev().find(|(_, first)| *first <= images_seen);
    begun.map_or(config.image_size, |(size, _)| size)
}

/// A trainer whose generator has other weights until the end of the scope, also that of a panic.
struct Averaged<'a> {
    trainer: &'a mut Trainer,
    own: Tensor,
}

impl Drop for Averaged<'_> {
    fn drop(&mut self) {
        // Allocates nothing.
        put(&mut self.trainer.models.generator.parameters, &self.own);
    }
}

fn put(parameters: &mut Parameters, values: &Tensor) {
    tch::no_grad(|| parameters.values.copy_(values));
    parameters.changed();
}
