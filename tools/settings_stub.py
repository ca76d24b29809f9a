"""Write the settings of `Config` into the stub, from the table in `src/config/settings.rs`."""

import re
from pathlib import Path
from typing import Any

import cagan

STUB = Path(__file__).parents[1] / "python/cagan/_cagan.pyi"
MARK = "    # The settings, written by tools/settings_stub.py.\n"
PROPERTY = "    @property\n    def {name}(self) -> {type}: ...\n"


def type_of(setting: dict[str, Any]) -> str:
    """The Python type of a setting."""
    kind = {"count": "int", "number": "float", "flag": "bool", "size": "tuple[int, int]"}.get(setting["kind"], "str")
    return f"{kind} | None" if setting["optional"] else kind


def stub() -> str:
    """The stub with the settings of the built module."""
    block = "".join(PROPERTY.format(name=row["name"], type=type_of(row)) for row in cagan._cagan.settings())
    before, mark, after = STUB.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{STUB} has no line {MARK!r}"
    return before + mark + block + re.sub(r"\A(    @property\n    def \w+\(self\) -> .*: \.\.\.\n)*", "", after)


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
