"""Write the settings of `Config` into the stub, and their types as keywords, from the table of the core."""

import re
from pathlib import Path
from typing import Any

import cagan

PACKAGE = Path(__file__).parents[1] / "python/cagan"
STUB, KEYWORDS = PACKAGE / "_cagan.pyi", PACKAGE / "settings.py"
MARK = "    # The settings, written by tools/settings_stub.py.\n"
PROPERTY = "    @property\n    def {name}(self) -> {type}: ...\n"

HEAD = '''"""The types of presets and settings, for type checkers and editors; written by tools/settings_stub.py."""

from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    import torch

__all__ = ["Preset", "Settings", "Which"]

Preset: TypeAlias = {presets}
# The snapshot of a run: the best, the newest, or that of a step.
Which: TypeAlias = Literal["best", "newest"] | int


class Settings(TypedDict, total=False):
    """Every setting of `cagan.Config` as a keyword."""

'''


def literal(names: list[str]) -> str:
    """A choice among names."""
    return f"Literal[{', '.join(map(repr, names))}]".replace("'", '"')


def type_of(setting: dict[str, Any]) -> str:
    """The Python type of a setting."""
    kinds = {"count": "int", "number": "float", "flag": "bool", "size": "tuple[int, int]", "moment": "int | str"}
    kind = literal(setting["choices"]) if setting["kind"] == "choice" else kinds.get(setting["kind"], "str")
    return f"{kind} | None" if setting["optional"] else kind


def stub() -> str:
    """The stub with the settings of the built module."""
    block = "".join(PROPERTY.format(name=row["name"], type=type_of(row)) for row in cagan._cagan.settings())
    before, mark, after = STUB.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{STUB} has no line {MARK!r}"
    return before + mark + block + re.sub(r"\A(    @property\n    def \w+\(self\) -> .*: \.\.\.\n)*", "", after)


def keywords() -> str:
    """The module with the settings as keywords: they take more than a config gives back."""
    wider = {
        "device": '"str | torch.device"',
        "init_from": "str | PathLike[str]",
        "image_size": "int | tuple[int, int]",
    }
    rows = [f"    {row['name']}: {wider.get(row['name'], type_of(row))}\n" for row in cagan._cagan.settings()]
    return HEAD.format(presets=literal(cagan.presets())) + "".join(rows)


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    KEYWORDS.write_text(keywords(), encoding="utf-8")
