"""`cagan.app`: a local page that swaps uploaded or picked pictures."""

import contextlib
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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
    import uvicorn
    from fastapi import FastAPI

    token = secrets.token_urlsafe(24)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: the app cannot listen on it", f"{host}:{port}") from None
    with listening:
        port = listening.getsockname()[1]
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
        sealed = _sealed(outer, Guard(token, host, port))
        # Its own logging would need streams.
        config = uvicorn.Config(sealed, log_config=None, log_level="critical", access_log=False, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.02)
            if not server.started:
                raise OSError(f"{host}:{port}: the app's server did not start")
            name = f"[{host}]" if ":" in host else host
            yield f"http://{name}:{port}/{token}/"
        finally:
            # An open page holds a connection; nobody waits for it.
            server.should_exit = server.force_exit = True
            thread.join(5)


def _sealed(app: Any, guard: Guard) -> Any:
    """Wraps the server: strangers are refused, and the page loads nothing from other hosts."""

    async def refuse(send: Any) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": b"forbidden"})

    async def sealed(scope: Any, receive: Any, send: Any) -> None:
        async def sealing(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                    (b"x-frame-options", b"DENY"),
                ]
                # A page of the same address needs no permission to read an answer, and no other gets it.
                given = [(name, value) for name, value in message["headers"] if not name.startswith(b"access-control-")]
                message["headers"] = [*given, *headers]
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if guard.admits(scope["path"], headers.get(b"host", ""), headers.get(b"origin")):
            await app(scope, receive, sealing)
        else:
            await refuse(send)

    return sealed
