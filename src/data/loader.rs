//! From pairs to triplets: decodes every picture once, then takes batches from the device's memory or from decoding
//! threads.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use tch::{Device, Kind, Tensor};
use xxhash_rust::xxh3::Xxh3Default;

use super::batch::Batch;
use super::colour::Jitter;
use super::draw::{Draw, Targets};
use super::look::{Look, check_same};
use super::packed::Place;
use super::pairs::{LeftOut, OnError, Pairs};
use super::plan::Plan;
use super::resident::Resident;
use super::set::{File, Set, Side, loaded_size};
use super::share::{Alone, Crew, Share, agreed};
use super::streaming::Streaming;
use super::sums::Sums;
use crate::config::{Config, LoaderMode};
use crate::error::{Error, Result};
use crate::pixels::ValueRange;

/// Pictures between two reports of progress.
const PART: usize = 256;

/// One batch in the networks' value range.
///
/// # Shapes
/// All three: `[N, 3, H, W]`, float32.
#[derive(Debug)]
pub struct Triplet {
    /// Photos of people.
    pub human: Tensor,
    /// The articles that they wear.
    pub worn: Tensor,
    /// The articles to put on.
    pub target: Tensor,
}

#[derive(Debug)]
enum Store {
    Resident(Resident),
    Streaming(Streaming),
}

/// Triplets of a set of pairs.
#[derive(Debug)]
pub struct Loader {
    /// The memory and the threads that it takes.
    pub plan: Plan,
    /// Pairs that [`Pairs`] skipped, then those with a picture that cannot be decoded.
    pub skipped: Vec<LeftOut>,
    set: Arc<Set>,
    store: Store,
    range: ValueRange,
    device: Device,
}

impl Loader {
    /// Decodes every picture once, to keep it, or to check it and to find equal articles.
    ///
    /// Calls `progress` with the plan and the number of decoded files, first with 0. Returns None once it returns
    /// false.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than two pairs, fewer than a batch, pairs of several splits, a pair without a
    /// possible target, or `loader` resident with too little memory; [`Error::Content`] with the path of the first
    /// picture, in the pairs' order, that cannot be decoded, unless the pairs skip errors.
    pub fn open(
        pairs: &Pairs,
        config: &Config,
        device: Device,
        progress: &mut dyn FnMut(&Plan, usize) -> bool,
    ) -> Result<Option<Loader>> {
        Self::shared(pairs, config, device, &Alone, progress)
    }

