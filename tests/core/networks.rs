//! Names and shapes of the parameters, and what holds for every composite.

use cagan::config::{Config, Preset};
use cagan::networks::{Discriminator, Generator, Parameters, composite};
use cagan::random::fill_normal;
use serde_json::json;
use tch::{Device, Kind, Tensor};

fn described(config: &Config) -> String {
    let (_, generator) =
        Parameters::build(|path| Generator::new(path, config), Device::Cpu, config.precision, 0, "init");
    let (_, discriminator) =
        Parameters::build(|path| Discriminator::new(path, config), Device::Cpu, config.precision, 0, "init");
    let lines = |name: &str, parameters: &Parameters| {
        let shapes: Vec<String> =
            (parameters.shapes().iter()).map(|(name, shape)| format!("  {name} {shape:?}")).collect();
        format!("{name}: {} parameters\n{}", parameters.count(), shapes.join("\n"))
    };
    [lines("generator", &generator), lines("discriminator", &discriminator)].join("\n")
}

#[test]
fn the_articles_parameters() {
    let text = described(&Config::preset(Preset::Vasily));
    assert!(text.contains("generator: 5522436 parameters"), "{text}");
    assert!(text.contains("discriminator: 6990017 parameters"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_papers_parameters() {
    insta::assert_snapshot!(described(&Config::preset(Preset::Paper)));
}

#[test]
fn the_presets_configs() {
    assert_eq!(Config::default(), Config::preset(Preset::default()));
    for preset in [Preset::Kisekae, Preset::Paper] {
        insta::assert_snapshot!(preset.name(), Config::preset(preset).to_json());
    }
}

fn drawn(shape: &[i64], number: u64) -> Tensor {
    let mut tensor = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    fill_normal(&mut tensor, 1.0, 1, "test", number);
    tensor
}

#[test]
fn a_composite_lies_between_human_and_paint() {
    let (human, paint) = (drawn(&[2, 3, 8, 6], 0), drawn(&[2, 3, 8, 6], 1));
    let mask = drawn(&[2, 1, 8, 6], 2).sigmoid();
    let mixed = composite(&human, &paint, &mask);
    let low = human.minimum(&paint) - 1e-6;
    let high = human.maximum(&paint) + 1e-6;
    assert!(bool::try_from(mixed.ge_tensor(&low).all()).unwrap());
    assert!(bool::try_from(mixed.le_tensor(&high).all()).unwrap());
    assert_eq!(composite(&human, &paint, &mask.zeros_like()), human);
    assert_eq!(composite(&human, &paint, &mask.ones_like()), paint);
}

/// A batch must give each picture what it gives it alone: statistics are each picture's own.
#[test]
fn pictures_of_a_batch_do_not_see_each_other() {
    for preset in [Preset::Vasily, Preset::Paper] {
        let config = Config::with(preset, json!({"width": 16, "image_size": [64, 32]})).unwrap();
        let (generator, _parameters) =
            Parameters::build(|path| Generator::new(path, &config), Device::Cpu, config.precision, 3, "init");
        let [human, worn, target] = [0, 1, 2].map(|k| drawn(&[3, 3, 64, 32], k));
        let all = generator.swap(&human, &worn, &target);
        let one = |t: &Tensor| t.narrow(0, 1, 1);
        let alone = generator.swap(&one(&human), &one(&worn), &one(&target));
        let apart = (one(&all.composite) - alone.composite).abs().max();
        assert!(apart.double_value(&[]) < 1e-5);
    }
}
