"""`cagan.app`: a local page that swaps uploaded or picked pictures."""

import contextlib
import io
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _cagan
from .local_page import Guard, opened
from .signals import terminable

if TYPE_CHECKING:
    from gradio import Blocks

__all__ = ["app"]

# The largest upload in bytes. The core limits a picture to 100 megapixels.
_UPLOAD_BYTES = 32 << 20
# Pairs in the gallery, and pixels along a thumbnail's longer side.
_SHOWN = 200
_SIDE = 144
# Seconds between two searches for old files, and the age in seconds at which a file is removed.
_FORGET = (60, 600)
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
            with _served(make_page(model, pairs), host, port) as address:
                print(f"{address}\nCtrl-C ends the app and removes all uploads.", flush=True)
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
            server_name=host,
            server_port=port,
            footer_links=[],
            run_history=False,
            show_error=False,
            max_file_size=_UPLOAD_BYTES,
            ssr_mode=False,
            enable_monitoring=False,
        )
        sealed = _sealed(outer, Guard(token, host, port))
        server = uvicorn.Server(uvicorn.Config(sealed, log_level="critical", access_log=False, ws="none"))
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


def make_page(swapper: _cagan.Swapper, pairs: _cagan.Pairs | None) -> "Blocks":
    """Builds the page."""
    import gradio as gr

    page: Blocks

    def picture(label: str, **options: Any) -> Any:
        image: Any = gr.Image(label=label, elem_id=label, type="filepath", image_mode=None, format="png", **options)
        # The file arrives as it was uploaded: the core decodes it, and its errors tell what was wrong.
        image.preprocess = lambda payload: payload and payload.path
        return image

    def swap(*paths: str | None) -> tuple[NDArray[np.uint8], ...]:
        names = ("human", "worn", "target")
        for name, path in zip(names, paths):
            if path is None and (name != "worn" or swapper.needs_worn):
                raise gr.Error(f"{name}: expected a picture, got none")
        try:
            made = swapper.swap(*paths)
        except (ValueError, OSError) as error:
            text = str(error)
            for name, path in zip(names, paths):
                text = text.replace(path, name) if path else text
            raise gr.Error(text) from error
        return made.image, made.mask, made.paint

    with gr.Blocks(title="cagan", analytics_enabled=False, delete_cache=_FORGET) as page:
        gr.Markdown(f"**{swapper.path}**, step {swapper.step}, {' x '.join(map(str, swapper.config.image_size))}")
        with gr.Row():
            given = [
                picture(label, sources=["upload", "clipboard"], height=320) for label in ("human", "worn", "target")
            ]
        button = gr.Button("swap", variant="primary", elem_id="go")
        with gr.Row():
            made = [
                picture(label, interactive=False, height=360, buttons=["download", "fullscreen"])
                for label in ("swapped", "mask", "paint")
            ]
        button.click(swap, given, made, api_name="swap")
        if pairs is not None:
            _galleries(gr, pairs, given)
    return page


def _galleries(gr: Any, pairs: _cagan.Pairs, given: list[Any]) -> None:
    """Adds two galleries: people, picked with their worn articles, and target articles."""
    from PIL import Image

    shown = [pairs[k] for k in range(min(len(pairs), _SHOWN))]

    def thumbnails(pictures: list[Any]) -> list[tuple[Any, str]]:
        found = _cagan.thumbnails(pictures, _SIDE)
        empty = Image.new("RGB", (_SIDE, _SIDE), "white")
        return [(Image.open(io.BytesIO(data)) if data else empty, pair.id) for data, pair in zip(found, shown)]

    def person(event: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pair = shown[event.index]
        return pair.human, pair.article

    def article(event: Any) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = shown[event.index].article
        return picture

    # Gradio passes the event to the parameter of this type.
    person.__annotations__["event"] = article.__annotations__["event"] = gr.SelectData
    options = {"columns": 10, "height": 260, "object_fit": "contain", "allow_preview": False, "interactive": False}
    people = gr.Gallery(thumbnails([pair.human_source for pair in shown]), label="people", elem_id="people", **options)
    people.select(person, None, given[:2], api_visibility="private")
    clothes = gr.Gallery(
        thumbnails([pair.article_source for pair in shown]), label="articles", elem_id="articles", **options
    )
    clothes.select(article, None, given[2], api_visibility="private")


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
