"""`cagan.asgi`, `cagan.serve`: swaps over HTTP. Requests that come together are swapped together."""

import asyncio
import contextlib
import ctypes
import functools
import hashlib
import io
import math
import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _cagan
from .about import info
from .failures import SwapError
from .local_page import admits_here, is_loopback
from .signals import terminable

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["asgi", "serve"]

_SIDES = ("human", "worn", "target")
_FORMATS = {"webp": "image/webp", "png": "image/png", "jpg": "image/jpeg"}
_PARTS = ("image", "mask", "paint", "located")
# Bytes of requests and decoded pictures that may be in work. A request beyond them is told to come again.
_IN_WORK = 1 << 30
# Seconds between two times that freed memory goes back to the system, which takes some 10 ms.
_GIVE_BACK_S = 1.0
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def asgi(
    model: _cagan.Swapper | str | os.PathLike[str],
    *,
    max_batch: int = 16,
    wait_ms: float = 10,
    max_bytes: int = 32 << 20,
    max_pixels: int = 25_000_000,
    cache_bytes: int = 256 << 20,
    device: str | None = None,
) -> "Starlette":
    """Make a web application that swaps, for any ASGI server or for `app.mount("/swap", ...)` of another application.

    `POST /swap` takes a form (multipart/form-data) with the files `human`, `target` and, if it is known, `worn`, and
    optionally the texts `format` (webp, png or jpg) and `part` (image, mask, paint or located). It answers with the
    picture. `GET /healthz` says that the service lives, and `GET /metadata` what it serves. A mistake of the sender is
    a status of 4xx with the JSON `{"error": "..."}`. Needs `pip install 'cagan[serve]'`.

    The swapper works on a thread of its own. Pictures that come again are not decoded again, nor is a person looked at
    again: a cache holds both by their content. There is no log of pictures and nothing is written to a disk, but what
    the server spools of a large upload. The application asks nobody who he is: put that, and TLS, in front of it.

    Args:
        model: A run, a run's folder, a snapshot, "dolls" or a swapper.
        max_batch: The most requests that are swapped at once.
        wait_ms: How long the first of them waits for others. Requests that come while others are swapped wait anyway.
        max_bytes: The largest request in bytes; a larger one gets 413.
        max_pixels: The largest picture; a larger one gets 413.
        cache_bytes: The memory of decoded pictures and looks; 0 keeps none.
        device: "auto" (the default), "cpu", "cuda" or "cuda:N", or a `torch.device`, for a model that is loaded here.

    Raises:
        ImportError: starlette or python-multipart is missing.
        FileNotFoundError: The model is missing.
        ValueError: A limit is out of range, or the snapshot is damaged.

    Example:
        >>> import cagan
        >>> app = cagan.asgi("dolls", device="cpu")
        >>> [route.path for route in app.routes]
        ['/swap', '/healthz', '/metadata']
    """
    limits = {"max_batch": (max_batch, 1), "max_bytes": (max_bytes, 1), "max_pixels": (max_pixels, 1)}
    for name, (given, least) in (limits | {"wait_ms": (wait_ms, 0), "cache_bytes": (cache_bytes, 0)}).items():
        if not given >= least:
            raise ValueError(f"{name}: expected {least} or more, got {given}")
    try:
        import python_multipart  # noqa: F401  # starlette needs it for forms
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError(
            "starlette and python-multipart: expected for cagan.asgi, found none; pip install 'cagan[serve]'"
        ) from error
    if not isinstance(model, _cagan.Swapper):
        model = _cagan.Swapper(model, device)
    service = _Service(model, max_batch, wait_ms / 1000, max_bytes, max_pixels, _Cache(cache_bytes))

    async def refused(_: "Request", error: Exception) -> "Response":
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    async def failed(_: "Request", error: Exception) -> "Response":  # noqa: ARG001  # its words are not the sender's
        # The outermost layer answers, beyond `_Sealed`.
        return JSONResponse({"error": "the swap failed"}, 500, _HEADERS)

    @contextlib.asynccontextmanager
    async def living(_: "Starlette") -> AsyncIterator[None]:
        service.open()
        yield
        service.close()

    app = Starlette(
        routes=[
            Route("/swap", service.swap, methods=["POST"]),
            Route("/healthz", service.health),
            Route("/metadata", service.metadata),
        ],
        exception_handlers={HTTPException: refused, 500: failed},
        lifespan=living,
    )
    app.add_middleware(_Sealed)
    return app


