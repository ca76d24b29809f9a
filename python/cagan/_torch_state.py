"""What a program has set in torch stays out of this package's own uses of torch."""

import contextlib
from collections.abc import Iterator

__all__ = ["plain_torch"]


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Lets torch compute in float32, on the CPU and without gradients, whatever the caller has set.

    The caller's random sequence goes on afterwards as if nothing had been drawn.
    """
    import torch

    default = torch.get_default_dtype()
    with contextlib.ExitStack() as stack:
        for context in (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),
            torch.device("cpu"),
            torch.random.fork_rng(devices=[]),
        ):
            stack.enter_context(context)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)
