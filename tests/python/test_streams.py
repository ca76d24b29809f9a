"""Streams that are missing, foreign or gone, terminals that close, and hasty interrupts."""

import contextlib
import fcntl
import io
import os
import signal
import subprocess
import sys
import termios
import time
import warnings

import cagan
import pytest
from helpers import checkpoints, command, same_tensors, steps, train


class Log:
    """A logger's object in the place of a stream."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class Stubborn:
    """An object that refuses everything."""

    def write(self, _):
        raise RuntimeError("not now")

    def isatty(self):
        raise RuntimeError("not now")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def broken():
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


def discard(stream):
    """Closes a stream whose reader is gone."""
    with contextlib.suppress(BrokenPipeError):
        stream.close()


STREAMS = {"none": lambda: None, "log": Log, "stubborn": Stubborn, "closed": closed, "broken": broken, "object": object}


@pytest.mark.parametrize("progress", [True, False, None])
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", ["stderr", "stdout"])
@pytest.mark.filterwarnings("default::UserWarning")
def test_no_stream_costs_a_step(pairs, tmp_path, monkeypatch, name, stream, progress):
    monkeypatch.setattr(sys, name, STREAMS[stream]())
    given = getattr(sys, name)
    run = train(pairs, tmp_path / "run", steps=2, progress=progress)
    # A warning in the middle of a run.
    checkpoints(run.path)[-1].write_bytes(b"damaged")
    (run.path / "snapshots" / "step_00000002.safetensors").unlink()
    (run.path / "checkpoints" / "step_00000001.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="whole safetensors"):
        train(pairs, run.path, steps=3, progress=progress)
    next(run.path.glob("checkpoints/*1.*")).unlink()
    next(run.path.glob("checkpoints/*2.*")).unlink()
    (run.path / "snapshots" / "best.safetensors").write_bytes(b"damaged")
    run = train(pairs, run.path, steps=3, progress=progress)
    assert run.stats[-1]["step"] == 3
    assert (run.path / "old").is_dir()
    if stream == "broken":
        discard(given)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_kernel_without_a_stream_costs_no_step(pairs, tmp_path, monkeypatch, stream):
    pytest.importorskip("ipykernel")
    monkeypatch.setattr(sys, "stdout", STREAMS[stream]())
    given = sys.stdout
    assert train(pairs, tmp_path, steps=2, progress=True).stats[-1]["step"] == 2
    if stream == "broken":
        discard(given)


def test_a_log_gets_the_bar_that_was_asked_for(pairs, tmp_path, monkeypatch):
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    # Another test may have imported it.
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    train(pairs, tmp_path, steps=2, progress=True)
    assert "8/8 [" in log.text
    assert "pictures kept on the device" in log.text


@pytest.mark.parametrize("progress", [True, False])
def test_a_stream_that_goes_away_costs_no_step(pairs, tmp_path, monkeypatch, progress):
    reader, writer = os.pipe()
    monkeypatch.setattr(sys, "stderr", os.fdopen(writer, "w", buffering=1))

    def event(name, value):
        if (name, value) == ("step", 2):
            os.close(reader)

    run = train(pairs, tmp_path, steps=5, progress=progress, on_event=event)
    assert run.stats[-1]["step"] == 5
    discard(sys.stderr)


def test_warnings_as_errors_end_no_run(pairs, run, tmp_path, capsys):
    """Not those of the run itself; an exception of the caller's own does."""
    (tmp_path / "checkpoints").mkdir()
    data = next((run.path / "checkpoints").iterdir()).read_bytes()
    (tmp_path / "checkpoints" / "step_00000004.safetensors").write_bytes(data)
    (tmp_path / "checkpoints" / "step_00000005.safetensors").write_bytes(data[:100])

    def event(name, value):
        if (name, value) == ("step", 6):
            (tmp_path / "samples" / "step_00000007.png").mkdir()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        end = train(pairs, tmp_path, steps=8, sample_every=7, on_event=event)
    assert end.stats[-1]["step"] == 8
    told = capsys.readouterr().err
    assert "step_00000005.safetensors: expected a whole" in told
    assert "step_00000007.png: Is a directory" in told


