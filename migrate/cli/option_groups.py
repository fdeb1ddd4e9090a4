"""Options of a command under headings in its `--help`; an option gets its heading where the command takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: The attribute of a command's function: name of an option -> its heading.
_HEADINGS = "option_headings"


def in_group(heading: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """Several click options as one decorator, which stand under a heading in the help of a `GroupedCommand`."""

    def decorate(function: F) -> F:
        before = len(getattr(function, "__click_params__", ()))
        for option in reversed(options):
            function = option(function)
        headings = function.__dict__.setdefault(_HEADINGS, {})
        for parameter in function.__dict__["__click_params__"][before:]:
            headings[parameter.name] = heading
        return function

    return decorate


class GroupedCommand(click.Command):
    """A command whose help shows its options under the headings of `in_group`, all others under the last one."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings: dict[str | None, str] = getattr(self.callback, _HEADINGS, {})
        rows: dict[str, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            heading = headings.get(parameter.name)
            if record is not None and isinstance(parameter, click.Option):
                (others if heading is None else rows.setdefault(heading, [])).append(record)
        for heading, records in {**rows, "Other options": others}.items():
            with formatter.section(heading):
                formatter.write_dl(records)
