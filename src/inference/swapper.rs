//! A trained generator, loaded from a snapshot.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use xxhash_rust::xxh3::Xxh3Default;

use super::look::{Located, Look, Worn};
use super::render::{PAINTED, Renderer, Swapped, TOGETHER};
use crate::config::{Config, torch_device};
use crate::error::{Error, Result};
use crate::native::{isolated, parallel_for};
use crate::networks::{Generator, Parameters, Swap, batch_within, use_precision};
use crate::pixels::{BUDGET, planes};
use crate::storage::{Snapshot, numbered, packaged};

/// The largest batch of the generator. Larger ones are not faster.
const BATCH: usize = 16;

/// The pictures of one swap.
#[derive(Clone, Debug)]
pub struct Request {
    /// The photo of the person.
    pub human: RgbImage,
    /// The article that the person wears. `None` if it is not known: see [`Swapper::needs_worn`].
    pub worn: Option<RgbImage>,
    /// The article to put on.
    pub target: RgbImage,
}

/// A person, and the article that the person wears.
#[derive(Clone, Debug)]
pub struct Person {
    /// The photo of the person.
    pub human: Arc<RgbImage>,
    /// The article that the person wears. `None` if it is not known: see [`Swapper::needs_worn`].
    pub worn: Option<Arc<RgbImage>>,
}

/// The rise of the monitor's score that is no noise. On dolls the scores of a healthy run of kisekae lay within 0.06,
/// and its newest snapshot was far better than that of the lowest score.
const WORSE: f64 = 0.1;

/// Which snapshot of a run is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The newest, unless the monitor saw the run get worse: where its last score is above its lowest by more than
    /// [`WORSE`], the one of the lowest, `best.safetensors`. Smaller differences are noise.
    #[default]
    Best,
    /// The newest.
    Newest,
    /// The one of a step.
    Step(u64),
}

/// Whether the last score of a monitor's lines is worse than its lowest; true without scores.
fn got_worse(looks: &Path) -> bool {
    let text = std::fs::read(looks).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    // A closed mask has no score.
    let score = |line: Value| line.get("monitor/score").map(|score| score.as_f64().unwrap_or(f64::INFINITY));
    let scores: Vec<f64> = lines.filter_map(score).collect();
    let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
    scores.last().is_none_or(|last| *last > lowest + WORSE)
}

impl Which {
    /// The file in a run's folder.
    ///
    /// # Errors
    /// [`Error::Content`] for a folder without the snapshot; [`Error::Io`].
    pub fn of_run(self, run_dir: &Path) -> Result<PathBuf> {
        let folder = run_dir.join("snapshots");
        let best = folder.join("best.safetensors");
        if self == Which::Best && best.is_file() && got_worse(&run_dir.join("monitor.jsonl")) {
            return Ok(best);
        }
        let mut found = numbered(&folder, "safetensors")?;
        let Some((newest, _)) = found.last().cloned() else {
            return Err(Error::content(run_dir, "expected a run folder with snapshots, got none"));
        };
        let Which::Step(wanted) = self else { return Ok(newest) };
        let steps: Vec<String> = found.iter().map(|(_, step)| step.to_string()).collect();
        found.retain(|(_, step)| *step == wanted);
        let missing =
            || Error::content(&folder, format!("expected step {} to use, got step {wanted}", steps.join(", ")));
        found.pop().map(|(path, _)| path).ok_or_else(missing)
    }
}

/// A generator and the config of its training.
#[derive(Debug)]
pub struct Swapper {
    /// The settings of the training.
    pub config: Config,
    /// The snapshot's file.
    pub path: PathBuf,
    /// The snapshot's step.
    pub step: u64,
    /// The device of the generator.
    pub device: Device,
    generator: Generator,
    // The generator's layers are views into these.
    parameters: Parameters,
    /// Of the weights, and of what else a look depends on.
    mark: u128,
}

impl Swapper {
    /// Loads a snapshot file, a snapshot of a run folder, or the package's weights by their name ([`packaged`]).
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist; [`Error::Content`] for a folder without the snapshot, a
    /// truncated snapshot or one of another version; [`Error::Setting`] for a `which` other than the default beside a
    /// file; [`Error::Device`] for a device that libtorch does not find.
    pub fn open(path: &Path, device: &str, which: Which) -> Result<Swapper> {
        let device = torch_device(device)?;
        let path = &packaged(path);
        let file = match (path.is_dir(), which) {
            (true, which) => which.of_run(path)?,
            (false, Which::Best) => path.to_owned(),
            (false, _) => return Err(Error::setting("which", "a run's folder to choose from", path.display())),
        };
        Self::of_snapshot(Snapshot::read(&file)?, file, device)
    }

