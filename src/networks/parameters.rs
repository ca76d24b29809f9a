//! A network's parameters in one flat float32 buffer, its gradients in another. Every parameter and every gradient is a
//! view, so that an optimiser, an average or a checkpoint is a few operations on one tensor, and all state has a name.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::precision::computes_channels_last;
use crate::config::Precision;
use crate::error::{Error, Named, Result};
use crate::random::rng;
use rand::Rng;
use rand_distr::{Distribution, Normal};

/// Views start at multiples of this many values: 64 bytes, for vector instructions.
const ALIGNMENT: i64 = 16;

/// A parameter's first values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// N(0, 0.02^2): convolution and linear weights (A).
    Gaussian,
    /// N(0, 2 / fan_in) (He et al. 2015, arXiv 1502.01852): followed by a ReLU, the layer keeps the scale.
    He,
    Zeros,
    Ones,
}

/// The number format in which a layer reads a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// The format of the activations: convolutions' parameters.
    Activations,
    /// float32 whatever the activations are: norms' parameters.
    Float32,
}

#[derive(Debug)]
struct Entry {
    name: String,
    /// Shared with the layer that declared it; `flatten` points it into the buffer.
    leaf: Tensor,
    shape: Vec<i64>,
    init: Init,
    read_as: ReadAs,
    frozen: bool,
    offset: i64,
}

/// A place in the tree of state-dict names, where a layer declares its parameters.
#[derive(Clone, Debug)]
pub struct Path {
    prefix: String,
    entries: Rc<RefCell<Vec<Entry>>>,
    /// State that is not a parameter.
    vectors: Rc<RefCell<Vec<Entry>>>,
}

impl Path {
    /// The place of the whole network.
    pub fn root() -> Self {
        Path { prefix: String::new(), entries: Rc::default(), vectors: Rc::default() }
    }

    /// Returns the place below, such as `down.0`.
    pub fn sub(&self, name: impl std::fmt::Display) -> Path {
        Path { prefix: format!("{}{name}.", self.prefix), entries: self.entries.clone(), vectors: self.vectors.clone() }
    }

    /// Declares a parameter. [`Parameters::build`] gives the tensor its values.
    pub fn declare(&self, name: &str, shape: &[i64], init: Init, read_as: ReadAs) -> Tensor {
        let entry = self.entry(name, shape, init, read_as);
        let leaf = entry.leaf.shallow_clone();
        self.entries.borrow_mut().push(entry);
        leaf
    }

    /// Declares a float32 vector that a checkpoint holds but no optimiser updates. It starts at random.
    pub fn declare_vector(&self, name: &str, length: i64) -> Tensor {
        let entry = self.entry(name, &[length], Init::Gaussian, ReadAs::Float32);
        let leaf = entry.leaf.shallow_clone();
        self.vectors.borrow_mut().push(entry);
        leaf
    }

    fn entry(&self, name: &str, shape: &[i64], init: Init, read_as: ReadAs) -> Entry {
        Entry {
            name: format!("{}{name}", self.prefix),
            leaf: Tensor::empty([0], (Kind::Float, Device::Cpu)),
            shape: shape.to_vec(),
            init,
            read_as,
            frozen: false,
            offset: 0,
        }
    }
}

/// One network's parameters and gradients.
#[derive(Debug)]
pub struct Parameters {
    entries: Vec<Entry>,
    /// All parameters, float32.
    pub values: Tensor,
    /// All gradients, float32, in the same places.
    pub gradient: Tensor,
    /// The copy in the activations' format that the convolutions read.
    working: Option<Tensor>,
    /// The network's state that is not a parameter, in the same layout.
    pub vectors: Option<Box<Parameters>>,
    /// Whether convolutions' weights are stored with their channels last.
    channels_last: bool,
}

impl Parameters {
    /// Builds a network with its parameters in one buffer, initialised from `seed` and `purpose`.
    pub fn build<N>(
        network: impl FnOnce(&Path) -> N,
        device: Device,
        precision: Precision,
        seed: u64,
        purpose: &str,
    ) -> (N, Parameters) {
        let path = Path::root();
        let network = network(&path);
        let mut random = rng(seed, purpose, 0);
        let mut parameters = Self::lay(path.entries.take(), device, precision, &mut random, true);
        let vectors = path.vectors.take();
        if !vectors.is_empty() {
            let vectors = Self::lay(vectors, device, Precision::Fp32, &mut random, false);
            parameters.vectors = Some(Box::new(vectors));
        }
        (network, parameters)
    }

