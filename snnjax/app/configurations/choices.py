"""Options whose values are the names in a table, such as the methods or the neurons."""

from __future__ import annotations

from collections.abc import Iterable

from cyclopts import Parameter

__all__ = ["one_of"]


def one_of(names: Iterable[str]) -> Parameter:
    """Restrict an option on the command line to `names`, which `--help` then lists.

    It stands in an annotation: `Annotated[str, one_of(NETWORKS)]`. Annotations are evaluated for
    every command line, so a name that was added to the table since is accepted too.
    """
    return Parameter(choices=tuple(names))
