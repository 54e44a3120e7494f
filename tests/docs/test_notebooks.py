"""The notebooks of the documentation run, and what their text claims is so.

Their cells are run as plain Python, which needs no Jupyter; `make docs` runs them in a kernel.
"""

import ast
import re

import numpy as np
import pytest
from paths import ROOT

FOLDER = ROOT / "docs" / "notebooks"
CELLS = re.compile(r"```\{code-cell\} python\n(.*?)```", re.DOTALL)


def shown(value):
    """What a notebook shows of a value: a picture's bytes, a table, or text."""
    if hasattr(value, "_repr_png_"):
        return value._repr_png_()
    if hasattr(value, "_repr_mimebundle_"):
        return value._repr_mimebundle_([], [])["text/html"]
    return value if value is None else repr(value)


def run(name, monkeypatch):
    """The names that a notebook leaves behind, and what each of its cells shows."""
    pytest.importorskip("mlxtend")
    monkeypatch.chdir(FOLDER)
    names, outputs = {}, []
    for place, cell in enumerate(CELLS.findall((FOLDER / f"{name}.md").read_text())):
        tree, where = ast.parse(cell), f"{name}, cell {place}"
        end = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), names)
        last = end and eval(compile(ast.Expression(end.value), where, "eval"), names)
        outputs.append(shown(last))
    return names, outputs


@pytest.mark.computes
@pytest.mark.slow
def test_first_steps(monkeypatch):
    names, outputs = run("first_steps", monkeypatch)
    assert names["ann"] > 0.93
    assert names["accuracy"][-1] > names["ann"] - 0.02
    up, down = (names["traces"][f"current {current}"][1].sum() for current in ("+0.3", "-0.9"))
    assert (up, down) == (7, -5)  # (0.5 + 24 * 0.3) / 1, and (0.5 - 24 * 0.9) / 4
    assert outputs[-1].startswith(b"\x89PNG")


@pytest.mark.computes
@pytest.mark.slow
def test_your_own_model(monkeypatch, capsys):
    names, outputs = run("your_own_model", monkeypatch)
    printed = capsys.readouterr().out
    assert "max_pool" in printed
    assert "use average pooling" in printed
    assert names["ann"] > 0.93
    assert names["by_percentile"][3] > names["by_largest"][3]  # the better scale is better
    assert names["by_percentile"][31] > names["ann"] - 0.02
    assert max(layer.residue for layer in names["report"].layers.values()) < 1e-5
    few = [np.mean(np.asarray(x) < 0.1) for x in names["activations"].values()]
    assert min(few) > 0.5
    assert "99th percentile" in outputs[-1]


@pytest.mark.computes
@pytest.mark.slow
def test_spike_a_transformer(monkeypatch, capsys):
    names, _ = run("spike_a_transformer", monkeypatch)
    assert "encoder/block2/attention/query  1,024" in capsys.readouterr().out
    assert names["ann"] > 0.95
    assert names["difference"] < 1e-5
    assert names["accuracy"][15] > names["accuracy"][1] + 0.2
    assert names["settled"][2] == names["accuracy"][-1] == pytest.approx(names["rounded_accuracy"])
    assert names["spikes"][0] < names["spikes"][2]
    assert names["after"] > names["before"] + 0.05
    assert names["energy"] > names["ann_energy"]


@pytest.mark.computes
@pytest.mark.slow
def test_sweeps(monkeypatch, capsys):
    names, outputs = run("sweeps", monkeypatch)
    assert capsys.readouterr().out == "compiling\n"
    by_threshold = dict(zip(names["thresholds"].tolist(), names["by_threshold"], strict=True))
    assert by_threshold[1.0][3] > max(by_threshold[2.0][3], by_threshold[0.25][3])
    assert names["grid"].shape == (4, 3)
    assert names["grid"][2, 0] > names["grid"][0, 0]  # half a threshold rounds to the nearest
    assert outputs[-1].startswith(b"\x89PNG")


@pytest.mark.computes
@pytest.mark.slow
def test_stdp_readout(monkeypatch):
    names, outputs = run("stdp_readout", monkeypatch)
    assert names["accuracy"][-1] > 0.95
    weights = np.asarray(names["learnt"]["weights"])
    np.testing.assert_allclose(weights.sum(0), 1.0, rtol=1e-4)
    assert np.median(weights.max(0)) > 0.8 > np.asarray(names["start"]["weights"]).max()
    assert "after STDP" in outputs[-1]


@pytest.mark.computes
@pytest.mark.slow
def test_training_through_time(monkeypatch):
    names, outputs = run("training_through_time", monkeypatch)
    assert names["after"][0] > names["before"][0] + 0.3
    assert names["after"][1] > names["before"][1]
    assert names["after"][7] < names["before"][7]
    assert np.mean(names["losses"][-20:]) < np.mean(names["losses"][:5])
    assert outputs[-1].startswith(b"\x89PNG")


def test_no_outputs_are_committed_and_the_front_page_lists_every_notebook():
    index = (FOLDER.parent / "index.md").read_text()
    files = list(FOLDER.iterdir())
    assert {path.suffix for path in files} == {".md"}
    for path in files:
        assert f"(notebooks/{path.name})" in index
        assert f"\nnotebooks/{path.stem}\n" in index