    /// Builds the generator of a snapshot that was read from `path`.
    ///
    /// # Errors
    /// [`Error::Content`] if the tensors do not fit the config's generator.
    pub fn of_snapshot(snapshot: Snapshot, path: PathBuf, device: Device) -> Result<Swapper> {
        let config = snapshot.config;
        // The config may describe networks far larger than the file.
        Parameters::check(|path| Generator::new(path, &config), &snapshot.generator)
            .map_err(|e| Error::content(&path, e.to_string()))?;
        let (mut generator, mut parameters) = Parameters::build(
            |path| Generator::new(path, &config),
            device,
            config.precision,
            config.seed,
            "init/generator",
        );
        (parameters.load(&snapshot.generator)).map_err(|e| Error::content(&path, e.to_string()))?;
        generator.apart();
        let mark = mark(&config, &parameters);
        Ok(Swapper { config, path, step: snapshot.step, device, generator, parameters, mark })
    }

    /// Whether the networks need the picture of the worn article.
    pub fn needs_worn(&self) -> bool {
        self.generator.needs_worn()
    }

    /// The largest batch of the generator: bounded by the [`BUDGET`] of memory.
    pub fn batch(&self) -> usize {
        batch_within(&self.config, BUDGET).min(BATCH)
    }

    /// Swaps all requests and returns the results in their order.
    ///
    /// # Errors
    /// [`Error::Setting`] for a request without `worn`, if the networks need it.
    pub fn swap(&self, requests: &[Request]) -> Result<Vec<Swapped>> {
        let mut swaps = Vec::with_capacity(requests.len());
        for part in requests.chunks(self.batch()) {
            let person = |r: &Request| Person { human: r.human.clone().into(), worn: r.worn.clone().map(Arc::new) };
            let looks = self.look(part.iter().map(person).collect())?;
            let rows: Vec<_> = looks.iter().zip(part.iter().map(|request| &request.target)).collect();
            let painted = self.dress(&rows)?;
            let sizes: Vec<u64> = looks.iter().map(|look| look.pixels()).collect();
            let rows = looks.into_iter().zip(part).enumerate();
            let mut rows = rows.map(|(i, (look, request))| (i, Arc::unwrap_or_clone(look.photo), &request.target));
            let mut first = 0;
            while first < sizes.len() {
                let count = painted.together(sizes[first..].iter().copied());
                swaps.extend(painted.render(rows.by_ref().take(count).collect())?);
                first += count;
            }
        }
        Ok(swaps)
    }

    /// Looks at people once, for any number of targets.
    ///
    /// # Errors
    /// [`Error::Setting`] for a person without `worn`, if the networks need it.
    pub fn look(&self, people: Vec<Person>) -> Result<Vec<Look>> {
        if self.needs_worn() && people.iter().any(|person| person.worn.is_none()) {
            let rule = "a picture: these networks locate the worn article by it";
            return Err(Error::setting("worn", rule, "none"));
        }
        let alike = |a: &Person, b: &Person| a.worn.is_some() == b.worn.is_some();
        let mut looks = Vec::with_capacity(people.len());
        for part in people.chunk_by(alike).flat_map(|part| part.chunks(self.batch())) {
            let human: Vec<Vec<u8>> =
                part.iter().map(|p| planes(&p.human, self.config.image_size, self.config.human_fit)).collect();
            let worn: Vec<Vec<u8>> = part.iter().filter_map(|p| p.worn.as_ref()).map(|p| self.article(p)).collect();
            let _precision = use_precision(self.config.precision, self.device);
            let looked = tch::no_grad(|| {
                let seen = (!worn.is_empty()).then(|| self.values(&worn));
                let look = self.generator.look(&self.values(&human), seen.as_ref());
                look.map(|look| Located::of(&look))
            });
            let kept: Vec<Worn> = match looked {
                Some(located) => located.into_iter().map(Worn::Located).collect(),
                None => worn.into_iter().map(Worn::Picture).collect(),
            };
            let photos = part.iter().map(|person| person.human.clone());
            let rows = photos.zip(human).zip(kept);
            looks.extend(rows.map(|((photo, human), worn)| Look { photo, human, worn, mark: self.mark }));
        }
        Ok(looks)
    }

