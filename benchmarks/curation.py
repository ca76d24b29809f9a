"""Measures curation on real pairs: planted duplicates, false alarms, wrong pairs, packshots, time.

    python benchmarks/curation.py PAIRS_FOLDER [PAIRS_FOLDER ...] [--time 15000] [--look OUT]
    python benchmarks/curation.py --alike 2000 8000 20000

Writes into a temporary folder only. --look also writes the flagged pairs as pictures into OUT, so that a person can say
which alarms are false. Needs Pillow.
"""

import argparse
import csv
import io
import random
import tempfile
import time
from pathlib import Path

import cagan
import numpy as np
from cagan import _cagan
from PIL import Image, ImageOps

SEED = 1


def jpeg(picture, quality=40):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def crop(picture, left, top, right, bottom):
    w, h = picture.size
    return picture.crop((round(w * left), round(h * top), w - round(w * right), h - round(h * bottom)))


def scaled(picture, factor):
    return picture.resize([max(1, round(side * factor)) for side in picture.size], Image.Resampling.LANCZOS)


PLANTED = {
    "PNG of the same pixels": lambda p: p,
    "JPEG 40": jpeg,
    "flip": ImageOps.mirror,
    "3 % off every side": lambda p: crop(p, 0.03, 0.03, 0.03, 0.03),
    "3 % off one corner": lambda p: crop(p, 0, 0, 0.03, 0.03),
    "half size": lambda p: scaled(p, 0.5),
    "twice the size": lambda p: scaled(p, 2),
    "half size, JPEG 40": lambda p: jpeg(scaled(p, 0.5)),
    "flip, 3 % off every side, JPEG 40": lambda p: jpeg(crop(ImageOps.mirror(p), 0.03, 0.03, 0.03, 0.03)),
}

LIGHT = {
    "as they are": (1, 1, 1),
    "20 % brighter": (1.2, 1.2, 1.2),
    "20 % darker": (0.8, 0.8, 0.8),
    "warmer (red +8 %, blue -10 %)": (1.08, 1, 0.9),
    "cooler (red -10 %, blue +8 %)": (0.9, 1, 1.08),
    "much cooler (red -15 %, blue +12 %)": (0.85, 1, 1.12),
}


def inspect(rows):
    """Returns the findings about pairs of human and article; either may be None."""
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "human", "article"])
            for number, sides in enumerate(rows):
                table.writerow([number, *(side and Path(side).resolve() for side in sides)])
        return _cagan.Listing(folder).curate({}, lambda *_: None)


def has(finding, word):
    return any(reason == word for reason, _ in finding["reasons"])


def share(findings, word):
    return f"{sum(has(f, word) for f in findings)} of {len(findings)}"