    /// Lays tensors out in one buffer and initialises them.
    fn lay(
        mut entries: Vec<Entry>,
        device: Device,
        precision: Precision,
        random: &mut impl Rng,
        gradients: bool,
    ) -> Parameters {
        let channels_last = computes_channels_last(precision, device);
        let mut length = 0;
        for entry in &mut entries {
            entry.offset = length;
            let numel: i64 = entry.shape.iter().product();
            length += (numel + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        let gaussian = Normal::new(0.0f32, 0.02).expect("0.02 is a deviation");
        let mut start = vec![0f32; length as usize];
        for entry in &entries {
            let numel = entry.shape.iter().product::<i64>() as usize;
            let values = &mut start[entry.offset as usize..][..numel];
            match entry.init {
                Init::Gaussian => values.fill_with(|| gaussian.sample(random)),
                Init::He => {
                    let fan_in = numel as f32 / entry.shape[0] as f32;
                    let he = Normal::new(0.0, (2.0 / fan_in).sqrt()).expect("a deviation");
                    values.fill_with(|| he.sample(random));
                }
                Init::Zeros => (),
                Init::Ones => values.fill(1.0),
            }
        }
        let drawn = Tensor::from_slice(&start);
        let values = Tensor::zeros([length], (Kind::Float, device));
        for entry in &entries {
            // Copies the same numbers in any layout.
            let numel = entry.shape.iter().product::<i64>();
            let plain = drawn.narrow(0, entry.offset, numel).view(&entry.shape[..]);
            view(&values, entry, channels_last).copy_(&plain);
        }
        let kind = precision.kind();
        let working = (kind != Kind::Float).then(|| values.to_kind(kind));
        let gradient = values.zeros_like();
        let mut parameters = Parameters { gradient, entries, values, working, vectors: None, channels_last };
        parameters.point_leaves(gradients);
        parameters
    }

    /// Checks that `tensors` are the parameters of a network, without allocating memory for it.
    ///
    /// # Errors
    /// As [`Parameters::fill`].
    pub fn check<N>(network: impl FnOnce(&Path) -> N, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let path = Path::root();
        network(&path);
        compare(&path.entries.take(), tensors)
    }

    fn point_leaves(&mut self, gradients: bool) {
        for entry in &mut self.entries {
            let buffer = match &self.working {
                Some(working) if entry.read_as == ReadAs::Activations => working,
                _ => &self.values,
            };
            entry.leaf.set_data(&view(buffer, entry, self.channels_last));
            entry.leaf = entry.leaf.set_requires_grad(gradients);
        }
    }

    /// Returns the number of parameters.
    pub fn count(&self) -> i64 {
        self.entries.iter().map(|e| e.shape.iter().product::<i64>()).sum()
    }

    /// Returns the names and shapes, in order.
    pub fn shapes(&self) -> Vec<(&str, &[i64])> {
        self.entries.iter().map(|e| (e.name.as_str(), e.shape.as_slice())).collect()
    }

    /// Returns the views of a flat buffer of this layout by state-dict name. The buffer is `values`, `gradient`, or an
    /// optimiser's moments.
    pub fn named(&self, buffer: &Tensor) -> Vec<(String, Tensor)> {
        let named = |e: &Entry| (e.name.clone(), view(buffer, e, self.channels_last));
        self.entries.iter().map(named).collect()
    }

    /// Copies tensors by name into a flat buffer of this layout.
    ///
    /// # Errors
    /// [`Error::Array`] for a name that is missing, unknown or of another shape. The buffer then stays as it is.
    pub fn fill(&self, buffer: &Tensor, tensors: &HashMap<String, Tensor>) -> Result<()> {
        compare(&self.entries, tensors)?;
        tch::no_grad(|| {
            for (name, mut place) in self.named(buffer) {
                place.copy_(&tensors[&name]);
            }
        });
        Ok(())
    }

    /// Copies into a flat buffer of this layout the tensors that fit by name and shape. The others' places stay.
    pub fn keep(&self, buffer: &Tensor, tensors: &HashMap<String, Tensor>) {
        tch::no_grad(|| {
            for (name, mut place) in self.named(buffer) {
                if let Some(tensor) = tensors.get(&name).filter(|tensor| tensor.size() == place.size()) {
                    place.copy_(tensor);
                }
            }
        });
    }

    /// Replaces all parameters but those of finer levels that `tensors` lack: these stay.
    ///
    /// # Errors
    /// As [`Parameters::fill`].
    pub fn grow(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let finer = |entry: &&Entry| entry.name.contains(".finer.") && !tensors.contains_key(&entry.name);
        let own = self.named(&self.values).into_iter().collect::<HashMap<_, _>>();
        let missing =
            self.entries.iter().filter(finer).map(|entry| (entry.name.clone(), own[&entry.name].shallow_clone()));
        let whole = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).chain(missing);
        self.load(&whole.collect())
    }

    /// Replaces all parameters.
    ///
    /// # Errors
    /// As [`Parameters::fill`].
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        self.fill(&self.values, tensors)?;
        self.changed();
        Ok(())
    }

