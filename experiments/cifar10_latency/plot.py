"""Write the table and draw the figure of ResNet-20 in `results/comparison.json`."""

from __future__ import annotations

from pathlib import Path

import cyclopts
from matplotlib.figure import Figure

from snnjax.app import comparison
from snnjax.app.comparison import Group

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8, 16, 32)
LOWEST = 0.0


def main(*, output: Path = HERE) -> None:
    """Write `results/resnet20.md` and draw `figures/resnet20.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    groups = comparison.read_groups(output / "results" / "comparison.json")["resnet20"]
    table = comparison.accuracy_table(groups.values(), STEPS)
    comparison.write_results(
        output, {"resnet20": table}, {"resnet20": accuracy_figure("resnet20", groups)}
    )


def accuracy_figure(network: str, groups: dict[tuple[str, str], Group]) -> Figure:
    """Plot accuracy against T for every method with a constant input."""
    data = next(iter(groups.values())).rows[0]["dataset"]
    title = f"{network} on {data['name']}" + ("" if data["exact_pixels"] else " (JPEG copy)")
    return comparison.accuracy_figure(
        groups.values(), title=f"{title}, constant input", lowest=LOWEST
    )


if __name__ == "__main__":
    cyclopts.run(main)
