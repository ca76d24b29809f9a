"""`init_from`: a run begins with the networks of another."""

import cagan
import numpy as np
from helpers import read_tensors, refusal


def weights(path, prefix=""):
    _, arrays = read_tensors(path)
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def equal(some, others):
    return list(some) == list(others) and all(np.abs(some[name] - others[name]).max() < 1e-20 for name in some)


def test_a_run_begins_with_the_networks_of_another(pairs, run, tmp_path):
    """A snapshot gives the generator, a checkpoint both networks; the rest is as in a run from scratch."""
    (checkpoint,) = (run.path / "checkpoints").iterdir()
    # At this rate a step moves only zeros, by next to nothing.
    still = {"steps": 1, "learning_rate": 1e-30, "threads": 1, "progress": False}
    fresh = cagan.train(pairs, tmp_path / "fresh", "smoke", **still)
    for name, source in (("snapshot", run.snapshots[-1]), ("checkpoint", checkpoint)):
        begun = cagan.train(pairs, tmp_path / name, "smoke", init_from=str(source), ema_images=50, **still)
        assert begun.config.init_from == str(source)
        (saved,) = (begun.path / "checkpoints").iterdir()
        (other,) = (fresh.path / "checkpoints").iterdir()
        for prefix in ("generator.", "generator_ema."):
            assert equal(weights(saved, prefix), weights(checkpoint, "generator."))
        assert not equal(weights(saved, "generator."), weights(other, "generator."))
        expected = checkpoint if name == "checkpoint" else other
        assert equal(weights(saved, "discriminator."), weights(expected, "discriminator."))
    # A run that goes on does not read `init_from`.
    again = cagan.train(pairs, tmp_path / "snapshot", "smoke", init_from="gone", ema_images=50, **still | {"steps": 2})
    assert again.stats[-1]["step"] == 2


def test_the_discriminator_scores_as_in_its_file(pairs, tmp_path):
    """A spectral norm is estimated with a vector of its own: a vector of other weights gives another norm."""
    settings = {"learning_rate": 0.01, "discriminator_spectral_norm": True, "threads": 1, "progress": False}
    source = cagan.train(pairs, tmp_path / "source", "smoke", steps=20, keep_checkpoints=1, **settings)
    (checkpoint,) = (source.path / "checkpoints").iterdir()
    begun = cagan.train(
        pairs, tmp_path / "begun", "smoke", steps=1, init_from=str(checkpoint), **settings | {"learning_rate": 1e-30}
    )
    (saved,) = (begun.path / "checkpoints").iterdir()
    parts = weights(checkpoint, "discriminator.")
    vectors, found = (weights(path, "discriminator_vectors.") for path in (checkpoint, saved))
    assert len(vectors) > 2
    assert list(found) == list(vectors)
    for name, vector in vectors.items():
        # The step has made one power iteration, as of the algorithm.
        matrix = parts[name.replace("left", "weight")].reshape(len(vector), -1).astype(np.float64)
        right = matrix.T @ vector
        left = matrix @ (right / np.linalg.norm(right))
        np.testing.assert_allclose(found[name], left / np.linalg.norm(left), atol=1e-5)


def test_other_networks_fail(pairs, run, tmp_path):
    begin = {"steps": 1, "threads": 1, "progress": False}
    parts = (run.snapshots[-1], "expected a tensor of shape")
    refusal(
        ValueError,
        lambda: cagan.train(pairs, tmp_path, "smoke", width=32, init_from=str(run.snapshots[-1]), **begin),
        *parts,
    )
    gone = str(tmp_path / "gone")
    refusal(FileNotFoundError, lambda: cagan.train(pairs, tmp_path, "smoke", init_from=gone, **begin), gone)
    (tmp_path / "text").write_text("no weights")
    path = str(tmp_path / "text")
    refusal(ValueError, lambda: cagan.train(pairs, tmp_path, "smoke", init_from=path, **begin), path, "safetensors")


def test_a_trainer_begins_with_them_too(pairs, run, tmp_path):
    """From a checkpoint both networks, from a run's folder its newest checkpoint's, from a snapshot the generator."""
    (checkpoint,) = (run.path / "checkpoints").iterdir()
    fresh = cagan.Trainer(pairs, cagan.Config("smoke"))
    for source, networks in (
        (checkpoint, ["generator", "discriminator"]),
        (run.path, ["generator", "discriminator"]),
        (run.snapshots[-1], ["generator"]),
    ):
        begun = cagan.Trainer(pairs, cagan.Config("smoke", init_from=str(source)))
        assert begun.step == 0
        for network in ("generator", "discriminator"):
            expected = weights(checkpoint, f"{network}.") if network in networks else fresh.state(network)
            found = begun.state(network)
            assert found.keys() == expected.keys()
            for name, array in found.items():
                np.testing.assert_array_equal(array, expected[name])
    gone = str(tmp_path / "gone")
    refusal(FileNotFoundError, lambda: cagan.Trainer(pairs, cagan.Config("smoke", init_from=gone)), gone)
    wide = cagan.Config("smoke", width=32, init_from=str(run.path))
    refusal(ValueError, lambda: cagan.Trainer(pairs, wide), "expected a tensor of shape")
