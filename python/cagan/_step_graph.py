"""Records a step as a CUDA graph. The core calls this: it does not link to CUDA, and torch does."""

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["StepGraph"]


class StepGraph:
    """A `torch.cuda.CUDAGraph` of a device.

    Args:
        device: The device's number.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        self._graph: Any = None

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Records what this thread computes on the device meanwhile, and drops the recording before."""
        import torch

        self._graph = None
        with self._as_before():
            graph = torch.cuda.CUDAGraph()
            # torch's own stream for recordings is of the device that it first recorded on. Threads that decode pictures
            # may use the device meanwhile.
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                yield
        self._graph = graph

    def replay(self) -> None:
        """Launches the recording."""
        with self._as_before():
            self._graph.replay()

    @contextlib.contextmanager
    def _as_before(self) -> Iterator[None]:
        """Makes the device the current one; afterwards the thread has its own device and stream."""
        import torch

        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            try:
                yield
            finally:
                # torch leaves its stream behind where a recording fails to begin or to end.
                torch.cuda.set_stream(stream)