# Terminals

pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
START = ("--preset", "smoke", "--threads", "1", "--log-every", "1", "--steps", "100000")


def begun(pairs_dir, run_dir, **options):
    """Trains on a pseudo-terminal of its own. Returns the process, and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("train", pairs_dir, run_dir, *START),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # It becomes the session's terminal, which sends signals.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        **options,
    )
    os.close(theirs)
    deadline = time.monotonic() + 60
    while not ((run_dir / "stats.jsonl").is_file() and (run_dir / "stats.jsonl").read_bytes().count(b"\n") > 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, ours


def read_all(terminal):
    text = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            part = b""
        if not part:
            return text.decode(errors="replace")
        text += part


def goes_on(pairs_dir, run_dir, tmp_path):
    """Checks that nothing is locked, and that a few steps more give the bytes of a run without a stop."""
    reached = int(checkpoints(run_dir)[-1].stem.removeprefix("step_"))
    assert steps(run_dir)[-1] == reached
    run = train(pairs_dir, run_dir, steps=reached + 1, log_every=1)
    whole = train(pairs_dir, tmp_path / "whole", steps=reached + 1, log_every=1)
    assert same_tensors(run.snapshots[-1], whole.snapshots[-1])


@pytest.mark.parametrize("presses", [1, 2, 5])
def test_hasty_interrupts_at_a_terminal(pairs_dir, tmp_path, presses):
    process, terminal = begun(pairs_dir, tmp_path / "run")
    for _ in range(presses):
        os.write(terminal, b"\x03")
        time.sleep(0.01)
    text = read_all(terminal)
    # A press while Python ends kills it, with the same exit code for a shell.
    assert process.wait(30) in ((130,) if presses == 1 else (130, -signal.SIGINT))
    os.close(terminal)
    assert presses > 1 or "the same command resumes it" in text
    goes_on(pairs_dir, tmp_path / "run", tmp_path)


def test_a_terminal_that_closes(pairs_dir, tmp_path):
    """As at a dropped connection: SIGHUP comes, and writing fails."""
    # The tests themselves may run under nohup.
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process, terminal = begun(pairs_dir, tmp_path / "run")
    finally:
        signal.signal(signal.SIGHUP, inherited)
    os.close(terminal)
    assert process.wait(30) == 128 + signal.SIGHUP
    goes_on(pairs_dir, tmp_path / "run", tmp_path)


def test_nohup_goes_on_without_its_terminal(pairs_dir, tmp_path):
    """The bar's terminal is gone, and the run is not."""
    ignoring = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process, terminal = begun(pairs_dir, tmp_path / "run")
    finally:
        signal.signal(signal.SIGHUP, ignoring)
    os.close(terminal)
    before = len(steps(tmp_path / "run"))
    deadline = time.monotonic() + 30
    while len(steps(tmp_path / "run")) < before + 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    goes_on(pairs_dir, tmp_path / "run", tmp_path)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_dies(pairs_dir, tmp_path, stream):
    """As `| head` or `2>&1 | tee` that is killed."""
    reader, writer = os.pipe()
    os.close(reader)
    arguments = command("train", pairs_dir, tmp_path / "run", *START[:-1], "3")
    done = subprocess.run(arguments, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: writer})
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert steps(tmp_path / "run") == [1, 2, 3]


def test_no_streams_at_all(pairs_dir, tmp_path):
    """As in a service, or `<&- >&- 2>&-`."""
    arguments = command("train", pairs_dir, tmp_path / "run", *START[:-1], "3")
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *arguments]
    assert subprocess.run(shell).returncode == 0
    assert cagan.Run(tmp_path / "run").stats[-1]["step"] == 3
