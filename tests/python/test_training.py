"""Training: its events and its length; the same run from the same seed, settings and pairs."""

import csv
import json
import os
import shutil
import threading
from pathlib import Path

import cagan
import torch
from helpers import LOG_KEYS, RARELY, assert_same_end, checkpoints, same_tensors, train, train_often


def test_events_arrive_in_order(pairs, tmp_path):
    events = []
    train(
        pairs,
        tmp_path,
        steps=4,
        log_every=2,
        sample_every=3,
        snapshot_every=3,
        checkpoint_every=2,
        on_event=lambda *event: events.append(event),
    )
    assert [(name, value if name == "step" else None) for name, value in events if name in ("start", "step")] == [
        ("start", None),
        *(("step", k) for k in (1, 2, 3, 4)),
    ]
    assert [name for name, _ in events] == [
        *("load", "load", "start", "sample"),
        "step",
        *("step", "report", "checkpoint"),
        *("step", "sample", "snapshot"),
        *("step", "report", "checkpoint", "sample", "snapshot"),
    ]
    load = {"files": 16, "pairs": 8, "loader": "resident", "bytes": 16 * 3 * 64 * 64, "workers": os.cpu_count()}
    assert [value for name, value in events if name == "load"] == [load | {"done": 0}, load | {"done": 16}]
    start = {
        "step": 0,
        "total": 4,
        "batch_size": 4,
        "pairs": 8,
        "articles": 8,
        "skipped": [],
        "checkpoint_bytes": 157188,
        "stages": [["train", 0]],
        "device": "cpu",
        "config": json.loads(cagan.Run(tmp_path).config.to_json()),
    }
    sizes = events[2][1].pop("parameters")
    assert all(count > 1000 for count in sizes.values()) and list(sizes) == ["generator", "discriminator"]
    assert events[2] == ("start", start)
    assert [list(value) for name, value in events if name == "report"] == [LOG_KEYS, LOG_KEYS]
    files = [value for name, value in events if name in ("sample", "snapshot", "checkpoint")]
    assert all(isinstance(path, Path) for path in files)
    assert [path.relative_to(tmp_path).as_posix() for path in files[-3:]] == [
        "checkpoints/step_00000004.safetensors",
        "samples/step_00000004.png",
        "snapshots/step_00000004.safetensors",
    ]
    # The two newest checkpoints are kept, and every snapshot.
    assert checkpoints(tmp_path) == [files[1], files[-3]]
    assert len(cagan.Run(tmp_path).snapshots) == 2


def test_one_epoch_is_whole_batches(pairs, tmp_path):
    made = train(pairs, tmp_path, epochs=1, batch_size=3, **RARELY)
    assert made.stats[-1]["step"] == 3 == made.config.total_steps(8)


def test_lengths(pairs, tmp_path):
    by_images = train_often(pairs, tmp_path / "images", steps=None, images=18)
    assert by_images.stats[-1]["step"] == 5
    run = cagan.train(
        pairs, tmp_path / "time", "smoke", steps=10**9, time_limit_s=1.0, threads=1, progress=False, log_every=1
    )
    reached = run.stats[-1]["step"]
    assert 1 < reached < 10**6
    assert checkpoints(run.path)[-1].stem == f"step_{reached:08}"
    assert run.snapshots[-1].stem == f"step_{reached:08}"


def test_two_trainings_at_once_keep_to_their_threads(pairs, tmp_path):
    """Each ends with the bytes that it has alone, and the process keeps the number that it had."""
    settings = {"steps": 2, "batch_size": 2, **RARELY}
    alone = {n: train(pairs, tmp_path / f"alone {n}", threads=n, **settings).snapshots[-1].read_bytes() for n in (1, 2)}
    before = torch.get_num_threads()
    together, both, inside = {}, threading.Barrier(2, timeout=60), []

    def event(name, value):
        if (name, value) == ("step", 1):
            both.wait()
            # Threads that begin in the middle have the process's number.
            inside.append(seen_by_a_new_thread())
            both.wait()

    def work(n):
        run = train(pairs, tmp_path / f"together {n}", threads=n, on_event=event, **settings)
        together[n] = run.snapshots[-1].read_bytes()
        # That of this thread, which trained.
        assert torch.get_num_threads() == before

    workers = [threading.Thread(target=work, args=(n,)) for n in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert together == alone
    assert inside == [before, before]
    assert (torch.get_num_threads(), seen_by_a_new_thread()) == (before, before)
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", threads=before + 1))
    trainer.run(1)
    assert (torch.get_num_threads(), seen_by_a_new_thread()) == (before, before)


def seen_by_a_new_thread():
    seen = []
    worker = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    worker.start()
    worker.join()
    return seen[0]


def test_the_seed_is_all_that_matters(pairs, tmp_path):
    first, again, other = (
        train(pairs, tmp_path / name, steps=2, seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert_same_end(first.path, again.path)
    assert first.snapshots[-1].read_bytes() == again.snapshots[-1].read_bytes()
    assert not same_tensors(first.snapshots[-1], other.snapshots[-1])
    assert first.samples[0].read_bytes() != other.samples[0].read_bytes()


def test_a_csv_gives_the_same_training_as_folders(pairs_dir, run, tmp_path):
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["human", "id", "article"])
        for number, pair in enumerate(cagan.Pairs(pairs_dir)):
            for side in ("human", "article"):
                shutil.copy(getattr(pair, f"{side}_path"), tmp_path / f"{side}_{number}.png")
            rows.writerow([f"human_{number}.png", pair.id, f"article_{number}.png"])
    assert_same_end(train(tmp_path, tmp_path / "run", steps=4).path, run.path)


def test_pairs_may_be_given_as_their_folder(pairs_dir, run, tmp_path):
    for name, given in (("path", pairs_dir), ("text", str(pairs_dir))):
        assert_same_end(train(given, str(tmp_path / name), config=cagan.Config("smoke"), steps=4).path, run.path)
