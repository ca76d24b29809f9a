"""`cagan.app`: a local page that swaps uploaded or picked pictures."""

import io
import os
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _cagan
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
    the app and removes the folder. The page loads nothing from other hosts and sends nothing to them. Needs `pip
    install 'cagan[app]'`.

    Args:
        model: A run, a run's folder (its newest snapshot), a snapshot or a swapper.
        pairs: Pairs to pick from, or their folder; the page shows the first 200.
        host: The address to listen on. Any other than 127.0.0.1 admits other machines.
        port: The port; 0 takes a free one.
        device: "auto" (the default), "cpu", "cuda" or "cuda:N", for a model that is loaded here.
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
        page = make_page(model, pairs)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port or None,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=_UPLOAD_BYTES,
                ssr_mode=False,
                enable_monitoring=False,
                footer_links=[],
                app_kwargs={"middleware": [_sealed()]},
            )
            print(f"{address}\nCtrl-C ends the app and removes all uploads.", flush=True)
            if browser:
                webbrowser.open(address)
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            page.close(verbose=False)
            del os.environ["GRADIO_TEMP_DIR"]


def make_page(swapper: _cagan.Swapper, pairs: _cagan.Pairs | None) -> "Blocks":
    """Builds the page."""
    import gradio as gr

    page: Blocks

    def picture(label: str, **options: Any) -> Any:
        # Without a mode the file arrives as it was uploaded, and the core decodes it.
        return gr.Image(label=label, elem_id=label, type="filepath", image_mode=None, format="png", **options)

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
    people.select(person, None, given[:2], api_name=False)
    clothes = gr.Gallery(
        thumbnails([pair.article_source for pair in shown]), label="articles", elem_id="articles", **options
    )
    clothes.select(article, None, given[2], api_name=False)


def _sealed() -> Any:
    """Returns the middleware that keeps the page from loading anything from other hosts."""
    from starlette.middleware import Middleware

    class Sealed:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def sealing(message: Any) -> None:
                if message["type"] == "http.response.start":
                    headers = [
                        (b"content-security-policy", _POLICY.encode()),
                        (b"referrer-policy", b"no-referrer"),
                        (b"x-content-type-options", b"nosniff"),
                    ]
                    message["headers"] = [*message["headers"], *headers]
                await send(message)

            await self.app(scope, receive, sealing if scope["type"] == "http" else send)

    return Middleware(Sealed)
