"""For the site: tables that the package itself gives, where a page has a line such as `<!-- table: settings -->`."""

import html
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import cagan
import click
from cagan import _cagan
from cagan.cli import cli

PLACE = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """A cell's text, in which a line would end the cell."""
    return text.replace("|", r"\|")


def _text(text: str) -> str:
    """Plain text as a cell."""
    return _escaped(html.escape(text, quote=False))


def _code(value: Any) -> str:
    """A value as Python writes it."""
    return f"`{tuple(value)!r}`" if isinstance(value, list | tuple) else f"`{value!r}`"


def _takes(setting: dict[str, Any]) -> str:
    """The values that a setting takes."""
    kinds = {
        "count": "whole number",
        "number": "number",
        "flag": "`True` or `False`",
        "text": "text",
        "moment": "whole number of images, or a share of the length such as `'50%'`",
        "size": "(height, width), or one number for a square",
        "choice": ", ".join(f"`{name!r}`" for name in setting["choices"]),
    }
    bounds = f", {setting['bounds']}" if setting["bounds"] else ""
    return kinds[setting["kind"]] + bounds + (", or `None`" if setting["optional"] else "")


def settings() -> str:
    """Every setting by group: its help, the values that it takes, and each preset's value with its source."""
    presets = [cagan.Config(name) for name in cagan.presets() if name != "smoke"]
    values = [preset.to_dict() for preset in presets]
    sources = [preset.sources() for preset in presets]
    groups: dict[str, list[list[str]]] = {}
    for setting in _cagan.settings():
        name = setting["name"]
        mark = " ↻" if setting["resumable"] else ""
        row = [f"`{name}`{mark}<br>{_text(setting['help'])}<br>*{_takes(setting)}*"]
        for preset, value, source in zip(presets, values, sources):
            used = preset.architecture in setting["used_by"]
            row.append(f"{_code(value[name])}<br>{_text(source[name])}" if used else "not used")
        groups.setdefault(setting["group"], []).append(row)
    head = ["setting", *(preset.preset for preset in presets)]
    return "\n\n".join(f"## {group}\n\n{_table(head, rows)}" for group, rows in groups.items())


def smoke() -> str:
    """The settings in which the preset for tests differs from `vasily`."""
    mine, base = (cagan.Config(name).to_dict() for name in ("smoke", "vasily"))
    rows = [[f"`{name}`", _code(value)] for name, value in mine.items() if value != base[name] and name != "preset"]
    return _table(["setting", "smoke"], rows)


def reasons() -> str:
    """The reasons for which a pair is left out."""
    return _table(
        ["reason", "meaning"], [[f"`{word}`", _text(text)] for word, text in _cagan.curation_reasons().items()]
    )


def thresholds() -> str:
    """The thresholds of curation."""
    rows = [[f"`{o['name']}`", _code(o["default"]), _text(o["help"])] for o in _cagan.curation_options()]
    return _table(["threshold", "default", "meaning"], rows)


def commands() -> str:
    """Every command with its arguments and options; the settings of `train` have a table of their own."""
    known = {setting["name"] for setting in _cagan.settings()}
    parts = []
    parent = click.Context(cli, info_name="cagan", **cli.context_settings)
    for name, command in cli.commands.items():
        # click keeps a command's first help option, whose names come from the parent.
        context = click.Context(command, info_name=name, parent=parent)
        usage = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
        parts.append(f"## cagan {name}\n\n`{' '.join(['cagan', name, *usage])}`")
        parts.append(_text(inspect.cleandoc(command.help or "")))
        options = [option for option in command.params if isinstance(option, click.Option)]
        takes_settings = known <= {option.name for option in options}
        if takes_settings:
            options = [option for option in options if option.name not in known]
        records = [record for option in options if (record := option.get_help_record(context))]
        if records:
            rows = [[f"`{_escaped(names)}`", _text(text)] for names, text in records]
            parts.append(_table(["option", "meaning"], rows))
        if takes_settings:
            parts.append("Each [setting](../guide/settings.md) is an option too: `batch_size` is `--batch-size N`.")
    return "\n\n".join(parts)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "smoke": smoke,
    "reasons": reasons,
    "thresholds": thresholds,
    "commands": commands,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the tables in their places."""
    return PLACE.sub(lambda place: TABLES[place[1]](), markdown)
