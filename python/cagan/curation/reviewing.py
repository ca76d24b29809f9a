"""`cagan.review`: the pairs one by one on a local page."""

import json
import os

from ..signals import terminable
from .decisions import Review

__all__ = ["review"]


def review(folder: str | os.PathLike[str], *, port: int = 0, browser: bool = True, as_json: bool = False) -> None:
    """Go through the pairs of a folder with the keyboard, on a page that only this machine can open.

    Each key keeps the pair or leaves it out for a reason. The decision is in `pairs.csv` (`exclude`, `reason`,
    `reviewed`) before the page goes on: killing the browser or this process loses nothing. It runs until Ctrl-C, or the
    kernel's interrupt button. Needs Starlette and uvicorn: `pip install 'cagan[review]'`.

    Args:
        folder: A folder with `human/` and `article/`, or with a `pairs.csv`.
        port: The port of 127.0.0.1 to listen on; 0 is a free one.
        browser: Whether to open the page.
        as_json: Whether to print lines of JSON, for other programs: at the start `address` and `token`, at the end
            `pairs`, `reviewed`, `excluded` and `csv`.

    Raises:
        ImportError: If Starlette or uvicorn is missing.
        FileNotFoundError: For a missing folder, or one without pairs.
        ValueError: For a broken `pairs.csv`.
        OSError: For a port that is taken.
    """
    try:
        from .server import serve
    except ImportError as error:
        raise ImportError(
            "starlette and uvicorn: expected for cagan.review, found none; pip install 'cagan[review]'"
        ) from error
    current = Review(folder)
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port: expected 0 to 65535, got {port}")
    with terminable():
        serve(current, port, browser, as_json)
    rows = current.state()["rows"]
    seen = sum(row["reviewed"] for row in rows)
    left_out = sum(row["excluded"] for row in rows)
    path = current.listing.path
    if as_json:
        counts = {"pairs": len(rows), "reviewed": seen, "excluded": left_out}
        print(json.dumps({**counts, "csv": str(path)}))
    else:
        print(f"{seen} of {len(rows)} pairs reviewed, {left_out} left out: {path}")
