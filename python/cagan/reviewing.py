"""A local page to go through the pairs with the keyboard; each decision is on disk before it is answered."""

import hmac
import os
import secrets
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _cagan
from .listing import Listing, Row, flag, reasons

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Review", "review"]

# Key and word, in the order of the page's buttons; "keep" is no reason.
KEYS = {
    "k": "keep",
    "b": "bottoms_only",
    "f": "from_behind",
    "e": "extra_garment",
    "d": "duplicate",
    "o": "other",
}
_HOST = "127.0.0.1"
# What every browser decodes, by the file's first bytes; all else goes through the core.
_KNOWN = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
_CELLS = ("exclude", "reason", "reviewed")


class ConflictError(Exception):
    """A decision that no longer fits the list on disk."""


class Review:
    """The list under review: decisions, undo, and the file on disk, one at a time.

    Args:
        folder: The folder of pairs.

    Raises:
        FileNotFoundError: For a folder that is not there, or without pairs.
        ValueError: For a broken `pairs.csv`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:  # noqa: D107  # the class says it
        self._lock = threading.Lock()
        self.listing = self._read(folder)
        # Id, the cells before, the cells after.
        self._done: list[tuple[str, Row, Row]] = []

    @staticmethod
    def _read(folder: str | os.PathLike[str]) -> Listing:
        listing = Listing(folder)
        listing.add_columns("exclude", "reason", "reviewed")
        return listing

    def _fresh(self) -> None:
        """Takes over what somebody else wrote, as `cagan.curate` or a spreadsheet."""
        if self.listing.is_stale():
            self.listing = self._read(self.listing.folder)

    def _find(self, name: str) -> Row:
        for row in self.listing.rows:
            if row["id"] == name:
                return row
        raise ConflictError(f"{name!r} is no longer in pairs.csv")

    def _set(self, row: Row, cells: Row) -> None:
        old = {name: row[name] for name in _CELLS}
        row.update(cells)
        try:
            self.listing.write()
        except BaseException:
            row.update(old)
            raise

    def decide(self, name: str, decision: str) -> dict[str, Any]:
        """Keeps a pair or leaves it out for a reason, on disk when this returns.

        Raises:
            ValueError: For a word that is no decision, or a `pairs.csv` that somebody else broke.
            ConflictError: For a pair that is no longer there.
            OSError: Where the list cannot be written; nothing is decided then.
        """
        if decision not in KEYS.values():
            raise ValueError(f"decision: expected one of {', '.join(KEYS.values())}, got {decision!r}")
        with self._lock:
            self._fresh()
            row = self._find(name)
            before = {cell: row[cell] for cell in _CELLS}
            keep = decision == "keep"
            after = {"exclude": "" if keep else "1", "reason": "" if keep else decision, "reviewed": "1"}
            self._set(row, after)
            self._done.append((name, before, after))
            return self._shown(row)

    def undo(self) -> dict[str, Any]:
        """Takes the last decision of this review back, on disk when this returns.

        Raises:
            ConflictError: Where there is none, or somebody else changed that pair since.
        """
        with self._lock:
            self._fresh()
            if not self._done:
                raise ConflictError("there is nothing to undo")
            name, before, after = self._done.pop()
            row = self._find(name)
            if {cell: row[cell] for cell in _CELLS} != after:
                raise ConflictError(f"{name!r} was changed by somebody else since, and stays as it is")
            try:
                self._set(row, before)
            except BaseException:
                self._done.append((name, before, after))
                raise
            return self._shown(row)

    def state(self) -> dict[str, Any]:
        """All pairs, in order."""
        with self._lock:
            self._fresh()
            rows = [self._shown(row) for row in self.listing.rows]
            return {"rows": rows, "undo": len(self._done)}

    def _shown(self, row: Row) -> dict[str, Any]:
        return {
            "id": row["id"],
            "human": row["human"],
            "article": row["article"],
            "excluded": flag(row, "exclude"),
            "reasons": reasons(row),
            "reviewed": flag(row, "reviewed"),
        }

    def picture(self, name: str, side: str) -> tuple[bytes, str]:
        """A listed picture in a format that browsers know, and its media type.

        Raises:
            ConflictError: For a pair that is not listed, or without that side.
            FileNotFoundError: For a file that is not there.
            ValueError: For what is no picture.
        """
        with self._lock:
            cell = self._find(name)[side]
            path = self.listing.folder / cell
        if not cell:
            raise ConflictError(f"{name!r} has no {side}")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        with path.open("rb") as file:
            start = file.read(16)
            kind = next((kind for begin, kind in _KNOWN.items() if start.startswith(begin)), None)
            if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
                kind = "image/webp"
            if kind:
                return start + file.read(), kind
        return _cagan.to_png(path), "image/png"


def make_app(review: Review, token: str) -> "Flask":
    """The server's pages, all under the token."""
    from flask import Flask, Response, abort, jsonify, render_template, request

    app = Flask("cagan", root_path=str(Path(__file__).parent), static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1 << 16

    @app.before_request
    def guard() -> None:
        # A page elsewhere that points its own name at this address must not get in.
        host = request.host.rsplit(":", 1)[0]
        if host not in (_HOST, "localhost"):
            abort(403)
        given = request.path.split("/")[1]
        if not hmac.compare_digest(given.encode(), token.encode()):
            abort(403)

    @app.after_request
    def seal(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'")
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def answer(action: Any, *arguments: str) -> Response:
        try:
            row = action(*arguments)
        except (ConflictError, ValueError, OSError) as error:
            response = jsonify(error=str(error))
            response.status_code = (
                500 if isinstance(error, OSError) else 409 if isinstance(error, ConflictError) else 400
            )
            return response
        return jsonify(row=row)

    @app.get(f"/{token}/")
    def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        words = _cagan.curation_reasons()
        keys = [(key, word, words.get(word, "the pair is good")) for key, word in KEYS.items()]
        folder = review.listing.folder
        text = render_template("review.html", nonce=nonce, keys=keys, folder=folder.resolve().name or str(folder))
        response = Response(text)
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'nonce-{nonce}'; "
            f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return response

    @app.get(f"/{token}/state")
    def state() -> Response:
        try:
            return jsonify(review.state())
        except (ValueError, OSError) as error:
            response = jsonify(error=str(error))
            response.status_code = 500
            return response

    @app.post(f"/{token}/decide")
    def decide() -> Response:
        asked = request.get_json()
        if not isinstance(asked, dict):
            abort(400)
        return answer(review.decide, str(asked.get("id", "")), str(asked.get("decision", "")))

    @app.post(f"/{token}/undo")
    def undo() -> Response:
        return answer(review.undo)

    @app.get(f"/{token}/picture/<any(human, article):side>")
    def picture(side: str) -> Response:
        try:
            content, kind = review.picture(request.args.get("id", ""), side)
        except (ConflictError, ValueError, OSError):
            abort(404)
        response = Response(content, mimetype=kind)
        response.headers["Cache-Control"] = "private, max-age=600"
        return response

    return app


def review(folder: str | os.PathLike[str], *, port: int = 0, browser: bool = True) -> None:
    """Go through the pairs of a folder with the keyboard, on a page that only this machine can open.

    Each key keeps the pair or leaves it out for a reason; the decision is in `pairs.csv` (`exclude`, `reason`,
    `reviewed`) before the page goes on, so that nothing is lost when the browser or this process is killed. It runs
    until Ctrl-C, or the kernel's interrupt button. Needs Flask: `pip install 'cagan[review]'`.

    Args:
        folder: A folder with `human/` and `article/`, or with a `pairs.csv`.
        port: The port of 127.0.0.1 to listen on; 0 is a free one.
        browser: Whether to open the page.

    Raises:
        ImportError: Flask is missing.
        FileNotFoundError: For a folder that is not there, or without pairs.
        ValueError: For a broken `pairs.csv`.
        OSError: For a port that is taken.
    """
    try:
        import flask  # noqa: F401  # its absence is told here
        from werkzeug.serving import WSGIRequestHandler, make_server
    except ImportError as error:
        raise ImportError("flask: expected for cagan.review, found none; pip install 'cagan[review]'") from error

    class Quiet(WSGIRequestHandler):
        """Requests are not printed: their lines would hold the token."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    current = Review(folder)
    token = secrets.token_urlsafe(24)
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port: expected 0 to 65535, got {port}")
    server = make_server(_HOST, port, make_app(current, token), threaded=True, request_handler=Quiet)
    address = f"http://{_HOST}:{server.server_port}/{token}/"
    print(f"{address}\nCtrl-C ends the review; every decision is saved at once.", flush=True)
    if browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    rows = current.state()["rows"]
    seen = sum(row["reviewed"] for row in rows)
    print(
        f"{seen} of {len(rows)} pairs reviewed, {sum(row['excluded'] for row in rows)} left out: {current.listing.path}"
    )