def paste(path, rows, height=220):
    """Lay rows of picture files out as one picture."""
    lines = []
    for files in rows:
        pictures = [Image.open(file).convert("RGB") for file in files]
        lines.append([p.resize((max(1, p.width * height // p.height), height)) for p in pictures])
    width = max(sum(p.width + 4 for p in line) for line in lines)
    sheet = Image.new("RGB", (width, (height + 4) * len(lines)), "white")
    for y, line in enumerate(lines):
        x = 0
        for picture in line:
            sheet.paste(picture, (x, y * (height + 4)))
            x += picture.width + 4
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def duplicates(pairs, folder, look):
    random.seed(SEED)
    for kind in ("human", "article"):
        files = [getattr(pair, kind + "_path") for pair in pairs]
        side = (lambda file: (file, None)) if kind == "human" else (lambda file: (None, file))
        findings = inspect([side(file) for file in files])
        first = [f["group"] for f in findings]
        groups = sorted({g for k, g in enumerate(first) if g != k})
        doubled = [[files[k] for k, g in enumerate(first) if g == group] for group in groups]
        print(f"\n{kind}s: {len(files)} real pictures, linked among themselves: {len(doubled)} groups")
        for group in doubled:
            print("   ", ", ".join(file.stem for file in group))
        if look and doubled:
            paste(look / f"{kind}s.png", doubled)
        chosen = random.sample(range(len(files)), 200)
        for name, change in PLANTED.items():
            planted = []
            for k in chosen:
                picture = Image.open(files[k]).convert("RGB")
                path = folder / f"{kind}-{k}.{'jpg' if 'JPEG' in name else 'png'}"
                changed = change(picture)
                changed.save(path, **({"quality": 40} if "JPEG" in name else {}))
                planted.append(path)
            found = inspect([side(file) for file in [*files, *planted]])
            late = found[len(files) :]
            hits = sum(f["group"] == first[k] for f, k in zip(late, chosen))
            # Linked to a picture that is not of the original.
            wrong = sum(f["group"] not in (first[k], len(files) + n) for n, (f, k) in enumerate(zip(late, chosen)))
            print(f"  planted {name}: found {hits} of {len(planted)}, linked to another {wrong}")


def wrong_pairs(pairs, folder, look):
    findings = inspect([(pair.human_path, pair.article_path) for pair in pairs])
    print("\npairs as they are:", {word: share(findings, word) for word in _cagan.curation_reasons()})
    count = len(pairs)
    flagged, hits = 0, []
    for shift in (37, 211, 503):
        rows = [(pairs[k].human_path, pairs[(k + shift) % count].article_path) for k in range(count)]
        found = [has(f, "wrong_pair") for f in inspect(rows)]
        flagged += sum(found)
        hits += [row for row, hit in zip(rows, found) if hit]
    print(f"shuffled pairs called wrong: {flagged} of {3 * count} ({flagged / 3 / count:.1%})")
    if look:
        paste(look / "shuffled.png", hits[:12])
    for name, gains in LIGHT.items():
        rows = []
        for pair in pairs:
            path = folder / f"light-{pair.id}.png"
            picture = pair.article.astype(np.float32)
            Image.fromarray((picture * gains).clip(0, 255).astype(np.uint8)).save(path, compress_level=1)
            rows.append((pair.human_path, path))
        print(f"true pairs called wrong, articles {name}:", share(inspect(rows), "wrong_pair"))


def packshots(pairs):
    articles = inspect([(None, pair.article_path) for pair in pairs])
    people = inspect([(None, pair.human_path) for pair in pairs])
    print("\narticles called no packshot:", share(articles, "not_packshot"))
    print("street photos given as articles, called no packshot:", share(people, "not_packshot"))


def timing(pairs, folder, count):
    for k in range(count):
        pair = pairs[k % len(pairs)]
        for kind, path in (("human", pair.human_path), ("article", pair.article_path)):
            out = folder / "time" / kind / f"{k:05}.jpg"
            out.parent.mkdir(parents=True, exist_ok=True)
            # Another quality each time: no two files have equal pixels.
            Image.open(path).convert("RGB").save(out, quality=40 + k // len(pairs) * 3)
    files = sum(1 for _ in (folder / "time").rglob("*.jpg"))
    began, busy = time.perf_counter(), time.process_time()
    curation = cagan.curate(folder / "time", progress=False)
    took, busy = time.perf_counter() - began, time.process_time() - busy
    print(f"\n{count} pairs ({files} files) curated in {took:.1f} s, {busy:.1f} s of CPU, report included")
    print(curation.counts, len(curation.groups), "groups of", len(pairs), "pictures")


def alike(counts):
    """Times unlike pairs of one silhouette: any of them may be any other until their pixels are compared."""
    print("| pairs | s of CPU | s | us of CPU a pair |\n| --- | --- | --- | --- |", flush=True)
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            for side in ("human", "article"):
                (Path(folder) / side).mkdir()
            for k in range(count):
                blocks = np.random.default_rng(k).integers(0, 255, (6, 5, 3), dtype=np.uint8)
                human = Image.fromarray(blocks).resize((96, 128), Image.Resampling.BICUBIC)
                human.save(f"{folder}/human/{k}.jpg")
                article = Image.new("RGB", (96, 128), "white")
                article.paste(human.crop((20, 30, 70, 100)).resize((60, 90)), (18, 20))
                article.save(f"{folder}/article/{k}.jpg")
            began, busy = time.perf_counter(), time.process_time()
            curation = cagan.curate(folder, progress=False, report=False)
            took, busy = time.perf_counter() - began, time.process_time() - busy
            assert not curation.groups
            print(f"| {count:,} | {busy:.1f} | {took:.1f} | {busy / count * 1e6:,.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--time", type=int, default=0)
    parser.add_argument("--look", type=Path)
    parser.add_argument("--alike", type=int, nargs="+", metavar="COUNT")
    arguments = parser.parse_args()
    if arguments.alike:
        alike(arguments.alike)
        return
    pairs = [pair for folder in arguments.folders for pair in cagan.Pairs(folder)]
    print(len(pairs), "pairs")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        duplicates(pairs, folder, arguments.look)
        wrong_pairs(pairs, folder, arguments.look)
        packshots(pairs)
        if arguments.time:
            timing(pairs, folder, arguments.time)


if __name__ == "__main__":
    main()
