"""A machine that others use: how libtorch's threads wait, and how many there are within a quota."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="libgomp's threads")

NAMES = """
import os
from pathlib import Path
def names():
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        try:
            found.add((thread / "comm").read_text().strip())
        except OSError:
            pass  # it ended meanwhile
    return found
"""
SWAP = """
import cagan, hashlib, tempfile
folder = tempfile.TemporaryDirectory()
pairs = cagan.dolls(folder.name, count=4, size=(64, 48), swaps=0)
people, articles = [p.human for p in pairs], [p.article for p in pairs]
swapper = cagan.Swapper("dolls", "cpu", threads=2)
def swap():
    swaps = swapper.swap(people, articles, articles[::-1])
    return hashlib.md5(b"".join(s.image.tobytes() + s.mask.tobytes() for s in swaps)).hexdigest()
"""
ONE_CORE = """
import sys, time
first = swap()
core = min(os.sched_getaffinity(0))
for thread in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(thread), {core})
until = time.monotonic() + 120
while "cagan-sleep" not in names() and time.monotonic() < until:
    assert swap() == first
assert "cagan-sleep" in names(), names()
assert swap() == first
while "cagan-sleep" in names() and time.monotonic() < until:
    time.sleep(0.05)
print(sorted(name for name in names() if name.startswith("cagan-s")))
"""


def run(code, begin=None, **variables):
    chosen = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in chosen} | variables
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=begin)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@linux
@pytest.mark.parametrize("first", ["", "import torch"])
def test_a_computation_is_watched_whether_torch_came_first_or_not(first):
    assert run(first + NAMES + SWAP + "swap(); print('cagan-watch' in names())") == "True"


@linux
@pytest.mark.parametrize("chosen", [{"GOMP_SPINCOUNT": "1000"}, {"OMP_WAIT_POLICY": "passive"}])
def test_who_chose_how_threads_wait_keeps_that(chosen):
    code = (
        "swap(); print('cagan-watch' in names(), *(os.environ[name] for name in sorted(os.environ) if 'OMP_' in name))"
    )
    assert run(NAMES + SWAP + code, **chosen) == f"False {next(iter(chosen.values()))}"


@linux
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: libgomp's threads never spin for long")
def test_two_threads_on_one_core_stop_spinning_and_change_no_byte():
    assert run(NAMES + SWAP + ONE_CORE) == "[]"


@pytest.fixture
def one_and_a_half():
    """The folder of a control group of 1.5 CPUs."""
    v2, v1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")
    for root, file, text in ((v2, "cpu.max", "150000 100000"), (v1, "cpu.cfs_quota_us", "150000")):
        if not (root / "cgroup.procs").exists():
            continue  # a new folder there would be a plain one
        group = root / f"cagan_test_{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(text)
            yield group
        except OSError:
            continue
        finally:
            group.rmdir()
        return
    pytest.skip("no control group can be made here")


@linux
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: no quota is smaller")
def test_a_quota_counts_unless_the_user_chose(one_and_a_half):
    def begin():
        (one_and_a_half / "cgroup.procs").write_text(str(os.getpid()))

    threads = "print(cagan.info()['threads'])"
    cores = str(len(os.sched_getaffinity(0)))
    assert run(f"import cagan; {threads}", begin) == "1"
    assert run(f"import cagan; {threads}", begin, OMP_NUM_THREADS="2") == "2"
    assert (
        run(f"import cagan, torch; print(torch.get_num_threads()); torch.set_num_threads(2); {threads}", begin)
        == "1\n2"
    )
    # torch's own number, which its user may have set.
    assert run(f"import torch, cagan; {threads}", begin) == cores
    assert run(f"import cagan; {threads}") == cores
