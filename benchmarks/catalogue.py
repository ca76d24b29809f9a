"""Measure swaps of many people in many articles, long lists, and a catalogue on Ray that is killed and goes on.

    python benchmarks/catalogue.py looks [--humans 20] [--articles 20] [--size 64x48] [--twin 20] [--threads 1]
    python benchmarks/catalogue.py rows [--rows 10000] [--threads 1]
    python benchmarks/catalogue.py ray [--rows 200] [--kills 3]       # with ray[data] and pyarrow

`looks` compares single swaps, a list, and looks made before, all of paths, and checks that their bytes are equal.
`--twin` adds the PyTorch module for so many swaps, from decoded pictures and without the photo's size. `rows` makes a
catalogue of tiny pictures and prints memory and time for each tenth of it. `ray` kills the job of
`examples/ray_catalogue.py`.
"""

import argparse
import csv
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cagan
import numpy as np

PARTS = ("image", "mask", "paint", "located", "flow")


def digest(swap):
    arrays = [np.ascontiguousarray(getattr(swap, name)).tobytes() for name in PARTS]
    return hashlib.sha256(b"".join(arrays)).digest()


def model_of(folder, size, pairs):
    """The package's weights at their own size; elsewhere a network of one step, which works as long."""
    own = cagan.Swapper("dolls")
    if tuple(own.config.image_size) == size:
        return "dolls"
    options = {"image_size": list(size), "batch_size": 1, "steps": 1, "progress": False, "sample_humans": 1}
    return cagan.train(pairs, folder / "run", "kisekae", **options, sample_articles=1, monitor_every=0).path


