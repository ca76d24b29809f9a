"""`cagan.app`: a local page that swaps uploaded or picked pictures."""

import contextlib
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import _cagan
from .app_page import STYLE, make_page, make_theme
from .local_page import Guard, announce, opened
from .signals import terminable

if TYPE_CHECKING:
    from gradio import Blocks

__all__ = ["app"]

# The largest upload in bytes. The core limits a picture to 100 megapixels.
_UPLOAD_BYTES = 32 << 20
# The page loads nothing from other hosts.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def app(
    model: _cagan.Swapper | str | os.PathLike[str],
    pairs: _cagan.Pairs | str | os.PathLike[str] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    device: str | None = None,
    browser: bool = True,
    as_json: bool = False,
) -> None:
    """Try a model on a local page: takes human, worn and target article, and shows the swap with its mask and paint.

    Pictures are uploaded, or picked from pairs. Uploads lie in a temporary folder for about ten minutes. Ctrl-C ends
    the app and removes the folder. The page loads nothing from other hosts and sends nothing to them. Only who knows
    the printed address, which has a secret part, gets in. Needs `pip install 'cagan[app]'`.

    Args:
        model: A run, a run's folder (its newest snapshot), a snapshot or a swapper.
        pairs: Pairs to pick from, or their folder; the page shows the first 200.
        host: The address to listen on. Any other than 127.0.0.1 admits other machines, with the printed address.
        port: The port; 0 takes a free one.
        device: "auto" (the default), "cpu", "cuda" or "cuda:N", or a `torch.device`, for a model that is loaded here.
        browser: Whether to open the page in a browser.
        as_json: Whether to print one line of JSON with `address` and `token` in place of words, for other programs.

    Raises:
        ImportError: Gradio is missing.
        FileNotFoundError: The model or the pairs are missing.
        ValueError: The port is out of range, the snapshot is damaged or the folder has no pairs.
        OSError: The port is taken.
    """
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port: expected 0 to 65535, got {port}")
    if not isinstance(model, _cagan.Swapper):
        model = _cagan.Swapper(model, device)
    if pairs is not None and not isinstance(pairs, _cagan.Pairs):
        pairs = _cagan.Pairs(pairs)
    with tempfile.TemporaryDirectory(prefix="cagan-app-") as folder, terminable():
        # Gradio reads both at its import.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder}
        try:
            import gradio  # noqa: F401  # fails here if it is missing
        except ImportError as error:
            raise ImportError("gradio: expected for cagan.app, found none; pip install 'cagan[app]'") from error
        try:
            with _served(make_page(model, pairs, device), host, port) as address:
                announce(address, "Ctrl-C ends the app and removes all uploads.", as_json)
                with opened(address, browser):
                    threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            del os.environ["GRADIO_TEMP_DIR"]


@contextlib.contextmanager
def _served(page: "Blocks", host: str, port: int) -> Iterator[str]:
    """Serves the page below a token, on a thread, and gives its address.

    Raises:
        OSError: The port is taken, or the address is not of this machine.
    """
    import gradio
    from fastapi import FastAPI

    from .web import address_of, listening, running, sealed

    token = secrets.token_urlsafe(24)
    with listening(host, port, "the app") as sock:
        port = sock.getsockname()[1]
        # Without its own pages, which would name their addresses to strangers.
        outer = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        gradio.mount_gradio_app(
            outer,
            page,
            f"/{token}",
            root_path=f"/{token}",
            server_name=host,
            server_port=port,
            footer_links=[],
            run_history=False,
            show_error=False,
            max_file_size=_UPLOAD_BYTES,
            ssr_mode=False,
            enable_monitoring=False,
            theme=make_theme(),
            css=STYLE,
        )
        guard = Guard(token, host, port)
        with running(sealed(outer, guard, _HEADERS), sock, "the app", grace_s=0):
            yield f"{address_of(host, sock)}{token}/"
