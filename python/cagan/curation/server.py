"""The server of `cagan.review`: one page for one user of this machine. Only the review imports it: it needs Flask."""

import secrets
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, render_template, request
from werkzeug.serving import WSGIRequestHandler, make_server

from .. import _cagan
from ..local_page import Guard, announce, opened
from .decisions import KEYS, ConflictError, Review

__all__ = ["serve"]

_HOST = "127.0.0.1"


class _Quiet(WSGIRequestHandler):
    """Prints no requests: their lines would hold the token."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def serve(review: Review, port: int, browser: bool, as_json: bool) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        OSError: For a port that is taken.
    """
    token = secrets.token_urlsafe(24)
    app = _app(review, token)
    server = make_server(_HOST, port, app, threaded=True, request_handler=_Quiet)
    _guard(app, Guard(token, _HOST, server.server_port))
    address = f"http://{_HOST}:{server.server_port}/{token}/"
    announce(address, "Ctrl-C ends the review; every decision is saved at once.", as_json)
    try:
        with opened(address, browser):
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def _guard(app: Flask, guard: Guard) -> None:
    """Refuses strangers' requests."""

    @app.before_request
    def check() -> None:
        if not guard.admits(request.path, request.host, request.headers.get("Origin")):
            abort(403)


def _app(review: Review, token: str) -> Flask:
    """Makes the pages, all of them below the token."""
    app = Flask("cagan", root_path=str(Path(__file__).parents[1]), static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1 << 16

    @app.after_request
    def seal(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'")
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def failed(error: Exception, status: int) -> Response:
        response = jsonify(error=str(error))
        response.status_code = status
        return response

    def answer(action: Any, *arguments: str) -> Response:
        try:
            return jsonify(row=action(*arguments))
        except ConflictError as error:
            return failed(error, 409)
        except OSError as error:
            return failed(error, 500)
        except ValueError as error:
            return failed(error, 400)

    @app.get(f"/{token}/")
    def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        words = _cagan.curation_reasons()
        keys = [(key, word, words.get(word, "the pair is good")) for key, word in KEYS.items()]
        folder = review.listing.folder
        text = render_template(
            "review.html",
            nonce=nonce,
            keys=keys,
            folder=folder.resolve().name or str(folder),
            report=review.report() is not None,
        )
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
            return failed(error, 500)

    @app.post(f"/{token}/decide")
    def decide() -> Response:
        asked = request.get_json()
        if not isinstance(asked, dict):
            abort(400)
        return answer(review.decide, str(asked.get("id", "")), str(asked.get("decision", "")))

    @app.post(f"/{token}/undo")
    def undo() -> Response:
        return answer(review.undo)

    @app.get(f"/{token}/partner")
    def partner() -> Response:
        try:
            return jsonify(review.partner(request.args.get("id", "")))
        except (ConflictError, ValueError, OSError):
            abort(404)

    @app.get(f"/{token}/report")
    def report() -> Response:
        content = review.report()
        if content is None:
            abort(404)
        response = Response(content, mimetype="text/html")
        # The page came with the folder: its script may sort its tables, and reaches neither this server nor another.
        response.headers["Content-Security-Policy"] = (
            "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return response

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
