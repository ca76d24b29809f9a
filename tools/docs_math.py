"""For the site: turns the notebooks' equations into MathML, which browsers show without a script."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

# Parts without equations, or an equation of either kind.
_PARTS = re.compile(r"<(pre|code|script|style)\b.*?</\1>|\$\$(.+?)\$\$|\$([^$\s](?:[^$\n]*[^$\s])?)\$", re.DOTALL)


def _shown(part: re.Match[str]) -> str:
    if part[1]:
        return part[0]
    text = part[2] or part[3]
    return str(convert(html.unescape(text.strip()), display="block" if part[2] else "inline"))


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Converts the equations of a page before the theme surrounds it."""
    return _PARTS.sub(_shown, content) if page.file.src_uri.endswith(".ipynb") else content