class _Sealed:
    """Adds the headers of a service that no page should embed, sniff or keep."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def sealing(message: "Message") -> None:
            if message["type"] == "http.response.start":
                more = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        await self._app(scope, receive, sealing)


class _Cache:
    """The pictures and looks that were used last, by the hashes of their files, up to a limit of memory."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0

    def get(self, key: bytes) -> Any:
        with self._lock:
            entry = self._kept.get(key)
            if entry is not None:
                self._kept.move_to_end(key)
                self.hits += 1
            return entry

    def put(self, key: bytes, entry: Any) -> None:
        with self._lock:
            if entry.nbytes > self._limit or key in self._kept:
                return
            self._kept[key] = entry
            self._held += entry.nbytes
            while self._held > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._held -= dropped.nbytes

    def state(self) -> dict[str, int]:
        with self._lock:
            return {"entries": len(self._kept), "bytes": self._held, "hits": self.hits}


@dataclass
class _Job:
    """A swap that waits: the person's key and look, if the cache has it, the pictures, and the future of its result."""

    person: bytes
    look: _cagan.Look | None
    pictures: dict[str, NDArray[np.uint8]]
    done: "asyncio.Future[_cagan.Swap]"


class _Service:
    def __init__(
        self,
        swapper: _cagan.Swapper,
        max_batch: int,
        wait_s: float,
        max_bytes: int,
        max_pixels: int,
        cache: _Cache,
    ) -> None:
        self._swapper, self._max_batch, self._wait_s = swapper, max_batch, wait_s
        self._max_bytes, self._max_pixels, self._cache = max_bytes, max_pixels, cache
        self._waiting: deque[_Job] = deque()
        self._full: asyncio.Event | None = None
        self._draining: asyncio.Task[None] | None = None
        self._served = self._in_work = 0
        self._gave_back_s = -math.inf
        self.open()

    def open(self) -> None:
        """Makes the threads: one swaps, others decode and encode meanwhile. They begin with their first work."""
        self._swapping = ThreadPoolExecutor(1, "cagan-swap")
        self._coding = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "cagan-code")

    def close(self) -> None:
        self._swapping.shutdown(cancel_futures=True)
        self._coding.shutdown(cancel_futures=True)

    async def health(self, _: "Request") -> "Response":
        from starlette.responses import JSONResponse

        return JSONResponse({"status": "ok", "waiting": len(self._waiting), "served": self._served})

    async def metadata(self, _: "Request") -> "Response":
        from starlette.responses import JSONResponse

        config = self._swapper.config
        return JSONResponse(
            {
                "cagan": info()["cagan"],
                "model": self._swapper.path.name,
                "step": self._swapper.step,
                "architecture": config.architecture,
                "image_size": list(config.image_size),
                "needs_worn": self._swapper.needs_worn,
                "inputs": list(_SIDES),
                "formats": list(_FORMATS),
                "parts": list(_PARTS),
                "max_batch": self._max_batch,
                "wait_ms": self._wait_s * 1000,
                "max_bytes": self._max_bytes,
                "max_pixels": self._max_pixels,
                "cache": self._cache.state(),
            }
        )

    async def swap(self, request: "Request") -> "Response":
        length = self._length(request)
        with self._room() as take:
            take(length)
            return await self._answer(request, take)

    @contextlib.contextmanager
    def _room(self) -> Iterator[Callable[[int], None]]:
        """Counts a request's bytes while it is in work; `take` refuses those that are too many beside others."""
        from starlette.exceptions import HTTPException

        own = 0

        def take(count: int) -> None:
            nonlocal own
            # One request alone always has room.
            if self._in_work + count > _IN_WORK and self._in_work > own:
                raise HTTPException(503, "too many swaps wait; come again", {"Retry-After": "1"})
            own += count
            self._in_work += count

        try:
            yield take
        finally:
            self._in_work -= own

    async def _answer(self, request: "Request", take: Callable[[int], None]) -> "Response":
        from starlette.exceptions import HTTPException
        from starlette.responses import Response

        files, ending, part = await self._form(request)
        loop = asyncio.get_running_loop()
        keys = {name: hashlib.sha256(content).digest() for name, content in files.items()}
        person = b"look" + keys["human"] + keys.get("worn", b"")
        look: _cagan.Look | None = self._cache.get(person)
        pictures = {}
        for name, content in files.items():
            if look is None or name == "target":
                pictures[name] = await loop.run_in_executor(self._coding, self._decoded, name, content, keys[name])
                take(pictures[name].nbytes)
        del files
        job = _Job(person, look, pictures, loop.create_future())
        self._enqueue(job)
        try:
            swap = await job.done
        except SwapError as error:
            if error.type != "ValueError":
                raise
            # The place in the batch means nothing to the sender.
            raise HTTPException(422, re.sub(r"^(\w+)\[\d+\]", r"\1", str(error))) from error
        encode: Callable[[], bytes] = functools.partial(swap.encoded, ending, part)  # type: ignore[arg-type]  # checked
        try:
            content = await loop.run_in_executor(self._coding, encode)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        self._served += 1
        return Response(content, media_type=_FORMATS[ending])

    def _length(self, request: "Request") -> int:
        """Returns the bytes that a request announces, or those that it may have.

        Raises:
            HTTPException: It is no form, or too large.
        """
        from starlette.exceptions import HTTPException

        kind = request.headers.get("content-type", "none").split(";")[0].strip()
        if kind != "multipart/form-data":
            raise HTTPException(415, f"content-type: expected multipart/form-data, got {kind}")
        length = request.headers.get("content-length", str(self._max_bytes))
        if not length.isdecimal() or int(length) > self._max_bytes:
            raise self._too_large()
        return int(length)

    def _too_large(self) -> Exception:
        from starlette.exceptions import HTTPException

        # The rest is not read, so that the connection has no next request.
        text = f"the request: expected at most {self._max_bytes} bytes, got more"
        return HTTPException(413, text, {"Connection": "close"})

    async def _form(self, request: "Request") -> tuple[dict[str, bytes], str, str]:
        """Reads the form: the files by their names, the format and the part.

        Raises:
            HTTPException: It is none of a swap's, or too large.
        """
        from starlette.datastructures import UploadFile
        from starlette.exceptions import HTTPException
        from starlette.requests import Request

        received = 0

        async def limited() -> "Message":
            nonlocal received
            message = await request.receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            return message

        own = Request(request.scope, limited)
        try:
            async with own.form(max_files=len(_SIDES), max_fields=2) as form:
                texts = {name: value for name, value in form.items() if not isinstance(value, UploadFile)}
                uploads = {name: value for name, value in form.items() if isinstance(value, UploadFile)}
                # A browser sends an empty file for a field that was left open.
                files = {name: await value.read() for name, value in uploads.items() if value.size or value.filename}
        except HTTPException as error:
            if error.status_code == 400:
                raise HTTPException(400, f"the form: {error.detail}") from error
            raise
        ending, part = str(texts.pop("format", "webp")), str(texts.pop("part", "image"))
        for name in texts:
            rule = "expected a file, got a text" if name in _SIDES else "no such field"
            raise HTTPException(400, f"{name}: {rule}")
        for name in files:
            if name not in _SIDES:
                raise HTTPException(400, f"{name}: expected the files {', '.join(_SIDES)}, got another")
        needed = _SIDES if self._swapper.needs_worn else ("human", "target")
        for name in needed:
            if name not in files:
                raise HTTPException(400, f"{name}: expected a file, got none")
        if ending not in _FORMATS:
            raise HTTPException(400, f"format: expected {', '.join(_FORMATS)}, got {ending}")
        if part not in _PARTS:
            raise HTTPException(400, f"part: expected {', '.join(_PARTS)}, got {part}")
        return files, ending, part

    def _decoded(self, name: str, content: bytes, key: bytes) -> NDArray[np.uint8]:
        """Decodes a file, if it is not in the cache.

        Raises:
            HTTPException: It is no picture, or too large a one.
        """
        from starlette.exceptions import HTTPException

        known: NDArray[np.uint8] | None = self._cache.get(key)
        if known is not None:
            return known
        self._check_size(name, _size_of(content))
        try:
            pixels = _cagan.Pair(name, content, content).human
        except ValueError as error:
            raise HTTPException(422, str(error).replace(f"human of `{name}`", name)) from error
        self._check_size(name, pixels.shape[:2])
        pixels.flags.writeable = False
        self._cache.put(key, pixels)
        return pixels

    def _check_size(self, name: str, size: tuple[int, ...] | None) -> None:
        from starlette.exceptions import HTTPException

        if size is not None and size[0] * size[1] > self._max_pixels:
            got = f"{size[0]} x {size[1]}"
            raise HTTPException(413, f"{name}: expected a picture of at most {self._max_pixels} pixels, got {got}")

    def _enqueue(self, job: _Job) -> None:
        self._waiting.append(job)
        # A mounted application has no start of its own, so the first request begins.
        if self._full is None or self._draining is None or self._draining.done():
            self._full = asyncio.Event()
            self._draining = asyncio.get_running_loop().create_task(self._drain(self._full))
        if len(self._waiting) >= self._max_batch:
            self._full.set()

    async def _drain(self, full: asyncio.Event) -> None:
        """Swaps what waits, batch by batch, until nothing does. `full` says that a whole batch waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            if len(self._waiting) < self._max_batch:
                full.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(full.wait(), self._wait_s)
            jobs: list[_Job] = []
            while self._waiting and len(jobs) < self._max_batch:
                job = self._waiting.popleft()
                # Whoever went away gets no swap.
                if not job.done.done():
                    jobs.append(job)
            try:
                results = await loop.run_in_executor(self._swapping, self._swapped, jobs)
            except BaseException as error:
                for job in jobs:
                    if not job.done.done():
                        job.done.set_exception(_plain(error))
                if not isinstance(error, Exception):
                    raise
                continue
            for job, result in zip(jobs, results):
                if job.done.done():
                    continue
                if isinstance(result, SwapError):
                    job.done.set_exception(result)
                else:
                    job.done.set_result(result)

    def _swapped(self, jobs: list[_Job]) -> list[Any]:
        """Swaps jobs. A person whom the cache does not know is looked at once, for all of its articles."""
        looks: dict[bytes, _cagan.Look] = {job.person: job.look for job in jobs if job.look is not None}
        new = {job.person: job.pictures for job in jobs if job.look is None and job.person not in looks}
        if new:
            people, worn = ([pictures.get(name) for pictures in new.values()] for name in ("human", "worn"))
            for person, look in zip(new, self._swapper.look(people, worn)):
                looks[person] = look
                self._cache.put(person, look)
        seen = [looks[job.person] for job in jobs]
        results = self._swapper.swap(seen, target=[job.pictures["target"] for job in jobs], on_error="return")
        if time.monotonic() - self._gave_back_s > _GIVE_BACK_S:
            _give_back()
            self._gave_back_s = time.monotonic()
        return list(results)


def _give_back() -> None:
    """Gives freed memory back to the system: batches of changing sizes leave holes in it, which add up."""
    # Only glibc has it, and only glibc needs it.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _plain(error: BaseException) -> Exception:
    """An exception that a future takes."""
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def _size_of(content: bytes) -> tuple[int, int] | None:
    """Reads height and width from a file's head; None where Pillow does not know it."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.height, picture.width
    # Its readers raise what they like, and the core has limits of its own.
    except Exception:
        return None


