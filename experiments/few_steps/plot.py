"""Write the tables and draw the figures of `results/few_steps.json`."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import cyclopts
from matplotlib.figure import Figure

from snnjax.analysis import plots
from snnjax.app import comparison, printing
from snnjax.app.printing import figure_title

HERE = Path(__file__).parent
Rows = list[dict[str, Any]]
FORMS = ("before", "fine_tuned", "control")


def at(rows: Rows, form: str, steps: int, key: str = "accuracy") -> list[float]:
    """Values of each seed at T = `steps`; rows that end before it have none."""
    return [row[form][key][steps - 1] for row in rows if row["num_steps"] >= steps]


def table(rows: Rows) -> str:
    """Markdown with a line for each T, means and deviations of the seeds, without a penalty."""
    last = [row for row in rows if row["answers"] == "last"]
    every = [row for row in rows if row["answers"] == "all"]
    head = ["T", "seeds", "ANN %", "before %", "fine-tuned for T %", "for all answers %"]
    head += ["control %", "operations before", "fine-tuned for T", "control"]
    lines = []
    for steps in sorted({row["num_steps"] for row in last}):
        own = [row for row in last if row["num_steps"] == steps]
        used = [mean(at(own, form, steps, "synaptic_operations")) for form in FORMS]
        lines.append([
            str(steps), str(len(own)),
            printing.mean_and_deviation([row["ann"]["trained"] for row in own]),
            *(printing.mean_and_deviation(at(own, form, steps)) for form in FORMS[:2]),
            printing.mean_and_deviation(found) if (found := at(every, FORMS[1], steps)) else "",
            printing.mean_and_deviation(at(own, FORMS[2], steps)),
            *(f"{count / 1000:,.0f} k" for count in used),
        ])  # fmt: skip
    return printing.markdown_table(head, lines)


def figure(rows: Rows) -> Figure:
    """Plot accuracy against T: means of the seeds."""
    last = [row for row in rows if row["answers"] == "last"]
    steps = sorted({row["num_steps"] for row in last})
    labels = ("before", "fine-tuned for each T", "control")
    curves = {
        label: [
            100 * mean(at([row for row in last if row["num_steps"] == t], form, t)) for t in steps
        ]
        for label, form in zip(labels, FORMS, strict=True)
    }
    ann = {"ANN": 100 * mean(row["ann"]["trained"] for row in last)}
    lowest = min(min(curve) for curve in curves.values()) - 1
    return plots.accuracy_against_time(
        curves, ann=ann, title=figure_title(rows[0]),
        steps=dict.fromkeys(curves, steps), lowest=lowest,
    )  # fmt: skip


def main(*, output: Path = HERE) -> None:
    """Write `results/<network>.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    rows = comparison.read_rows(output / "results" / "few_steps.json")
    rows = [row for row in rows if not row["spike_penalty"]]
    groups = {
        name: [row for row in rows if row["network"] == name]
        for name in dict.fromkeys(row["network"] for row in rows)
    }
    comparison.write_results(
        output,
        {name: table(found) for name, found in groups.items()},
        {
            name: figure(found)
            for name, found in groups.items()
            if len({row["num_steps"] for row in found}) > 1
        },
    )


if __name__ == "__main__":
    cyclopts.run(main)