    /// As [`Loader::open`], in one of several processes that train together: each decodes its part of the files and
    /// tells the others, and takes its own rows of each batch. All processes keep or stream alike.
    ///
    /// # Errors
    /// As [`Loader::open`]; [`Error::Setting`] for other pairs than those of the first process; [`Error::Peer`] with the
    /// message of a process that stopped or failed; [`Error::Lost`].
    pub fn shared(
        pairs: &Pairs,
        config: &Config,
        device: Device,
        crew: &dyn Crew,
        progress: &mut dyn FnMut(&Plan, usize) -> bool,
    ) -> Result<Option<Loader>> {
        let mut goes_on = |plan: &Plan, done: usize| {
            let goes_on = progress(plan, done);
            crew.hear((!goes_on).then(|| crew.why_stopped()).as_deref()).map(|()| goes_on)
        };
        agreed(crew, check_splits(pairs))?;
        let listed = Listed::new(pairs, config);
        check_same(pairs, listed.files.len(), crew)?;
        let plan = Plan::new(pairs.len(), listed.files.len(), config, device, crew.share());
        let plan = agreed(crew, plan)?.agreed(crew)?;
        if !goes_on(&plan, 0)? {
            return Ok(None);
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(plan.workers)
            .thread_name(|i| format!("cagan-decode-{i}"))
            // The receiver of a batch notices that its thread panicked.
            .panic_handler(|_| {})
            .build()
            .map_err(|error| Error::Device(format!("no threads to decode with: {error}")))?;
        let size = loaded_size(config);
        let mut resident = match plan.mode {
            LoaderMode::Streaming => None,
            _ => Some(agreed(crew, Resident::allocate(listed.files.len(), size, device))?),
        };
        let mut sums = match &resident {
            Some(_) => None,
            None => Sums::open(pairs.folder.as_deref(), listed.files.len(), config),
        };
        let mut look_at = |resident: &mut Option<Resident>, sums: &mut Option<Sums>| -> Result<Option<Looked>> {
            let mut looked = Looked::default();
            for (part, files) in listed.files.chunks(PART).enumerate() {
                let stock = pairs.packed.stock();
                let look = Look { crew, pool: &pool, config, stock, keeps: resident.is_some(), sums: sums.as_ref() };
                let decoded = look.at(part * PART, files)?;
                if let Some(resident) = resident {
                    // A broken picture keeps its place, which is never read.
                    let blank = vec![0; 3 * (size[0] * size[1]) as usize];
                    let pictures: Vec<&[u8]> = (decoded.iter())
                        .map(|picture| picture.as_ref().map_or(blank.as_slice(), |(_, bytes)| bytes))
                        .collect();
                    resident.fill(part * PART, &pictures);
                }
                for picture in decoded {
                    match picture {
                        Err(error) if pairs.on_error == OnError::Raise => return Err(error),
                        Err(error) => looked.push_broken(&error),
                        Ok((hash, _)) => looked.sums.push(hash),
                    }
                }
                if let Some(sums) = sums.as_mut().filter(|_| crew.share().rank == 0) {
                    sums.write(false);
                }
                if !goes_on(&plan, looked.sums.len())? {
                    return Ok(None);
                }
            }
            Ok(Some(looked))
        };
        let looked = look_at(&mut resident, &mut sums);
        // Also those of a start that was stopped, or that met a broken picture.
        if let Some(sums) = sums.as_mut().filter(|_| crew.share().rank == 0) {
            sums.write(true);
        }
        drop(sums);
        let Some(looked) = looked? else { return Ok(None) };
        let (set, skipped) = listed.sound(pairs, &looked, config, crew.share())?;
        let set = Arc::new(set);
        let store = match resident {
            Some(resident) => Store::Resident(resident),
            None => Store::Streaming(Streaming::new(set.clone(), pool, device)),
        };
        Ok(Some(Loader { plan, skipped, set, store, range: config.range(), device }))
    }

    /// The number of pairs that can be drawn.
    pub fn len(&self) -> usize {
        self.set.humans.len()
    }

    /// Whether no pair can be drawn.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of all loaded pictures, in the pairs' order, and of their groups. A run resumes on equal data only.
    pub fn fingerprint(&self) -> &str {
        &self.set.fingerprint
    }

    /// The number of articles that can be targets: the pairs' own and those without a human.
    pub fn articles(&self) -> usize {
        self.set.articles.len()
    }

    /// Returns the triplet of a step.
    ///
    /// # Errors
    /// A streamed picture that can no longer be decoded.
    pub fn triplet(&self, step: u64) -> Result<Triplet> {
        let draw = self.set.draw(step);
        match &self.store {
            Store::Resident(resident) => Ok(self.finished(resident.batch(&self.set, &draw, self.range), &draw)),
            Store::Streaming(streaming) => Ok(self.finished(streaming.of_step(step)?, &draw)),
        }
    }

    /// Returns the centre crops of these pairs and articles, unmirrored, as swapping uses them.
    ///
    /// # Errors
    /// As [`Loader::triplet`].
    pub fn plain(&self, humans: &[usize], targets: &[usize]) -> Result<Triplet> {
        let draw = self.set.plain(humans, targets);
        let batch = match &self.store {
            Store::Resident(resident) => resident.batch(&self.set, &draw, self.range),
            Store::Streaming(streaming) => streaming.of_draw(&draw)?,
        };
        Ok(self.finished(batch, &draw))
    }

    /// Moves bytes to the loader's device, jitters and scales them. Values are finished already.
    fn finished(&self, batch: Batch, draw: &Draw) -> Triplet {
        let [human, worn, target] = match batch {
            Batch::Values(values) => values,
            Batch::Bytes(bytes) => {
                let jitter = (!draw.colours.is_empty()).then(|| Jitter::new(&draw.colours, self.device));
                bytes.map(|bytes| {
                    let bytes = bytes.to_device_(self.device, Kind::Uint8, true, false);
                    match &jitter {
                        None => self.range.from_bytes(&bytes),
                        Some(jitter) => self.range.from_bytes(&jitter.apply(&bytes)),
                    }
                })
            }
        };
        Triplet { human, worn, target }
    }
}

fn check_splits(pairs: &Pairs) -> Result<()> {
    let splits = pairs.splits();
    if splits.len() < 2 {
        return Ok(());
    }
    let got: Vec<String> = (splits.iter()).map(|(name, count)| format!("{name} ({count})")).collect();
    let rule = "one split, to keep test pairs out of training; Pairs.of_split(name) takes one";
    Err(Error::setting("pairs", rule, got.join(", ")))
}

/// The distinct files of the pairs, numbered.
struct Listed {
    files: Vec<File>,
    humans: Vec<u32>,
    articles: Vec<u32>,
}

/// What the first look found.
#[derive(Default)]
struct Looked {
    /// The hash of each file; 0 for a broken one.
    sums: Vec<u128>,
    /// The errors of broken files.
    broken: HashMap<u32, String>,
}

impl Looked {
    fn push_broken(&mut self, error: &Error) {
        self.broken.insert(self.sums.len() as u32, error.to_string());
        self.sums.push(0);
    }
}

impl Listed {
    fn new(pairs: &Pairs, config: &Config) -> Listed {
        let (packed, stock) = (&pairs.packed, pairs.packed.stock());
        let (mut files, mut numbers) = (Vec::new(), HashMap::new());
        let mut number = |place: Place, side: Side| {
            *numbers.entry(File::new(stock.key(place), side, config)).or_insert_with(|| {
                files.push(File::new(place, side, config));
                files.len() as u32 - 1
            })
        };
        let mut listed = Listed { files: Vec::new(), humans: Vec::new(), articles: Vec::new() };
        for place in 0..pairs.len() {
            listed.humans.push(number(packed.human(place), Side::Human));
            listed.articles.push(number(packed.article(place), Side::Article));
        }
        listed.articles.extend(packed.extra().map(|(_, place)| number(place, Side::Article)));
        listed.files = files;
        listed
    }

