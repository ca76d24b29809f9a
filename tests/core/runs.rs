//! Runs from folder to folder: going on, stopping, and what is refused.

use std::path::Path;

use cagan::config::{Config, Preset};
use cagan::data::{Options, Pairs};
use cagan::training::{Event, Outcome, Resume, train};
use serde_json::{Map, json};

fn config(steps: u64) -> Config {
    let small = json!({"image_size": [64, 32], "width": 8, "steps": steps, "batch_size": 2, "log_every": 1});
    Config::with(Preset::Smoke, small).unwrap()
}

fn dolls(folder: &Path) -> Pairs {
    let folder = folder.join("dolls");
    cagan::dolls::write(&folder, 5, 1, [64, 32], 0).unwrap();
    Pairs::open(folder, &Options::default()).unwrap()
}

fn bytes(run: &Path, folder: &str, step: u64) -> Vec<u8> {
    std::fs::read(run.join(folder).join(format!("step_{step:08}.safetensors"))).unwrap()
}

#[test]
fn two_steps_and_two_steps_are_four() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let ends = train(&pairs, &whole, config(4), Resume::Auto, &mut |_| true).unwrap();
    assert_eq!(ends, Outcome::Finished);

    let mut stop_at_two = |event: Event| !matches!(event, Event::Step { step: 2 });
    let ends = train(&pairs, &parts, config(4), Resume::Auto, &mut stop_at_two).unwrap();
    assert_eq!(ends, Outcome::Stopped);
    assert!(parts.join("checkpoints/step_00000002.safetensors").is_file());
    let ends = train(&pairs, &parts, config(4), Resume::Auto, &mut |_| true).unwrap();
    assert_eq!(ends, Outcome::Finished);

    assert!(bytes(&whole, "checkpoints", 4) == bytes(&parts, "checkpoints", 4));
    assert!(bytes(&whole, "snapshots", 4) == bytes(&parts, "snapshots", 4));
    let stats = |run: &Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(run.join("stats.jsonl")).unwrap();
        let drop_times = |line: &str| {
            let mut line: serde_json::Map<_, _> = serde_json::from_str(line).unwrap();
            line.retain(|key, _| !key.starts_with("time/"));
            line.into()
        };
        text.lines().map(drop_times).collect()
    };
    assert_eq!(stats(&whole).len(), 4);
    assert_eq!(stats(&whole), stats(&parts));
}

#[test]
fn another_setting_is_refused_and_named_and_a_longer_run_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    let run = folder.path().join("run");
    train(&pairs, &run, config(2), Resume::Auto, &mut |_| true).unwrap();
    let before = bytes(&run, "checkpoints", 2);
    let other = config(3).replace(Map::from_iter([("learning_rate".into(), 1e-3.into())])).unwrap();
    let error = train(&pairs, &run, other, Resume::Auto, &mut |_| true).unwrap_err().to_string();
    assert!(error.contains("learning_rate (0.0002 there, 0.001 here)"), "{error}");
    assert!(!error.contains("steps"), "{error}");
    assert!(bytes(&run, "checkpoints", 2) == before);
    train(&pairs, &run, config(3), Resume::Auto, &mut |_| true).unwrap();
    // Two are kept.
    train(&pairs, &run, config(4), Resume::Must, &mut |_| true).unwrap();
    assert!(!run.join("checkpoints/step_00000002.safetensors").exists());
    assert!(run.join("snapshots/step_00000002.safetensors").exists());
    bytes(&run, "checkpoints", 3);
}