    /// About the bytes of a look beside its photo.
    pub fn look_bytes(&self) -> usize {
        let [height, width] = self.config.image_size.map(|side| side as usize);
        // The photo's bytes, and five layers of numbers.
        height * width * (3 + 5 * 4)
    }

    /// Runs the generator: each look gets a target. At most [`Swapper::batch`] at once.
    ///
    /// # Errors
    /// [`Error::Setting`] for a look by other weights.
    pub fn dress(&self, rows: &[(&Look, &RgbImage)]) -> Result<Painted> {
        if rows.iter().any(|(look, _)| look.mark != self.mark) {
            let rule = "a look by this snapshot's weights, at its size";
            return Err(Error::setting("human", rule, "one by another's"));
        }
        let human: Vec<&[u8]> = rows.iter().map(|(look, _)| &look.human[..]).collect();
        let target: Vec<Vec<u8>> = rows.iter().map(|(_, target)| self.article(target)).collect();
        let (mut pictures, mut located) = (Vec::new(), Vec::new());
        for (look, _) in rows {
            match &look.worn {
                Worn::Picture(worn) => pictures.push(&worn[..]),
                Worn::Located(found) => located.push(found),
            }
        }
        let _precision = use_precision(self.config.precision, self.device);
        let swap = tch::no_grad(|| {
            let (human, target) = (self.values(&human), self.values(&target));
            match located.is_empty() {
                true => self.generator.swap(&human, &self.values(&pictures), &target),
                false => (self.generator.dress(&human, Located::batch(&located, &human), &target))
                    .expect("the network located the articles"),
            }
        });
        Ok(Painted { config: self.config.clone(), device: self.device, swap })
    }

    /// An article as the networks see it.
    fn article(&self, picture: &RgbImage) -> Vec<u8> {
        planes(picture, self.config.image_size, self.config.article_fit)
    }

    /// Pictures as the networks see them, as a batch.
    fn values<T: AsRef<[u8]>>(&self, pictures: &[T]) -> Tensor {
        let bytes: Vec<u8> = pictures.iter().flat_map(|picture| picture.as_ref().iter().copied()).collect();
        let renderer = Renderer { config: &self.config, device: self.device };
        renderer.values(&bytes, pictures.len(), self.config.image_size)
    }

    /// Returns the bytes of the snapshot's file, made of the weights that are loaded: float32, or float16 with
    /// [`Kind::Half`].
    pub fn snapshot(&self, kind: Kind) -> Vec<u8> {
        Snapshot::bytes(&self.config, self.step, &self.parameters.named(&self.parameters.values), kind)
    }
}