    /// Keeps the pairs whose pictures could be decoded, and lists the others.
    fn sound(self, pairs: &Pairs, looked: &Looked, config: &Config, share: Share) -> Result<(Set, Vec<LeftOut>)> {
        let (packed, stock) = (&pairs.packed, pairs.packed.stock());
        let mut skipped = pairs.skipped.clone();
        let mut sound = |id: &str, files: &[u32]| {
            let broken = files.iter().find_map(|file| looked.broken.get(file).map(|error| (file, error)));
            if let Some((file, error)) = broken {
                skipped.push(LeftOut {
                    id: id.to_owned(),
                    path: stock.source(self.files[*file as usize].place).name().to_owned(),
                    reason: error.clone(),
                });
            }
            broken.is_none()
        };
        let (mut humans, mut articles, mut groups, mut places) = (vec![], vec![], vec![], vec![]);
        for i in 0..pairs.len() {
            if sound(packed.id(i), &[self.humans[i], self.articles[i]]) {
                humans.push(self.humans[i]);
                articles.push(self.articles[i]);
                groups.push(packed.group(i));
                places.push(i as u32);
            }
        }
        for ((id, _), &file) in packed.extra().zip(&self.articles[pairs.len()..]) {
            if sound(id, &[file]) {
                articles.push(file);
            }
        }
        if humans.is_empty() || articles.len() < 2 {
            let rule = "at least 2, since the target is another pair's article";
            return Err(Error::setting("pairs", rule, humans.len()));
        }
        if config.batch_size > humans.len() {
            let rule = format!("at most the number of pairs ({})", humans.len());
            return Err(Error::setting("batch_size", rule, config.batch_size));
        }
        let content = |file: &u32| looked.sums[*file as usize];
        let contents: Vec<u128> = articles.iter().map(content).collect();
        let targets = Targets::new(&contents, &groups).map_err(|pair| {
            let rule = "for each pair an article of other content and of another group, as its target";
            Error::setting("pairs", rule, format!("none for `{}`", packed.id(places[pair] as usize)))
        })?;
        let mut sum = Xxh3Default::new();
        for file in humans.iter().chain(&articles) {
            sum.update(&content(file).to_le_bytes());
        }
        for group in &groups {
            sum.update(&group.map_or(u64::MAX, |name| name.len() as u64).to_le_bytes());
            sum.update(group.unwrap_or_default().as_bytes());
        }
        let set = Set {
            config: config.clone(),
            fingerprint: format!("{:032x}", sum.digest128()),
            stock: stock.clone(),
            files: self.files,
            humans,
            articles,
            targets,
            share,
        };
        Ok((set, skipped))
    }
}
