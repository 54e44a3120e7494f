"""The README's examples run as printed, and the tables of the pages equal those of the results."""

import json
import re
import runpy

import jax
import numpy as np
import pytest
from paths import EXPERIMENTS, ROOT

import snnjax
from snnjax.app import comparison

README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs" / "results.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.computes
@pytest.mark.slow
def test_the_examples_run_as_printed(monkeypatch, capsys):
    pytest.importorskip("mlxtend")
    monkeypatch.chdir(ROOT)
    first, second, third, fourth = EXAMPLES
    assert len([line for line in first.splitlines() if line.strip()]) <= 20
    assert len([line for line in second.splitlines() if line.strip()]) <= 10
    names = {}
    exec(first, names)
    spiking, images = names["spiking"], names["images"]
    curve = snnjax.accuracy(names["result"].values, names["labels"])
    assert curve.shape == (16,) and curve[15] > 0.98
    settled = snnjax.simulate(spiking, images[:100], num_steps=24).values[-1]
    wanted = jax.jit(spiking.quantised)(spiking.params, images[:100])
    np.testing.assert_allclose(settled, wanted, atol=1e-4)
    assert "Conv_0" in capsys.readouterr().out
    exec(second, names)
    curve = snnjax.accuracy(names["result"].values, names["labels"])
    assert curve.shape == (8,)
    assert curve[7] > 0.98
    capsys.readouterr()
    exec(third, names)
    printed = np.fromstring(re.sub(r"[\[\]]", " ", capsys.readouterr().out), sep=" ")
    assert printed.shape == (64,)
    at_one = np.asarray(names["curve"](1.0))
    np.testing.assert_allclose(printed.reshape(8, 8)[3], at_one, atol=0.006)
    exec(fourth, names)
    logits = jax.jit(names["Mine"]().apply)(names["mine"], images[:100])
    error = np.abs(np.asarray(names["values"]) - np.asarray(logits)).mean((1, 2))
    assert error[31] < error[3] / 4


def table(page, mark):
    """The table of a page between `<!-- mark -->` and `<!-- /mark -->`."""
    return page.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0].strip()


def committed(file):
    return (EXPERIMENTS / file).read_text().strip()


@pytest.mark.parametrize(
    ("mark", "folder", "network"),
    [
        ("summary", "method_comparison", "net2"),
        ("summary-resnet20", "deep_networks", "resnet20"),
    ],
)
def test_the_tables_of_the_readme_are_those_of_the_results(mark, folder, network):
    assert table(README, mark) == committed(f"{folder}/results/summary.md")
    plot = runpy.run_path(str(EXPERIMENTS / folder / "plot.py"), run_name="read")
    groups = comparison.read_groups(EXPERIMENTS / folder / "results" / "comparison.json")[network]
    made = comparison.summary_table(groups, plot["SUMMARY"], plot["SUMMARY_STEPS"])
    assert table(README, mark) == made.strip()


@pytest.mark.parametrize(
    ("mark", "file"),
    [
        ("table2", "mnist_latency/results/table2.md"),
        ("paper", "method_comparison/results/paper.md"),
        ("table3", "deep_networks/results/vgg16.md"),
        ("table3-resnet20", "deep_networks/results/resnet20.md"),
        ("table3-levels8", "deep_networks/results/resnet20-levels8.md"),
        ("sources", "deep_networks/results/sources.md"),
        ("paper3", "deep_networks/results/paper.md"),
        ("resnet20", "cifar10_latency/results/resnet20.md"),
        ("few-net2", "few_steps/results/net2.md"),
        ("few-resnet20", "few_steps/results/resnet20.md"),
        ("few-resnet20-60", "few_steps/results/resnet20_60_epochs.md"),
        ("energy-net2", "energy/results/net2.md"),
        ("energy-resnet20", "energy/results/resnet20.md"),
        ("whole-net2", "integer_weights/results/net2.md"),
        ("whole-resnet20", "integer_weights/results/resnet20.md"),
        ("vit", "transformers/results/vit.md"),
        ("cct", "transformers/results/cct.md"),
        ("lenet", "transformers/results/lenet.md"),
        ("convnext", "transformers/results/convnext.md"),
        ("mobilenet", "transformers/results/mobilenet.md"),
        ("figure7", "activation_range/results/activation_range.md"),
    ],
)
def test_the_tables_are_those_of_the_results(mark, file):
    assert table(RESULTS, mark) == committed(file)


def test_the_speed_of_functions_is_that_of_the_results():
    page = (ROOT / "docs" / "performance.md").read_text()
    assert table(page, "speed") == committed("transformers/results/speed.md")
    record = json.loads(committed("transformers/results/speed.json"))
    small, large = (row["function_beside_network"] for row in record["engines"])
    assert f"takes {small:.2f} (B = 16) and {large:.2f} times (B = 128)" in page


def test_the_everyday_models_are_those_of_the_results():
    rows = json.loads(committed("everyday_models/results/everyday_models.json"))["rows"]
    assert all(row["settled"] for row in rows)
    largest = max(row["difference"] for row in rows)
    said = " ".join(RESULTS.split("### Everyday models")[1].split())
    assert f"All {len(rows)} settle" in said and f"difference of an output is {largest:.1e}" in said


def test_the_links_of_the_readme_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_citation_is_of_this_version():
    assert f"\nversion: {snnjax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {{{snnjax.__version__}}}" in README
