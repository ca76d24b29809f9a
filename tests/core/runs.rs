//! Runs from folder to folder: going on, stopping, and what is refused.

use std::path::Path;

use cagan::Error;
use cagan::config::{Config, Preset};
use cagan::data::{Options, Pairs};
use cagan::training::{Event, Outcome, Resume, train};
use serde_json::{Value, json};

fn config(steps: u64) -> Config {
    let small = json!({"image_size": [64, 32], "width": 8, "steps": steps, "batch_size": 2, "log_every": 1});
    Config::with(Preset::Smoke, small).unwrap()
}

fn changed(config: Config, settings: Value) -> Config {
    let Value::Object(settings) = settings else { panic!("expected an object") };
    config.replace(settings).unwrap()
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
    let other = changed(config(3), json!({"learning_rate": 1e-3}));
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

/// Puts a folder that is not empty in a file's place: neither a write nor a rename replaces it, not even root's.
fn block(path: &Path) {
    let _ = std::fs::remove_file(path);
    std::fs::create_dir_all(path.join("in the way")).unwrap();
}

fn unblock(path: &Path) {
    std::fs::remove_dir_all(path).unwrap();
}

const END: [&str; 3] =
    ["checkpoints/step_00000003.safetensors", "snapshots/step_00000003.safetensors", "samples/step_00000003.png"];

#[test]
fn a_file_that_fails_at_the_end_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    let whole = folder.path().join("whole");
    train(&pairs, &whole, config(3), Resume::Auto, &mut |_| true).unwrap();
    for (number, name) in ["stats.jsonl", END[0], END[1], END[2]].into_iter().enumerate() {
        for stops in [false, true] {
            let run = folder.path().join(format!("run {number} {stops}"));
            let mut events = |event: Event| {
                let last = matches!(event, Event::Step { step: 3 });
                if last {
                    block(&run.join(name));
                }
                !(last && stops)
            };
            let error = train(&pairs, &run, config(3), Resume::Auto, &mut events).unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
            for other in END.into_iter().filter(|other| *other != name) {
                assert!(run.join(other).is_file(), "{other} beside {name}");
            }
            // The next call writes the missing file.
            unblock(&run.join(name));
            train(&pairs, &run, config(3), Resume::Auto, &mut |_| true).unwrap();
            for name in END {
                let read = |run: &Path| std::fs::read(run.join(name)).unwrap();
                assert!(read(&run) == read(&whole), "{name}");
            }
        }
    }
}

#[test]
fn the_first_failure_is_returned_and_the_others_are_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    let run = folder.path().join("run");
    let mut warnings = Vec::new();
    let mut events = |event: Event| {
        match event {
            Event::Step { step: 3 } => [END[0], END[2]].iter().for_each(|name| block(&run.join(name))),
            Event::Warning(text) => warnings.push(text.to_owned()),
            _ => {}
        }
        true
    };
    let error = train(&pairs, &run, config(3), Resume::Auto, &mut events).unwrap_err().to_string();
    assert!(error.contains(END[0]), "{error}");
    assert!(warnings.len() == 1 && warnings[0].contains(END[2]), "{warnings:?}");
    assert!(run.join(END[1]).is_file());
}

#[test]
fn a_look_that_fails_ends_the_run_at_a_checkpoint_and_is_done_later() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    let config = || changed(config(4), json!({"monitor_every": 2, "loader": "streaming"}));
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    train(&pairs, &whole, config(), Resume::Auto, &mut |_| true).unwrap();

    let (here, away) = (folder.path().join("dolls"), folder.path().join("away"));
    let mut events = |event: Event| {
        if matches!(event, Event::Step { step: 2 }) {
            std::fs::rename(&here, &away).unwrap();
        }
        true
    };
    let error = train(&pairs, &parts, config(), Resume::Auto, &mut events).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(parts.join("checkpoints/step_00000002.safetensors").is_file());
    std::fs::rename(&away, &here).unwrap();
    train(&pairs, &parts, config(), Resume::Must, &mut |_| true).unwrap();

    assert!(bytes(&whole, "checkpoints", 4) == bytes(&parts, "checkpoints", 4));
    let looks = |run: &Path| std::fs::read_to_string(run.join("monitor.jsonl")).unwrap();
    assert_eq!(looks(&whole).lines().count(), 2);
    assert_eq!(looks(&whole), looks(&parts));
}

/// A run that is infinite within a few steps, whatever the pictures are.
fn diverging(on_non_finite: &str) -> Config {
    let adam = json!({"learning_rate": 1, "adam_beta1": 0.99, "adam_beta2": 0, "adam_epsilon": 1e-30});
    let saves = json!({"checkpoint_every": 1, "keep_checkpoints": 100, "on_non_finite": on_non_finite});
    changed(changed(config(300), adam), saves)
}

#[test]
fn a_full_disk_does_not_hide_that_a_loss_was_not_finite() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    for (number, name) in ["failed.safetensors", "stats.jsonl", "monitor.jsonl"].into_iter().enumerate() {
        for on_non_finite in ["stop", "rollback"] {
            let run = folder.path().join(format!("{number} {on_non_finite}"));
            let mut back = 0;
            let mut events = |event: Event| {
                match event {
                    Event::Step { step: 1 } if !run.join(name).is_dir() => block(&run.join(name)),
                    Event::Warning(text) => back += u32::from(text.contains("going back to step")),
                    _ => {}
                }
                true
            };
            let error = train(&pairs, &run, diverging(on_non_finite), Resume::Auto, &mut events).unwrap_err();
            assert!(matches!(error, Error::NonFinite { .. }), "{name}: {error}");
            assert_eq!(back > 0, on_non_finite == "rollback", "{name}");
        }
    }
}

#[test]
fn the_way_back_passes_over_damaged_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    let run = folder.path().join("run");
    let damaged = |step: u64| step > 1;
    let mut warnings = Vec::new();
    let mut events = |event: Event| {
        match event {
            Event::Checkpoint(path) if damaged(step_of(path)) => std::fs::write(path, "damaged").unwrap(),
            Event::Warning(text) => warnings.push(text.to_owned()),
            _ => {}
        }
        true
    };
    let error = train(&pairs, &run, diverging("rollback"), Resume::Auto, &mut events).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    let back: Vec<_> = warnings.iter().filter(|text| text.contains("going back to step 1 and on at")).collect();
    assert_eq!(back.len(), 3, "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("expected a whole safetensors file")), "{warnings:?}");
    // Without any whole checkpoint the reason is still the loss.
    let run = folder.path().join("none");
    let mut events = |event: Event| {
        if let Event::Checkpoint(path) = event {
            std::fs::write(path, "damaged").unwrap();
        }
        true
    };
    let error = train(&pairs, &run, diverging("rollback"), Resume::Auto, &mut events).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
}

fn step_of(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().strip_prefix("step_").unwrap().parse().unwrap()
}

#[test]
fn what_was_taken_up_again_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = dolls(folder.path());
    let run = folder.path().join("run");
    let notes = || std::fs::read_to_string(run.join("resumes.jsonl")).unwrap_or_default();
    train(&pairs, &run, config(1), Resume::Auto, &mut |_| true).unwrap();
    assert_eq!(notes(), "");
    for steps in [2, 2, 3] {
        train(&pairs, &run, config(steps), Resume::Auto, &mut |_| true).unwrap();
    }
    assert_eq!(notes(), "{\"step\":1}\n{\"step\":2}\n");
}
