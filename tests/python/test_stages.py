"""Stages and schedule: shares of the run's length become numbers at the start and stay those of the run."""

import warnings

import cagan
import pytest
from helpers import refusal

STAGES = ("place_after", "judge_after", "schedule_start", "schedule_end")
SMALL = {"image_size": 32, "width": 32, "batch_size": 2, "threads": 1, "monitor_every": 0, "progress": False}


def stages(config):
    return [getattr(config, name) for name in STAGES]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return cagan.dolls(tmp_path_factory.mktemp("dolls"), count=6, size=32, swaps=0)


def test_a_full_run_has_the_stages_that_it_always_had():
    assert stages(cagan.Config().resolved(779)) == [5600, 20_000, 20_000, 66_000]


def test_shares_are_whole_steps_of_any_length():
    for images in (4000, 4001, 41_600, 100_000):
        config = cagan.Config(images=images)
        end = config.total_steps(1) * config.batch_size
        for name, count in zip(STAGES, stages(config.resolved(1))):
            share = float(getattr(config, name).removesuffix("%")) / 100
            assert count % config.batch_size == 0
            assert abs(count - share * end) <= config.batch_size / 2
    # Epochs depend on the number of pairs.
    config = cagan.Config(epochs=3, batch_size=4, judge_after="50%")
    assert [config.resolved(count).judge_after for count in (8, 80)] == [12, 120]
    assert config.stages(80) == [("locate", 0), ("place", 32), ("judge", 120)]
    assert cagan.Config("vasily").stages(80) == [("train", 0)]


def test_a_schedule_ends_with_the_run_unless_told_otherwise():
    config = cagan.Config("paper", schedule="linear", images=800).resolved(20)
    assert (config.schedule_start, config.schedule_end) == (0, 800)
    config = cagan.Config("paper", schedule="cosine", schedule_start="50%", images=800).resolved(20)
    assert (config.schedule_start, config.schedule_end) == (400, 800)
    assert stages(cagan.Config(schedule="constant").resolved(9))[2:] == [0, 0]


def test_refusals():
    refusal(
        ValueError, lambda: cagan.Config(judge_after="half"), "judge_after", "whole number of images", "50%", "half"
    )
    refusal(ValueError, lambda: cagan.Config(judge_after="-5%"), "judge_after", "-5%")
    refusal(ValueError, lambda: cagan.Config("paper", schedule_end="50%"), "schedule", "linear or cosine", "constant")
    backwards = {"schedule": "linear", "schedule_start": "60%", "schedule_end": "50%"}
    refusal(ValueError, lambda: cagan.Config("paper", **backwards), "schedule_end", "60%", "50%")
    mixed = cagan.Config("paper", schedule="linear", schedule_start="60%", schedule_end=100, images=800)
    refusal(ValueError, lambda: mixed.resolved(9), "schedule_end", "480", "100")


def test_a_run_keeps_its_stages_when_it_gets_longer(pairs, tmp_path):
    run = cagan.train(pairs, tmp_path / "run", steps=4, **SMALL)
    # 13.46 % and 48.08 % of 4 steps of 2.
    assert stages(run.config) == [2, 4, 4, 12]
    # The same settings as at first, but longer.
    longer = cagan.train(pairs, run, cagan.Config(steps=5, **{k: v for k, v in SMALL.items() if k != "progress"}))
    assert stages(longer.config) == [2, 4, 4, 12]
    assert longer.config.total_steps(6) == 5 and longer.stats[-1]["step"] == 5
    # A share of one's own means that of the run's present length.
    wrong = {"judge_after": "80%"}
    refusal(ValueError, lambda: cagan.train(pairs, run, **wrong, **SMALL), 'judge_after (4 there, "80%" here)')
    assert stages(cagan.Run(run).config) == [2, 4, 4, 12]


def test_a_stage_beyond_the_end_is_a_warning(pairs, tmp_path):
    with pytest.warns(
        UserWarning, match="judge_after: 40 images, but the run ends at 4: the discriminator never joins"
    ):
        cagan.train(pairs, tmp_path / "late", steps=2, place_after=0, judge_after=40, **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A share says that it is meant; a run that goes on was told at its start.
        cagan.train(pairs, tmp_path / "never", steps=2, place_after=0, judge_after="100%", **SMALL)
        cagan.train(pairs, tmp_path / "late", steps=3, **SMALL)