    /// Updates the working copy. Call this after `values` changed.
    pub fn changed(&mut self) {
        if let Some(working) = &mut self.working {
            working.copy_(&self.values);
        }
    }

    /// Freezes the parameters under `path`, at the root or below it: their gradient stays zero, and so do Adam's
    /// moments.
    pub fn freeze(&mut self, path: &str) {
        let deeper = format!(".{path}");
        let entries = self.entries.iter_mut();
        entries.filter(|e| e.name.starts_with(path) || e.name.contains(&deeper)).for_each(|e| e.frozen = true);
    }

    /// Differentiates a scalar by these parameters and writes the result to `gradient`.
    ///
    /// # Errors
    /// [`Error::Array`] for a loss that was computed without gradients.
    pub fn differentiate(&mut self, loss: &Tensor) -> Result<()> {
        if !loss.requires_grad() {
            let expected = "a tensor with a gradient".into();
            let got = "one that was computed without, as in no_grad".into();
            return Err(Error::Array { name: "loss".into(), expected, got });
        }
        let learning = || self.entries.iter().filter(|e| !e.frozen);
        let leaves: Vec<&Tensor> = learning().map(|e| &e.leaf).collect();
        let gradients = Tensor::run_backward(&[loss], &leaves, false, false);
        tch::no_grad(|| {
            for (entry, gradient) in learning().zip(gradients) {
                let mut place = view(&self.gradient, entry, self.channels_last);
                // Parameters that this step does not use have none.
                match gradient.defined() {
                    true => place.copy_(&gradient),
                    false => drop(place.zero_()),
                }
            }
        });
        Ok(())
    }
}

/// Checks that tensors have the entries' names and shapes.
fn compare(entries: &[Entry], tensors: &HashMap<String, Tensor>) -> Result<()> {
    let names = || entries.iter().map(|entry| entry.name.as_str());
    if let Some(name) = tensors.keys().find(|name| names().all(|known| known != *name)) {
        return Err(Error::unknown(Named::Parameter, name, names()));
    }
    for Entry { name, shape, .. } in entries {
        let got = match tensors.get(name) {
            Some(tensor) if tensor.size() == *shape => continue,
            Some(tensor) => format!("{:?}", tensor.size()),
            None => "none".into(),
        };
        return Err(Error::Array { name: name.clone(), expected: format!("a tensor of shape {shape:?}"), got });
    }
    Ok(())
}

/// Returns the view of a parameter's place in a buffer. A convolution's weight is stored in the layout that its layer
/// computes in; any other would cost a copy at each use. On CUDA it also decides the layout of its convolution.
fn view(buffer: &Tensor, entry: &Entry, channels_last: bool) -> Tensor {
    let part = buffer.narrow(0, entry.offset, entry.shape.iter().product());
    match entry.shape[..] {
        [a, b, c, d] if channels_last => part.view([a, c, d, b]).permute([0, 3, 1, 2]),
        _ => part.view(&entry.shape[..]),
    }
}
