//! Runs one part of the core under callgrind, which counts its instructions. `python benchmarks/instructions.py` starts
//! it.
//!
//! Runs the part twice and counts the second run: the first binds symbols and builds tables.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;

use cagan::config::{Config, Fit, Preset};
use cagan::curation::{self, measure};
use cagan::data::{Draw, Loader, Pairs, Source, Targets};
use cagan::pixels::{self, decode_rgb, planes};
use cagan::random::fill_normal;
use cagan::storage::{Format, parse_tensors, write_tensors};
use cagan::training::Adam;
use image::RgbImage;
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// The number of units in a run, and the run.
type Part = (usize, Box<dyn FnMut()>);

/// Name, description, unit, set-up.
type Case = (&'static str, &'static str, &'static str, fn() -> Part);

#[rustfmt::skip]
const CASES: [Case; 11] = [
    ("jpeg", "a doll of 256 x 192 decoded from a JPEG of quality 90", "pixel", jpeg),
    ("png", "the same from a PNG", "pixel", png),
    ("fit", "256 x 192 to 132 x 100, as planes", "pixel taken", fit),
    ("draw", "the draw of a batch of 16 from 10,000 pairs", "triplet", draw),
    ("triplet", "a batch of 16, 128 x 96, from 16 pairs in memory", "triplet", triplet),
    ("noise", "a million gaussian values", "value", noise),
    ("adam", "an update of a million parameters", "parameter", adam),
    ("doll", "a doll and its article drawn, 128 x 96", "pair", doll),
    ("measure", "a JPEG of 256 x 192 read, decoded and measured for curation", "picture", measured),
    ("tensors", "a million values in 16 tensors parsed and their sum checked", "value", tensors),
    ("config", "all settings from JSON, checked, a hundred times", "config", config),
];

/// callgrind counts only the instructions of this function.
#[inline(never)]
#[unsafe(no_mangle)]
fn cagan_counted(run: &mut dyn FnMut()) {
    run();
    // Keeps the call from becoming a tail call, which would leave the function.
    black_box(());
}

fn part<T: 'static>(units: usize, mut run: impl FnMut() -> T + 'static) -> Part {
    (units, Box::new(move || drop(black_box(run()))))
}

const PHOTO: [u32; 2] = [256, 192];
const PIXELS: usize = 256 * 192;

fn photo() -> RgbImage {
    cagan::dolls::pair(1, 0, PHOTO).0
}

fn jpeg_file() -> Vec<u8> {
    let size = PHOTO.map(|side| side as usize);
    pixels::Format::Jpeg(80).encode(photo().as_raw(), size, 3).unwrap()
}

fn jpeg() -> Part {
    let bytes = jpeg_file();
    part(PIXELS, move || decode_rgb(&bytes).unwrap())
}

fn png() -> Part {
    let bytes = pixels::png(photo().as_raw(), PHOTO.map(|side| side as usize), 3);
    part(PIXELS, move || decode_rgb(&bytes).unwrap())
}

fn fit() -> Part {
    let photo = photo();
    part(PIXELS, move || planes(&photo, [132, 100], Fit::Crop))
}

fn paper() -> Config {
    Config::with(Preset::Paper, json!({"batch_size": 16, "loader": "resident"})).unwrap()
}

fn draw() -> Part {
    let contents: Vec<usize> = (0..10_000).collect();
    let targets = Targets::new(&contents, &[None::<u8>; 10_000]).unwrap();
    let config = paper();
    part(16, move || Draw::of_step(&config, &targets, 7))
}

fn triplet() -> Part {
    let folder = tempfile::tempdir().unwrap();
    cagan::dolls::write(folder.path(), 16, 1, [128, 96], 0).unwrap();
    let pairs = Pairs::open(folder.path(), &Default::default()).unwrap();
    let loader = Loader::open(&pairs, &paper(), Device::Cpu, &mut |_, _| true);
    let loader = loader.unwrap().unwrap();
    part(16, move || loader.triplet(7).unwrap())
}

const MILLION: usize = 1_000_000;

fn gaussian(number: u64) -> Tensor {
    let mut values = Tensor::zeros([MILLION as i64], (Kind::Float, Device::Cpu));
    fill_normal(&mut values, 1.0, 1, "instructions", number);
    values
}

fn noise() -> Part {
    let mut values = gaussian(0);
    part(MILLION, move || fill_normal(&mut values, 1.0, 1, "instructions", 1))
}

fn adam() -> Part {
    let (mut values, gradient) = (gaussian(0), gaussian(1));
    let mut adam = Adam::new(&values, &Config::preset(Preset::Paper), 2e-4);
    part(MILLION, move || adam.step(&mut values, &gradient, 1.0))
}

fn doll() -> Part {
    part(1, || cagan::dolls::pair(1, 0, [128, 96]))
}

fn measured() -> Part {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&jpeg_file()).unwrap();
    part(1, move || measure(&Source::from(file.path().to_path_buf()), curation::Kind::Human).unwrap())
}

fn tensors() -> Part {
    let file = tempfile::NamedTempFile::new().unwrap();
    let values = gaussian(0).reshape([16, -1]);
    let named: Vec<_> = (0..16).map(|i| (format!("{i}"), values.get(i))).collect();
    let format = Format { name: "test", version: "1" };
    write_tensors(file.path(), format, BTreeMap::new(), &named).unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    part(MILLION, move || parse_tensors(&bytes, file.path(), format).unwrap())
}

fn config() -> Part {
    let text = Config::preset(Preset::Paper).to_json();
    part(100, move || [(); 100].map(|()| Config::from_json(&text).unwrap()))
}

fn main() {
    // `cargo bench` adds arguments, and `cargo test` its filter.
    let case = std::env::args().find_map(|word| CASES.iter().find(|case| case.0 == word));
    let Some((name, what, unit, set_up)) = case else {
        let names = CASES.map(|case| case.0).join(" ");
        println!("python benchmarks/instructions.py counts these with callgrind: {names}");
        return;
    };
    // callgrind counts on the thread that enters the function, so this thread is the pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.use_current_thread().build_global().unwrap();
    tch::set_num_threads(1);
    let (units, mut run) = set_up();
    run();
    cagan_counted(&mut run);
    println!("{}", json!({"case": name, "what": what, "unit": unit, "units": units}));
}
