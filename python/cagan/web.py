"""Web servers of this package: their sockets, threads and headers. Whoever imports it has Starlette and uvicorn."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import uvicorn

from .local_page import Guard

__all__ = ["address_of", "listening", "running", "sealed"]


def listening(host: str, port: int, who: str) -> socket.socket:
    """Returns a socket that listens; `who` names the server in an error.

    Raises:
        OSError: The port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {who} cannot listen on it", f"{host}:{port}") from None


def address_of(host: str, sock: socket.socket) -> str:
    """Returns the address of a server, with a slash at its end."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{sock.getsockname()[1]}/"


@contextlib.contextmanager
def running(app: Any, sock: socket.socket, who: str, *, grace_s: int) -> Iterator[None]:
    """Serves an application on a thread while the block runs. Afterwards answers in work have so many seconds.

    Raises:
        OSError: The server did not start.
    """
    # Its own logging would need streams.
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=grace_s,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.02)
        if not server.started:
            raise OSError(f"{who}'s server did not start")
        yield
    finally:
        server.should_exit = True
        # An open page holds a connection; nobody waits for it.
        server.force_exit = grace_s == 0
        thread.join(grace_s + 5)


def sealed(app: Any, guard: Guard, headers: Mapping[str, str]) -> Any:
    """Wraps an application: strangers are refused, and every answer has the headers that it does not set itself."""
    usual = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def refuse(send: Any) -> None:
        plain = [(b"content-type", b"text/plain"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 403, "headers": plain})
        await send({"type": "http.response.body", "body": b"forbidden"})

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        async def sealing(message: Any) -> None:
            if message["type"] == "http.response.start":
                # A page of the same address needs no permission to read an answer, and no other gets it.
                given = [(name, value) for name, value in message["headers"] if not name.startswith(b"access-control-")]
                own = {name.lower() for name, _ in given}
                message["headers"] = [*given, *((name, value) for name, value in usual if name not in own)]
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if guard.admits(scope["path"], asked.get(b"host", ""), asked.get(b"origin")):
            await app(scope, receive, sealing)
        else:
            await refuse(send)

    return guarded
