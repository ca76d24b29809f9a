"""Load `cagan serve` on this machine with a real client: many at once for a while.

    python benchmarks/service.py [MODEL] [--at-once N] [--seconds S] [--photos N] [--max-batch N] [--wait-ms MS]

MODEL is a run, a snapshot or dolls (the default). Each of the clients posts a form with three pictures and waits for
the answer, again and again. Prints a row: answers, their rate, the median and the 99th percentile of their times, what
was lost (no answer, or another status than 200), the largest difference of a level to the same swap made alone, which a
batch rounds otherwise, and the service's memory at each quarter of the time. Needs httpx and `pip install
'cagan[serve]'`.
"""

import argparse
import asyncio
import io
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cagan
import numpy as np


def encoded(array):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pixels(content):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content))).astype(int)


def memory_mib(process):
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


async def load(address, process, forms, at_once, seconds):
    """Returns the seconds of each answer, what was lost, the answers by form, and the memory at each quarter."""
    import httpx

    times, lost, answers = [], [], {}
    end = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60) as client:

        async def one(number):
            turn = number
            while time.monotonic() < end:
                form = turn % len(forms)
                turn += 1
                began = time.perf_counter()
                try:
                    answer = await client.post("/swap", files=forms[form], data={"format": "png"})
                except httpx.HTTPError as error:
                    lost.append(repr(error))
                    continue
                times.append(time.perf_counter() - began)
                if answer.status_code != 200:
                    lost.append(answer.text)
                    continue
                answers.setdefault(form, set()).add(answer.content)

        async def watch():
            found = []
            for left in (0.75, 0.5, 0.25, 0):
                await asyncio.sleep(max(0, end - time.monotonic() - max(left * seconds, 0.5)))
                found.append(memory_mib(process))
            return found

        memory, *_ = await asyncio.gather(watch(), *(one(k) for k in range(at_once)))
    return times, lost, answers, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="dolls")
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--wait-ms", type=float, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = cagan.dolls(folder, count=arguments.photos, size=(256, 192), swaps=0)
        pictures = [(pair.human, pair.article) for pair in pairs]
        rows = [(*pictures[k], pictures[k - 1][1]) for k in range(len(pictures))]
        forms = [dict(zip(("human", "worn", "target"), map(encoded, row))) for row in rows]
        swapper = cagan.Swapper(arguments.model, "cpu")
        alone = [swapper.swap(*row).image.astype(int) for row in rows]
        options = ["--max-batch", str(arguments.max_batch), "--wait-ms", str(arguments.wait_ms)]
        command = [sys.executable, "-m", "cagan", "serve", arguments.model, "--port", "0", "--device", "cpu", *options]
        service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = service.stdout.readline().strip()
            times, lost, answers, memory = asyncio.run(
                load(address, service.pid, forms, arguments.at_once, arguments.seconds)
            )
        finally:
            service.send_signal(signal.SIGINT)
            service.wait(60)
    apart = max(np.abs(pixels(content) - alone[form]).max() for form, found in answers.items() for content in found)
    print("| at once | answers | a second | median s | 99 % s | lost | levels apart | MiB, by quarters |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    last = statistics.quantiles(times, n=100)[-1]
    print(
        f"| {arguments.at_once} | {len(times)} | {len(times) / arguments.seconds:.1f} | {statistics.median(times):.2f} "
        f"| {last:.2f} | {len(lost)} | {apart} | {', '.join(f'{mib:.0f}' for mib in memory)} |"
    )
    for reason in lost[:3]:
        print(reason, file=sys.stderr)


if __name__ == "__main__":
    main()
