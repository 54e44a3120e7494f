"""Write the table and draw the figure of ResNet-20 in `results/comparison.json`."""

from __future__ import annotations

from pathlib import Path

import cyclopts

from snnjax.app import comparison

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8, 16, 32)


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
        output,
        {"resnet20": table},
        {"resnet20": comparison.network_figure("resnet20", groups.values())},
    )


if __name__ == "__main__":
    cyclopts.run(main)
