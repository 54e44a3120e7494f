"""Annotations of options: names in a table, such as the methods or the neurons, and ranges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar, get_type_hints

from cyclopts import Parameter

from snnjax.runtime.ranges import Range, ranges_of

__all__ = ["one_of", "show_ranges", "within"]

Config = TypeVar("Config", bound=type)


def one_of(names: Iterable[str]) -> Parameter:
    """Restrict an option on the command line to `names`, which `--help` then lists.

    It stands in an annotation: `Annotated[str, one_of(NETWORKS)]`. Annotations are evaluated for
    every command line, so a name that was added to the table since is accepted too.
    """
    return Parameter(choices=tuple(names))


def within(allowed: Range) -> Parameter:
    """Show the range of a number in `--help`; the stage that takes the number checks it."""
    return Parameter(metavar=str(allowed))


def show_ranges(config: Config) -> Config:
    """Show the ranges of all numbers of a configuration in `--help`; a decorator of its class."""
    hints = get_type_hints(config, include_extras=True)
    for name, allowed in ranges_of(config).items():
        shown = Annotated[hints[name], within(allowed)]  # type: ignore[valid-type]
        for kept in (config.__annotations__, config.__init__.__annotations__):  # type: ignore[misc]
            kept[name] = shown
    return config
