"""Pages for one user of this machine: who may ask, and how the browser gets the secret address."""

import contextlib
import hmac
import html
import ipaddress
import json
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Guard", "admits_here", "announce", "is_loopback", "opened"]


class Guard:
    """Tells requests of the page's user from those of strangers.

    A foreign page could point its own host name at this address, or send requests to it; neither knows the token, and
    both name themselves in the headers.

    Args:
        token: The first part of each path.
        host: The address that the server listens on.
        port: The server's port.
    """

    def __init__(self, token: str, host: str, port: int) -> None:  # noqa: D107  # the class says it
        self.token, self.port = token, port
        self._names = {"localhost", host.lower()}
        self._only_here = is_loopback(host)

    def admits(self, path: str, host: str, origin: str | None) -> bool:
        """Checks a request's path, and its headers Host and Origin."""
        given = path.split("/")[1] if "/" in path else ""
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode()):
            return False
        return self._is_own(host) and (origin is None or origin == f"http://{host}")

    def _is_own(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").lower(), parts.port or 80
        except ValueError:
            return False
        if port != self.port or parts.username is not None or parts.path:
            return False
        # Nobody can point an address of numbers elsewhere.
        return name in self._names or (is_loopback(name) if self._only_here else _is_address(name))


def announce(address: str, words: str, as_json: bool) -> None:
    """Prints a page's address, for its user or for a program.

    Args:
        address: The address, with its token.
        words: A second line for the user.
        as_json: Whether a line of JSON with `address` and `token` takes the place of both.
    """
    token = urlsplit(address).path.strip("/")
    print(json.dumps({"address": address, "token": token}) if as_json else f"{address}\n{words}", flush=True)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def admits_here(host: str, origin: str | None) -> bool:
    """Checks the headers Host and Origin of a request to a service for this machine alone.

    Example:
        >>> from cagan.local_page import admits_here
        >>> admits_here("localhost:8000", None), admits_here("evil.example", None)
        (True, False)
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name.lower()) and (origin is None or origin == f"http://{host}")


@contextlib.contextmanager
def opened(address: str, browser: bool) -> Iterator[None]:
    """Opens a page in the browser while the block runs.

    Every user of a machine sees the words of a command line, so the browser gets the name of a file that only this user
    can read, and the file leads to the address.

    Args:
        address: The page's address, with its token.
        browser: Whether to open it.
    """
    if not browser:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="cagan-") as folder:
        page = Path(folder) / "open.html"
        page.touch(0o600)
        quoted = html.escape(address, quote=True)
        page.write_text(
            f'<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={quoted}"><a href="{quoted}">cagan</a>\n',
            encoding="utf-8",
        )
        webbrowser.open(page.as_uri())
        yield
