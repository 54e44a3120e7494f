"""Write the tables and draw the figures of `results/comparison.json`."""

from __future__ import annotations

from pathlib import Path

import cyclopts
from matplotlib.figure import Figure

from snnjax.app import comparison
from snnjax.app.comparison import Group, Published

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
LOWEST = 0.0


def published_rows(vgg16: str, resnet: str) -> tuple[Published, ...]:
    """Rows of table 3 of He et al. 2024, each with the network of ours to compare it with."""
    other = [] if vgg16 == "vgg16" else ["a quarter of the features here"]
    half = "; ".join(["v(0) = v_p / 2 and constant input here", *other])
    deep = "the paper does not say which ResNet-20"
    return (
        Published("DataNorm", "VGG16", 91.76, 0.40, None, (vgg16, "data_norm"), *other),
        Published("RNL", "VGG16", 92.86, -0.04, 256, (vgg16, "rnl"), *other),
        Published("RNL", "ResNet", 93.45, -0.39, 256, (resnet, "rnl"), "a PreAct-ResNet-18 there"),
        Published("thReLU", "VGG16", 92.29, 0.05, 16, (vgg16, "th_relu"), *other),
        Published("thReLU", "ResNet", 93.56, 0.05, 128, (resnet, "th_relu"), deep),
        Published("He et al.", "VGG16", 93.86, 0.03, 16, (vgg16, "sth_leaky_relu"), *other),
        Published("He et al.", "VGG16", 93.86, 0.03, 16, (vgg16, "sth_half"), half),
        Published("He et al.", "ResNet", 94.39, 0.07, 128, (resnet, "sth_leaky_relu"), deep),
    )


def main(*, output: Path = HERE) -> None:
    """Write `results/*.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    groups = comparison.read_groups(output / "results" / "comparison.json")
    vgg16 = "vgg16" if "vgg16" in groups else "vgg16_quarter"
    resnet = "resnet20_wide" if "resnet20_wide" in groups else "resnet20"
    tables = {"paper": comparison.published_table(published_rows(vgg16, resnet), groups)}
    tables |= {
        name: comparison.accuracy_table(found.values(), STEPS) for name, found in groups.items()
    }
    pictures = {name: accuracy_figure(name, found) for name, found in groups.items()}
    comparison.write_results(output, tables, pictures)


def accuracy_figure(network: str, groups: dict[tuple[str, str], Group]) -> Figure:
    """Plot accuracy against T for every method with a constant input."""
    data = next(iter(groups.values())).rows[0]["dataset"]
    title = f"{network} on {data['name']}" + ("" if data["exact_pixels"] else " (JPEG copy)")
    return comparison.accuracy_figure(
        groups.values(), title=f"{title}, constant input", lowest=LOWEST
    )


if __name__ == "__main__":
    cyclopts.run(main)