def serve(
    model: _cagan.Swapper | str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str | None = None,
    **limits: Any,
) -> None:
    """Serves `asgi` until Ctrl-C or SIGTERM, and lets what was begun end.

    On an address of this machine alone it admits requests to that address alone, and none that another page sends.

    Args:
        model: As for `asgi`.
        host: The address to listen on. Any other than 127.0.0.1 admits other machines.
        port: The port; 0 takes a free one.
        device: As for `asgi`.
        **limits: The other arguments of `asgi`.

    Raises:
        ImportError: starlette, python-multipart or uvicorn is missing.
        FileNotFoundError: The model is missing.
        ValueError: The port or a limit is out of range, or the snapshot is damaged.
        OSError: The port is taken.
    """
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port: expected 0 to 65535, got {port}")
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError("uvicorn: expected for cagan.serve, found none; pip install 'cagan[serve]'") from error
    app: Any = asgi(model, device=device, **limits)
    from .web import address_of, listening

    if is_loopback(host):
        app = _only_here(app)
    with listening(host, port, "the service") as sock, terminable(), contextlib.suppress(KeyboardInterrupt):
        print(address_of(host, sock), flush=True)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=30
        )
        uvicorn.Server(config).run(sockets=[sock])


def _only_here(app: "ASGIApp") -> "ASGIApp":
    """Refuses requests that name another host, or that another page sends."""

    async def guarded(scope: "Scope", receive: "Receive", send: "Send") -> None:
        headers = {name: value.decode("latin-1") for name, value in scope.get("headers", [])}
        if scope["type"] == "http" and not admits_here(headers.get(b"host", ""), headers.get(b"origin")):
            from starlette.responses import JSONResponse

            error = "host: expected an address of this machine, and no other page as the sender"
            await JSONResponse({"error": error}, 403, _HEADERS)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded
