"""What the command line adds to click: grouped help in two lengths, choices that suggest, sizes and moments."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from . import hub

__all__ = [
    "Choice",
    "Commands",
    "Grouped",
    "GroupedOption",
    "Model",
    "Moment",
    "Shard",
    "Size",
    "WhichSnapshot",
    "nearest",
]


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns words on the known name that is nearest, or no words.

    Example:
        >>> from cagan.commands import nearest
        >>> nearest("kisakae", ["kisekae", "paper"])
        ', did you mean kisekae?'
    """
    found = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f", did you mean {found[0]}?" if found else ""


class Choice(click.Choice):  # type: ignore[type-arg]  # generic in newer click alone
    """A choice among names that suggests the nearest one."""

    def __init__(self, names: Sequence[str]) -> None:  # noqa: D107  # the class says it
        super().__init__(list(names))
        self._names = list(names)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the name."""
        if isinstance(value, str) and value not in self._names:
            self.fail(f"expected {', '.join(self._names)}, got {value}{nearest(value, self._names)}", param, ctx)
        return super().convert(value, param, ctx)


class Model(click.Path):
    """A model: a run's folder, a snapshot, "dolls", or `hf://OWNER/MODEL` of the Hub, which is downloaded."""

    def __init__(self) -> None:  # noqa: D107  # the class says it
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path, of a model of the Hub that in its cache."""
        if not isinstance(value, str) or not value.startswith(hub.SCHEME):
            return super().convert(value, param, ctx)
        try:
            repository, revision = hub.parsed(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return hub.downloaded(repository, revision)


class Size(click.ParamType):  # type: ignore[type-arg]  # as above
    """A size as `128x96` (height x width), or as one number for a square."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns height and width."""
        if not isinstance(value, str):
            return value
        try:
            sides = [int(side) for side in value.lower().split("x")]
        except ValueError:
            sides = []
        if len(sides) not in (1, 2):
            self.fail(f"expected a size as 128x96 (height x width) or 64, got {value}", param, ctx)
        return sides[0], sides[-1]


class Moment(click.ParamType):  # type: ignore[type-arg]  # as above
    """A number of images, or a share of the run's length as `50%`."""

    name = "IMAGES|SHARE%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the number or the text of the share."""
        if not isinstance(value, str) or value.endswith("%"):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"expected a number of images, or a share such as 50%, got {value}", param, ctx)


class Shard(click.ParamType):  # type: ignore[type-arg]  # as above
    """A worker's number and the number of workers, as `3/64`."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns both."""
        if not isinstance(value, str):
            return value
        index, slash, of = value.partition("/")
        if not (slash and index.isdecimal() and of.isdecimal() and int(index) < int(of)):
            self.fail(f"expected a worker of several, as 0/4 to 3/4, got {value}", param, ctx)
        return int(index), int(of)


class WhichSnapshot(click.ParamType):  # type: ignore[type-arg]  # as above
    """The snapshot of a run: best, newest or a step."""

    name = "best|newest|STEP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the word or the step."""
        if value in ("best", "newest") or not isinstance(value, str):
            return value
        if not value.isdecimal():
            self.fail(f"expected best, newest or a step, got {value}{nearest(value, ('best', 'newest'))}", param, ctx)
        return int(value)


class GroupedOption(click.Option):
    """An option with a heading in the help, which the short help may leave out."""

    def __init__(self, *names: str, group: str, usual: bool, **options: Any) -> None:  # noqa: D107  # as above
        super().__init__(names, **options)
        self.group, self.usual = group, usual


class Grouped(click.Command):
    """A command with many options: `--help` lists the usual ones, `--help-all` all under their headings."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: D107  # the class says it
        super().__init__(*arguments, **options)
        self._whole = False
        self.params.append(
            click.Option(
                ["--help-all"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                help="Show all options and exit.",
                callback=self._show_all,
            )
        )

    def _show_all(self, ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            click.echo(self.whole_help(ctx), color=ctx.color)
            ctx.exit()

    def whole_help(self, ctx: click.Context) -> str:
        """Returns the help with all options."""
        self._whole = True
        try:
            return self.get_help(ctx)
        finally:
            self._whole = False

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, those without a heading first."""
        groups: dict[str, list[tuple[str, str]]] = {}
        left_out = 0
        for option in self.get_params(ctx):
            if not isinstance(option, click.Option) or (record := option.get_help_record(ctx)) is None:
                continue
            group = getattr(option, "group", "Options")
            if not self._whole:
                if not getattr(option, "usual", True):
                    left_out += 1
                    continue
                group = "Options"
            groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)
        if left_out:
            formatter.write_paragraph()
            formatter.write_text(f"{left_out} more options: {ctx.command_path} --help-all")


class Commands(click.Group):
    """Commands, the nearest of which is suggested for an unknown one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Finds the command."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            raise click.UsageError(f"No such command '{args[0]}'{nearest(args[0], known)}", ctx)
        return super().resolve_command(ctx, args)