def resident_mib():
    """The memory of the process now, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(call):
    began, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - began, time.process_time() - cpu


def looks(arguments, folder):
    size = tuple(int(side) for side in arguments.size.split("x"))
    pairs = cagan.dolls(folder / "dolls", max(arguments.humans, arguments.articles), size=(2 * size[0], 2 * size[1]))
    swapper = cagan.Swapper(model_of(folder, size, pairs), threads=arguments.threads)
    people, articles = list(pairs)[: arguments.humans], list(pairs)[: arguments.articles]
    # By article: the list has to sort them by person.
    rows = [(person, article) for article in articles for person in people]
    sides = [
        [person.human_path for person, _ in rows],
        [person.article_path for person, _ in rows],
        [article.article_path for _, article in rows],
    ]

    def one_by_one():
        return [digest(swapper.swap(*row)) for row in zip(*sides)]

    def list_of_all():
        return [digest(swap) for swap in swapper.swap(*sides)]

    def looked():
        made = swapper.look([p.human_path for p in people], [p.article_path for p in people])
        by_person = {p.id: look for p, look in zip(people, made)}
        order = sorted(range(len(rows)), key=lambda k: rows[k][0].id)
        found = [None] * len(rows)
        stream = swapper.stream((by_person[rows[k][0].id] for k in order), target=iter([sides[2][k] for k in order]))
        for k, swap in zip(order, stream):
            found[k] = digest(swap)
        return found

    swapper.swap(*(side[:2] for side in sides))
    results = {}
    print(f"{len(people)} people x {len(articles)} articles at {arguments.size}, width {swapper.config.width}")
    for name, call in (("single swaps", one_by_one), ("a list", list_of_all), ("looks", looked)):
        results[name], wall, cpu = timed(call)
        print(f"{name:14} {len(rows) / wall:8.1f} swaps/s {1e3 * cpu / len(rows):8.1f} ms of CPU a swap", flush=True)
    same = results["single swaps"] == results["a list"] == results["looks"]
    print(f"bytes equal: {same}")
    if arguments.twin:
        import torch

        torch.set_num_threads(max(arguments.threads, 1))
        module = cagan.torch_module.load(swapper.path)
        height, width = size

        def values(picture):
            from PIL import Image

            array = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), np.float32)
            return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1)[None]

        given = [(values(p.human), values(p.article), values(a.article)) for p, a in rows[: arguments.twin]]

        def twin():
            with torch.inference_mode():
                return [module(*pictures) for pictures in given]

        _, wall, cpu = timed(twin)
        count = len(given)
        print(f"{'PyTorch':14} {count / wall:8.1f} swaps/s {1e3 * cpu / count:8.1f} ms of CPU a swap")
    if not same:
        raise SystemExit("the bytes differ")


def write_list(path, pairs, count, broken=()):
    """Writes every person in every article, again and again."""
    n = len(pairs)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "human", "worn", "target"])
        for k in range(count):
            person, article = pairs[k // 10 % n], pairs[k % n]
            human = "missing.png" if k in broken else person.human_path
            writer.writerow([k, human, person.article_path, article.article_path])
    return path


def rows(arguments, folder):
    pairs = cagan.dolls(folder / "dolls", 40, size=(64, 48))
    listing = write_list(folder / "list.csv", pairs, arguments.rows)
    (small,) = {cagan.train(pairs, folder / "run", "smoke", steps=1, progress=False).path}
    swapper = cagan.Swapper(small, threads=arguments.threads)
    catalogue = cagan.Catalogue(listing, folder / "out", shard_rows=max(arguments.rows // 100, 1), format="jpg")
    shards = catalogue.todo()
    for tenth in range(10):
        part = shards[len(shards) * tenth // 10 : len(shards) * (tenth + 1) // 10]
        done, wall, cpu = timed(lambda part=part: [catalogue.swap(swapper, shard).made for shard in part])
        count = sum(done)
        print(
            f"{tenth + 1:2} tenths: {count} rows, {1e3 * wall / count:6.2f} ms a row, "
            f"{1e3 * cpu / count:6.2f} of CPU, {resident_mib():6.0f} MiB",
            flush=True,
        )


def on_ray(arguments, folder):
    pairs = cagan.dolls(folder / "dolls", 20, size=64)
    broken = {arguments.rows // 3}
    listing = write_list(folder / "list.csv", pairs, arguments.rows, broken)
    script = Path(__file__).parents[1] / "examples" / "ray_catalogue.py"
    whole = cagan.Catalogue(listing, folder / "whole", shard_rows=10)
    for shard in whole.todo():
        whole.swap("dolls", shard)
    expected = {path.name: path.read_bytes() for path in (folder / "whole").rglob("*.webp")}
    for actors in (1, 2):
        out = folder / f"out{actors}"
        command = [sys.executable, script, "dolls", listing, out, "--actors", str(actors), "--shard-rows", "10"]
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        began, killed = time.perf_counter(), []
        for kill in range(arguments.kills + 1):
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
            before = len(list((out / "manifest").glob("*"))) if out.exists() else 0
            while process.poll() is None and kill < arguments.kills:
                time.sleep(0.05)
                done = len(list((out / "manifest").glob("*"))) if (out / "manifest").exists() else 0
                if done >= before + 2:
                    # The driver and its actors at once, as when a machine goes away.
                    os.killpg(process.pid, signal.SIGKILL)
                    killed.append(done)
                    break
            said, _ = process.communicate()
            if kill == arguments.kills and process.returncode:
                raise SystemExit(said.decode())
        took = time.perf_counter() - began
        catalogue = cagan.Catalogue(listing, out, shard_rows=10)
        found = list(catalogue.results())
        made = {path.name: path.read_bytes() for path in out.rglob("*.webp")}
        unique = len({row.id for row in found})
        failed = [row.id for row in found if row.error]
        print(
            f"{actors} actors: {len(found)} rows, {unique} ids, {len(made)} pictures, failed {failed}, killed with "
            f"{killed} shards of {len(catalogue)}, bytes as without Ray: {made == expected}, {took:.0f} s",
            flush=True,
        )
        if not (unique == len(found) == arguments.rows and made == expected and not catalogue.todo()):
            raise SystemExit("rows were lost or made twice")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["looks", "rows", "ray"])
    parser.add_argument("--humans", type=int, default=20)
    parser.add_argument("--articles", type=int, default=20)
    parser.add_argument("--size", default="64x48")
    parser.add_argument("--twin", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--kills", type=int, default=3)
    arguments = parser.parse_args()
    arguments.rows = arguments.rows or {"rows": 10_000, "ray": 200}.get(arguments.part)
    with tempfile.TemporaryDirectory() as folder:
        {"looks": looks, "rows": rows, "ray": on_ray}[arguments.part](arguments, Path(folder))


if __name__ == "__main__":
    main()
