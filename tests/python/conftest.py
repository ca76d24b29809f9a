"""Tolerances and fixtures of the tests: a set of pairs, a short run, the command line, a browser."""

import os
import shutil
import signal
import sys

# Networks this small lose more time to waiting for each other's threads than they gain, tenfold on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Imported after that, since libtorch counts threads when it loads.
import cagan
import pytest
from cagan.cli import main

# A background job and its children ignore SIGINT, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("helpers", "twins")

# Largest differences between the core and its PyTorch twin: of the networks' results, and of gradients.
FORWARD = 1e-5
GRADIENT = 1e-4


@pytest.fixture
def copied(pairs_dir, tmp_path):
    """A copy of the pairs that a test may change."""
    return shutil.copytree(pairs_dir, tmp_path / "pairs")


@pytest.fixture
def used(run, tmp_path):
    """A copy of the run that a test may change."""
    return shutil.copytree(run.path, tmp_path / "used")


@pytest.fixture(scope="session")
def pairs_dir(tmp_path_factory):
    """A folder of 8 pairs of dolls; not to be changed."""
    folder = tmp_path_factory.mktemp("dolls")
    cagan.dolls(folder, count=8, seed=1, size=(64, 64))
    return folder


@pytest.fixture(scope="session")
def pairs(pairs_dir):
    return cagan.Pairs(pairs_dir)


@pytest.fixture(scope="session")
def run(pairs, tmp_path_factory):
    """A run of four steps; not to be changed. On one thread: sums over two differ in their last bits."""
    return cagan.train(pairs, tmp_path_factory.mktemp("run"), "smoke", steps=4, threads=1, progress=False)


@pytest.fixture(scope="session")
def swapper(run):
    return cagan.Swapper(run.path)


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the command as the installed script does: (exit code, output, errors)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cagan", *map(str, arguments)])
        code = 0
        capsys.readouterr()
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        finally:
            # At its end a command that was stopped hears no more.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


# Of a module, not of the session: Playwright's event loop would stand in the way of the notebooks' own.
@pytest.fixture(scope="module")
def browser():
    chromium = _chromium()
    if chromium is None and not os.environ.get("CI"):
        pytest.skip("there is no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=_OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def rebound(browser):
    """A browser for which evil.example is this machine, as its owner could make it."""
    options = [*_OPTIONS, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    started = browser.browser_type.launch(executable_path=_chromium(), args=options)
    yield started
    started.close()


_QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")
_OPTIONS = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in _QUIET)]


def _chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)
