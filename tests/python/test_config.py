"""Configs: values that come back from text and pickle, each setting with its source."""

import copy
import importlib
import json
import pickle
import random
import re

import cagan
import numpy as np
import pytest
from helpers import REPOSITORY

CONFIGS = [
    cagan.Config(),
    cagan.Config("vasily"),
    cagan.Config("smoke"),
    cagan.Config("smoke", image_size=96, flip=False, device="cpu", steps=3, learning_rate=1e-3),
    cagan.Config("paper", generator_copies="none", discriminator_copies=True, image_size=(64, 48)),
    cagan.Config("paper", learning_rate=0.0011685527672736639, adam_epsilon=1e-30),
]


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_a_config_survives_text_json_and_pickle(config):
    assert eval(repr(config), {"Config": cagan.Config}) == config
    for again in (
        cagan.Config.from_json(config.to_json()),
        cagan.Config(config.preset, **{k: v for k, v in config.to_dict().items() if k != "preset"}),
        pickle.loads(pickle.dumps(config)),
        copy.copy(config),
        copy.deepcopy(config),
        config.replace(),
    ):
        assert again == config
        assert hash(again) == hash(config)
        assert repr(again) == repr(config)


def test_numbers_survive_json_to_the_last_bit():
    draw = random.Random(0)
    for _ in range(500):
        number = 10 ** draw.uniform(-6, 0)
        config = cagan.Config(learning_rate=number)
        assert config.learning_rate == number
        assert cagan.Config.from_json(config.to_json()) == config
        assert config.replace(seed=1).learning_rate == number


def test_every_setting_is_an_attribute_and_a_line_of_the_text():
    settings = [setting["name"] for setting in cagan._cagan.settings()]
    assert len(settings) > 20
    for config in CONFIGS:
        values, sources = config.to_dict(), config.sources()
        assert list(values) == ["preset", *settings]
        assert list(sources) == settings
        lines = str(config).splitlines()
        assert lines[0] == f"preset {config.preset}"
        used = [row["name"] for row in cagan._cagan.settings() if config.architecture in row["used_by"]]
        # What differs from the preset comes first.
        used.sort(key=lambda name: not sources[name].startswith("yours"))
        assert len(lines) == 1 + len(used)
        for name, line in zip(used, lines[1:]):
            value = getattr(config, name)
            assert (list(value) if isinstance(value, tuple) else value) == values[name]
            shown = re.fullmatch(r"(\S+) +(\S+) +(\S.*)", line)
            assert shown, line
            assert (shown[1], shown[3]) == (name, sources[name])
            assert json.loads(shown[2]) == values[name]
            assert re.match(r"\[(A|P|A, P|we)\]|yours; the preset has ", sources[name])
        assert json.loads(config.to_json()) == values


def test_a_property_has_the_help_of_its_row():
    for setting in cagan._cagan.settings():
        prop = getattr(cagan.Config, setting["name"])
        assert isinstance(prop, property)
        assert prop.__doc__ == setting["help"]
        with pytest.raises(AttributeError):
            setattr(cagan.Config(), setting["name"], 1)


def test_the_stub_has_the_settings_of_the_table(monkeypatch):
    """`python tools/settings_stub.py` writes them."""
    monkeypatch.syspath_prepend(REPOSITORY / "tools")
    tool = importlib.import_module("settings_stub")
    assert tool.STUB.read_text(encoding="utf-8") == tool.stub()


def test_the_source_of_an_override_is_yours():
    config = cagan.Config("smoke", width=24, seed=0)
    yours = {name: source for name, source in config.sources().items() if source.startswith("yours")}
    assert yours == {"width": "yours; the preset has 16"}
    assert repr(config) == 'Config("smoke", width=24)'


def test_configs_are_values():
    config = cagan.Config("smoke")
    assert config == cagan.Config("smoke", width=16) != cagan.Config("smoke", width=24)
    assert config != "smoke"
    assert len({config, cagan.Config("smoke"), config.replace(seed=1)}) == 2
    assert config.replace(seed=1).seed == 1
    assert config.seed == 0
    with pytest.raises(AttributeError):
        config.seed = 3


def test_numbers_of_numpy_are_numbers():
    config = cagan.Config("smoke", batch_size=np.int64(2), learning_rate=np.float64(0.5), image_size=np.int32(96))
    assert (config.batch_size, config.learning_rate, config.image_size) == (2, 0.5, (96, 96))
    assert cagan.Config("smoke", flip=np.bool_(False)).flip is False
