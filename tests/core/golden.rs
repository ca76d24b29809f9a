//! The core against values that PyTorch recorded (tests/golden): same formulas for weights and pictures on both sides.

use std::collections::HashMap;

use cagan::config::{Config, Preset};
use cagan::losses::{self, Objective};
use cagan::networks::{Discriminator, Generator, Parameters, Path};
use serde_json::Value;
use tch::{Device, Tensor};

/// scale * sin(0.37 * k + shift) for k = 0, 1, ...
fn wave(shape: &[i64], scale: f64, shift: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|k| (scale * (0.37 * k as f64 + shift).sin()) as f32).collect();
    Tensor::from_slice(&values).reshape(shape)
}

fn filled<N>(network: impl FnOnce(&Path) -> N, config: &Config) -> (N, Parameters) {
    let (network, mut parameters) = Parameters::build(network, Device::Cpu, config.precision, 0, "init");
    let shapes = parameters.shapes();
    let mut names: Vec<_> = shapes.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect();
    names.sort();
    let weights: HashMap<String, Tensor> = (names.iter().enumerate())
        .map(|(n, (name, shape))| {
            let tensor = wave(shape, 0.3, n as f64);
            let tensor = if name.ends_with("norm.weight") { tensor + 1.0 } else { tensor };
            (name.clone(), tensor)
        })
        .collect();
    parameters.load(&weights).unwrap();
    (network, parameters)
}

/// Every 97th value.
fn thinned(tensor: &Tensor) -> Vec<f64> {
    let values = Vec::<f32>::try_from(tensor.reshape([-1])).unwrap();
    values.into_iter().step_by(97).map(f64::from).collect()
}

#[test]
fn forward_and_losses_are_what_pytorch_recorded() {
    // `make golden` writes it.
    let golden: Value = serde_json::from_str(include_str!("../golden/values.json")).unwrap();
    let mut compared = 0;
    for (preset, recorded) in golden["presets"].as_object().unwrap() {
        let preset: Preset = preset.parse().unwrap();
        let config = Config::with(preset, recorded["overrides"].clone()).unwrap();
        let (generator, _g) = filled(|path| Generator::new(path, &config), &config);
        let (discriminator, _d) = filled(|path| Discriminator::new(path, &config), &config);
        let Discriminator::Pairs(discriminator) = discriminator else { panic!("expected a discriminator of pairs") };
        let [h, w] = config.image_size;
        let picture = |shift| wave(&[2, 3, h, w], 0.5, shift) + 0.5;
        let [human, worn, target] = [1.0, 2.0, 3.0].map(picture);
        let swap = generator.swap(&human, &worn, &target);
        let [matched, swapped, mismatched] = [(&human, &worn), (&swap.composite, &target), (&human, &target)]
            .map(|(human, article)| discriminator.score(human, article, None));
        let restored = generator.swap(&swap.composite, &target, &worn).composite;
        let form = config.adversarial_loss;
        let mut objective = Objective::new();
        objective.add("adversarial", 1.0, losses::generator(form, &swapped));
        let cycle = losses::cycle(&human, &restored);
        let weights = [config.identity_weight, config.cycle_weight];
        objective.add("identity", weights[0], losses::identity(&swap.mask));
        objective.add("cycle", weights[1], cycle.shallow_clone());
        let one = |t: Tensor| t.reshape([1]);
        for (name, value) in [
            ("mask", swap.mask.shallow_clone()),
            ("paint", swap.paint.shallow_clone()),
            ("matched", matched.shallow_clone()),
            ("discriminator", one(losses::discriminator(form, &matched, &swapped, &mismatched))),
            ("generator", one(objective.total)),
            ("cycle", one(cycle)),
        ] {
            let expected = recorded[name].as_array().unwrap();
            let got = thinned(&value);
            assert_eq!(got.len(), expected.len(), "{name}");
            for (got, expected) in got.iter().zip(expected) {
                let expected = expected.as_f64().unwrap();
                let error = (got - expected).abs() / expected.abs().max(1.0);
                assert!(error < 2e-5, "{preset:?} {name}: {got}, recorded {expected}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared} values were compared");
}
