//! Feeds mutations of good inputs to the readers of foreign bytes: `cargo bench --bench mutations -- [TARGET=COUNT ...]`.
//!
//! Without arguments it makes 10,000 inputs for each target. It needs neither nightly nor libFuzzer, repeats itself (the
//! seed is the variable SEED, 0 without it), and checks what the targets in `fuzz/` check. It prints for each target the
//! inputs, how many were accepted, the rate, the slowest input, and what panicked; it keeps such inputs, and slow ones,
//! in `target/mutations`, and ends with 1 if there are any.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cagan::dolls;
use cagan::pixels::png;
use cagan::random::rng;
use cagan::storage::{Format, write_tensors};
use image::ImageFormat;
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use rand::RngExt;
use tch::{Device, Kind, Tensor};

#[path = "../fuzz/checks/decode.rs"]
mod decode;
#[path = "../fuzz/checks/jsonl.rs"]
mod jsonl;
#[path = "../fuzz/checks/pairs_csv.rs"]
mod pairs_csv;
#[path = "../fuzz/checks/profiles.rs"]
mod profiles;
#[path = "../fuzz/checks/tensors.rs"]
mod tensors;

/// Name, check, good inputs, words that are put into inputs.
type Target = (&'static str, fn(&[u8]) -> bool, fn() -> Vec<Vec<u8>>, &'static [&'static str]);

#[rustfmt::skip]
const TARGETS: [Target; 5] = [
    ("pairs_csv", pairs_csv::check, lists,
        &["\"", ",", "\n", "\r\n", "id,human,article", "../", "/", "\u{feff}", "\0", "weight", "targets", "#", "é"]),
    ("jsonl", jsonl::check, lines,
        &["{\"step\":", "}", "\n", "[", "null", "1e999", "-1", "\\u0000", "18446744073709551616", "\"step\":3", "9.0"]),
    ("tensors", tensors::check, files,
        &["\"shape\":[", "18446744073709551615", "data_offsets", "F32", "__metadata__", "{", "}", "\u{ff}", "0", "-1"]),
    ("decode", decode::check, pictures, &["IHDR", "IDAT", "ICCP", "Exif\0\0", "RIFF", "II*\0", "NETSCAPE2.0"]),
    ("profiles", profiles::check, colour_profiles, &["A2B0", "mft2", "mAB ", "curv", "para", "rTRC", "CMYK", "GRAY"]),
];

/// An input that takes longer is reported.
const SLOW: Duration = Duration::from_secs(5);
/// Accepted inputs that are mutated further.
const POOL: usize = 64;
/// Inputs do not grow beyond this.
const LONGEST: usize = 1 << 16;

fn lists() -> Vec<Vec<u8>> {
    [
        "id,human,article\n0,a.png,b.png\n1,c.png,d.png\n",
        "human,article,split,weight,targets\na.jpg,b.jpg,train,2,1;2\nc.jpg,\"d, e.jpg\",test,.5,\n",
        "0,1.png,2.png\n3,\"4\"\"5.png\",6.png\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn lines() -> Vec<Vec<u8>> {
    let text = "{\"step\":2,\"loss\":0.5,\"time/step_s\":1e-3}\n{\"step\":4,\"words\":[\"a\",null]}\n{\"step\":250}\n";
    vec![text.into(), b"\xff{\"step\":2}\n{\"step\":4,\"to".to_vec()]
}

fn files() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let header = BTreeMap::from([("config".into(), "{}".into()), ("step".into(), "3".into())]);
    let tensors = [("a.weight", 6i64), ("b.bias", 2)]
        .map(|(name, n)| (name.to_owned(), Tensor::arange(n, (Kind::Float, Device::Cpu))));
    write_tensors(&path, Format { name: "cagan.checkpoint", version: "3" }, header, &tensors).expect("a file");
    let dressed = b"{\"format\":\"cagan.snapshot\"}\xff,\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}\xff01234567";
    vec![std::fs::read(&path).expect("the file"), dressed.to_vec()]
}

fn pictures() -> Vec<Vec<u8>> {
    let photo = dolls::pair(1, 0, [24, 16]).0;
    let jpeg = |sampling| compress(photo.as_raw(), 16, 24, PixelFormat::Rgb, 80, sampling).expect("a file");
    let mut files = vec![jpeg(Subsampling::S420), jpeg(Subsampling::S444)];
    for format in [ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Png, ImageFormat::WebP] {
        let mut bytes = Cursor::new(Vec::new());
        photo.write_to(&mut bytes, format).expect("a file");
        files.push(bytes.into_inner());
    }
    files.push(png(&[100; 24 * 16], [24, 16], 1));
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).expect("a file");
    encoder.write_image::<tiff::encoder::colortype::RGB8>(16, 24, photo.as_raw()).expect("a file");
    files.push(bytes.into_inner());
    files
}

fn colour_profiles() -> Vec<Vec<u8>> {
    let grey = lcms2::Profile::new_gray(&lcms2::CIExyY::default(), &lcms2::ToneCurve::new(1.8)).expect("a profile");
    let [srgb, lab, limit] = [
        lcms2::Profile::new_srgb(),
        lcms2::Profile::new_lab4_context(lcms2::GlobalContext::new(), &lcms2::CIExyY::default()).expect("a profile"),
        lcms2::Profile::ink_limiting(lcms2::ColorSpaceSignature::CmykData, 250.0).expect("a profile"),
    ];
    let wide = moxcms::ColorProfile::new_display_p3().encode().expect("a profile");
    let own = [srgb, lab, limit, grey].map(|profile| profile.icc().expect("bytes"));
    own.into_iter().chain([wide]).collect()
}

/// Changes an input in one to eight places.
fn mutated(input: &[u8], other: &[u8], words: &[&str], random: &mut impl RngExt) -> Vec<u8> {
    const NUMBERS: [u32; 10] = [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    let mut bytes = input.to_vec();
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..=bytes.len());
        let length = random.random_range(0..=(bytes.len() - at).min(16));
        match random.random_range(0..9) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            2 if at < bytes.len() => bytes[at] = random.random(),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let again = bytes[at..at + length].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let word = words[random.random_range(0..words.len())];
                bytes.splice(at..at + length * random.random_range(0..2), word.bytes());
            }
            6 if bytes.len() >= at + 4 => {
                let number = NUMBERS[random.random_range(0..NUMBERS.len())];
                let number = if random.random_bool(0.5) { number.to_le_bytes() } else { number.to_be_bytes() };
                bytes[at..at + 4].copy_from_slice(&number);
            }
            7 if random.random_bool(0.2) => bytes.truncate(at),
            8 if random.random_bool(0.2) => {
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            _ => {}
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Runs a target. Returns the number of inputs that it kept.
fn run((name, check, seeds, words): Target, count: u64, seed: u64) -> usize {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/mutations");
    let seeds = seeds();
    for (k, input) in seeds.iter().enumerate() {
        // What is never accepted is a poor seed: the check would be of errors alone.
        let accepted = catch_unwind(|| check(input)).unwrap_or(false);
        eprintln!("{name}: good input {k}: {} bytes, {}", input.len(), if accepted { "accepted" } else { "refused" });
    }
    let mut pool = seeds.clone();
    let mut random = rng(seed, name, 0);
    let (mut accepted, mut kept, mut slowest) = (0u64, 0, Duration::ZERO);
    let began = Instant::now();
    for k in 0..count {
        let [one, other] = [(); 2].map(|()| random.random_range(0..pool.len()));
        let input = mutated(&pool[one], &pool[other], words, &mut random);
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| check(&input)));
        let took = started.elapsed();
        slowest = slowest.max(took);
        if result.is_err() || took > SLOW {
            kept += 1;
            std::fs::create_dir_all(&folder).expect("a folder");
            let path = folder.join(format!("{name}-{seed}-{k}"));
            std::fs::write(&path, &input).expect("a file");
            println!("{name}: {} in {took:?}: {}", if result.is_err() { "panicked" } else { "slow" }, path.display());
        }
        if result.is_ok_and(|good| good) {
            accepted += 1;
            if pool.len() < POOL {
                pool.push(input);
            } else if random.random_bool(0.1) {
                let place = random.random_range(seeds.len()..POOL);
                pool[place] = input;
            }
        }
    }
    let took = began.elapsed();
    println!(
        "{name}: {count} inputs, {accepted} accepted, {:.0} a second, slowest {slowest:?}, {kept} panicked or slow",
        count as f64 / took.as_secs_f64()
    );
    std::io::stdout().flush().expect("output");
    kept
}

fn main() {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("expected TARGET=COUNT, got {text:?}"));
    let seed = std::env::var("SEED").map_or(0, |seed| number(&seed));
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted: Vec<(Target, u64)> = match arguments.is_empty() {
        true => TARGETS.map(|target| (target, 10_000)).into(),
        false => arguments
            .iter()
            .map(|argument| {
                let (name, count) = argument.split_once('=').unwrap_or((argument, "10000"));
                let target = TARGETS.into_iter().find(|target| target.0 == name);
                let known = TARGETS.map(|target| target.0).join(", ");
                (target.unwrap_or_else(|| panic!("expected {known}, got {name}")), number(count))
            })
            .collect(),
    };
    let kept: usize = wanted.into_iter().map(|(target, count)| run(target, count, seed)).sum();
    std::process::exit(i32::from(kept > 0));
}
