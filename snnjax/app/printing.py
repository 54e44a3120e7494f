"""Tables for people: on a terminal, as markdown, and figures with their deviation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

__all__ = ["markdown_table", "mean_and_deviation", "print_rich_table", "print_table"]

COLUMNS_WITHOUT_TERMINAL = 160
"""Width of a table in characters where standard output is a file or a pipe."""


def mean_and_deviation(values: Sequence[float], sign: str = "") -> str:
    """Text of the mean and standard deviation of shares in [0, 1], as "98.20 ± 0.13".

    Numbers are in %. With a `sign` of "+" they are differences, in points. One value has no
    deviation.

    Raises:
      StatisticsError: if there are no values.
    """
    text = f"{100 * statistics.mean(values):{sign}.2f}"
    return f"{text} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else text


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as markdown, a line for each row."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of right-aligned cells to standard output."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    print_rich_table(table)


def print_rich_table(table: Table) -> None:
    """Print a table to standard output, in a width that needs no terminal."""
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=COLUMNS_WITHOUT_TERMINAL)
    console.print(table)
