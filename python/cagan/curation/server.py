"""The server of `cagan.review`: one page for one user of this machine. Only the review imports it, which checks."""

import json
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from .. import _cagan
from ..local_page import Guard, announce, opened
from ..web import address_of, listening, running, sealed
from .decisions import KEYS, ConflictError, Review

__all__ = ["serve"]

_HOST = "127.0.0.1"
# The largest request in bytes.
_LONGEST = 1 << 16
_HEADERS = {
    "content-security-policy": "default-src 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


def serve(review: Review, port: int, browser: bool, as_json: bool) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        OSError: For a port that is taken.
    """
    token = secrets.token_urlsafe(24)
    with listening(_HOST, port, "the review") as sock:
        guard = Guard(token, _HOST, sock.getsockname()[1])
        app = Starlette(routes=[Mount(f"/{token}", routes=_routes(review))])
        # A decision that is being saved is saved to its end.
        with running(sealed(app, guard, _HEADERS), sock, "the review", grace_s=5):
            address = f"{address_of(_HOST, sock)}{token}/"
            announce(address, "Ctrl-C ends the review; every decision is saved at once.", as_json)
            try:
                with opened(address, browser):
                    threading.Event().wait()
            except KeyboardInterrupt:
                pass


def _routes(review: Review) -> list[Route]:
    """Makes the pages. All but the answers to a body run on threads, as they wait for disks."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"), autoescape=True
    )

    def failed(error: Exception, status: int) -> Response:
        return JSONResponse({"error": str(error)}, status)

    def answer(action: Callable[..., Any], *arguments: str) -> Response:
        try:
            return JSONResponse({"row": action(*arguments)})
        except ConflictError as error:
            return failed(error, 409)
        except OSError as error:
            return failed(error, 500)
        except ValueError as error:
            return failed(error, 400)

    def page(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        words = _cagan.curation_reasons()
        folder = review.listing.folder
        text = templates.get_template("review.html").render(
            nonce=nonce,
            keys=[(key, word, words.get(word, "the pair is good")) for key, word in KEYS.items()],
            folder=folder.resolve().name or str(folder),
            report=review.report() is not None,
        )
        policy = (
            f"default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'nonce-{nonce}'; "
            f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return Response(text, headers={"Content-Security-Policy": policy}, media_type="text/html")

    def state(_: Request) -> Response:
        try:
            return JSONResponse(review.state())
        except (ValueError, OSError) as error:
            return failed(error, 500)

    async def decide(request: Request) -> Response:
        asked = await _body(request)
        decision = str(asked.get("id", "")), str(asked.get("decision", ""))
        return await run_in_threadpool(answer, review.decide, *decision)

    def undo(_: Request) -> Response:
        return answer(review.undo)

    def partner(request: Request) -> Response:
        try:
            return JSONResponse(review.partner(request.query_params.get("id", "")))
        except (ConflictError, ValueError, OSError):
            raise HTTPException(404) from None

    def report(_: Request) -> Response:
        content = review.report()
        if content is None:
            raise HTTPException(404)
        # The page came with the folder: its script may sort its tables, and reaches neither this server nor another.
        policy = (
            "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return Response(content, headers={"Content-Security-Policy": policy}, media_type="text/html")

    def picture(request: Request) -> Response:
        side = request.path_params["side"]
        if side not in ("human", "article"):
            raise HTTPException(404)
        try:
            content, kind = review.picture(request.query_params.get("id", ""), side)
        except (ConflictError, ValueError, OSError):
            raise HTTPException(404) from None
        return Response(content, headers={"Cache-Control": "private, max-age=600"}, media_type=kind)

    return [
        Route("/", page),
        Route("/state", state),
        Route("/decide", decide, methods=["POST"]),
        Route("/undo", undo, methods=["POST"]),
        Route("/partner", partner),
        Route("/report", report),
        Route("/picture/{side}", picture),
    ]


async def _body(request: Request) -> dict[str, Any]:
    """Reads the JSON of a request.

    Raises:
        HTTPException: It is too long, or no object.
    """
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LONGEST:
            raise HTTPException(413, headers={"Connection": "close"})
    try:
        asked = json.loads(content)
    except ValueError:
        raise HTTPException(400) from None
    if not isinstance(asked, dict):
        raise HTTPException(400)
    return asked