/// Hashes the weights and the settings that a look depends on.
fn mark(config: &Config, parameters: &Parameters) -> u128 {
    let mut sum = Xxh3Default::new();
    let [height, width] = config.image_size;
    let settings = (height, width, config.human_fit, config.article_fit, config.mask_cut, config.architecture);
    sum.update(format!("{settings:?}").as_bytes());
    for (name, tensor) in parameters.named(&parameters.values) {
        let tensor = tensor.to_device(Device::Cpu).contiguous();
        let mut values = vec![0f32; tensor.numel()];
        tensor.copy_data(&mut values, tensor.numel());
        sum.update(name.as_bytes());
        sum.update(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
    }
    sum.digest128()
}

/// A batch of swaps of the networks' size.
#[derive(Debug)]
pub struct Painted {
    config: Config,
    device: Device,
    swap: Swap,
}

impl Painted {
    /// Counts the photos, from the first on, that [`Painted::render`] takes at once, given the pixels of each: on a CPU
    /// one for each of libtorch's threads, within [`TOGETHER`].
    pub fn together(&self, photos: impl IntoIterator<Item = u64>) -> usize {
        let threads = match self.device {
            Device::Cpu => tch::get_num_threads().max(1) as usize,
            _ => 1,
        };
        let mut largest = 0;
        let fits = |&(count, pixels): &(u64, u64)| {
            largest = pixels.min(PAINTED as u64).max(largest);
            count == 1 || count * largest <= TOGETHER
        };
        (1..).zip(photos).take(threads).take_while(fits).count()
    }

    /// Renders swaps of the batch at their photos' size, given the number, the photo and the target of each request.
    /// Several at once are rendered on one of libtorch's threads each: of small photos, each operation is too short to be
    /// divided.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Torch`].
    pub fn render(&self, rows: Vec<(usize, RgbImage, &RgbImage)>) -> Result<Vec<Swapped>> {
        let _precision = use_precision(self.config.precision, self.device);
        let renderer = Renderer { config: &self.config, device: self.device };
        let rendered = |swap: &Swap, photo, target| tch::no_grad(|| renderer.render(swap, photo, target));
        isolated(|| {
            if let [_] = rows[..] {
                // All of libtorch's threads work on it.
                let row = |(i, photo, target): (usize, _, _)| rendered(&self.swap.row(i as i64), photo, target);
                return Ok(rows.into_iter().map(row).collect());
            }
            let job = |(i, photo, target): (usize, _, _)| Mutex::new(Some((self.swap.row(i as i64), photo, target)));
            let jobs: Vec<_> = rows.into_iter().map(job).collect();
            let done: Vec<_> = jobs.iter().map(|_| Mutex::new(None)).collect();
            parallel_for(jobs.len(), |k| {
                let (swap, photo, target) = taken(&jobs[k]).expect("each is taken once");
                // In a state of its own: the thread may be libtorch's.
                let swapped = isolated::<_, Error>(|| Ok(rendered(&swap, photo, target)));
                *done[k].lock().unwrap_or_else(PoisonError::into_inner) = Some(swapped);
            });
            done.iter().map(|place| taken(place).expect("each is done")).collect()
        })
    }
}

fn taken<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use crate::native::use_threads;
    use crate::networks::Detail;

    /// A batch of drawn numbers.
    fn painted(count: i64) -> Painted {
        let config = Config::preset(Preset::Kisekae);
        let [height, width] = config.image_size;
        let drawn = |channels: i64, number: u64| {
            let mut t = Tensor::zeros([count, channels, height, width], (Kind::Float, Device::Cpu));
            crate::random::fill_normal(&mut t, 0.5, 1, "painted", number);
            t
        };
        let share = |number| drawn(1, number).sigmoid();
        let detail = Detail {
            flow: drawn(2, 0),
            mix: share(1),
            rendered: drawn(3, 2).tanh(),
            placement: share(3),
            edges: [drawn(1, 4), drawn(1, 5)],
        };
        let swap = Swap {
            mask: share(6),
            paint: drawn(3, 7).tanh(),
            composite: drawn(3, 8).tanh(),
            located: Some(share(9)),
            detail: Some(detail),
        };
        Painted { config, device: Device::Cpu, swap }
    }

    fn photo(height: u32, width: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7 + y) as u8, (y * 3) as u8, (x * y) as u8]))
    }

    #[test]
    fn photos_rendered_at_once_have_the_bytes_of_each_alone() {
        let _threads = use_threads(3);
        let painted = painted(4);
        let photos = [photo(64, 48), photo(300, 200), photo(50, 90), photo(600, 450)];
        let article = photo(80, 60);
        let row = |i: usize| (i, photos[i].clone(), &article);
        let alone: Vec<Swapped> = (0..4).flat_map(|i| painted.render(vec![row(i)]).unwrap()).collect();
        assert_eq!(painted.render((0..4).map(row).collect()).unwrap(), alone);
        // Any rows, in any order.
        assert_eq!(painted.render(vec![row(2), row(0)]).unwrap(), [alone[2].clone(), alone[0].clone()]);
        assert!(alone.iter().zip(&photos).all(|(swap, photo)| swap.image != photo.as_raw().clone()));
        // A failure is an error, and not the end of the process.
        let failed = painted.render(vec![row(0), (9, photos[1].clone(), &article)]);
        assert!(failed.unwrap_err().to_string().contains("libtorch"));
    }

    #[test]
    fn as_many_photos_are_rendered_at_once_as_there_are_threads_and_memory() {
        let painted = painted(1);
        let _threads = use_threads(4);
        let small = 256 * 192;
        assert_eq!(painted.together([small; 16]), 4);
        assert_eq!(painted.together([small; 2]), 2);
        // Three of 600 x 600 take more than 2^20 pixels. A large one is alone, and the small ones before it are not.
        assert_eq!(painted.together([600 * 600; 16]), 2);
        assert_eq!(painted.together([48_000_000, small]), 1);
        assert_eq!(painted.together([small, small, 48_000_000]), 2);
        let _threads = use_threads(1);
        assert_eq!(painted.together([small; 16]), 1);
    }
}
