"""The neuron, the layer and the method that the pages add work as printed there."""

import importlib.util
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paths import ROOT

from snnjax.conversion import methods
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.networks.layers import KINDS
from snnjax.snn.neurons import NEURONS, make_params
from snnjax.snn.rates import limit

PAGES = ROOT / "docs" / "contributing"


def page(name):
    return (PAGES / f"{name}.md").read_text()


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """Import the file that a page prints; what it registers is gone afterwards."""
    kinds = dict(KINDS)

    def module(name):
        (text,) = re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)
        path = tmp_path / f"printed_{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        found = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, found)
        spec.loader.exec_module(found)
        return found

    yield module
    KINDS.clear()
    KINDS.update(kinds)


def test_the_neuron_pauses_after_every_spike(printed):
    neuron, params = printed("neuron").REFRACTORY, make_params(1.0, alpha=1.0)
    state, spikes = neuron.init(params, (1,)), []
    for _ in range(6):
        state, spike = neuron.step(params, state, jnp.ones(1))
        spikes.append(float(spike[0]))
    assert spikes == [1, 0, 1, 0, 1, 0]
    assert state.membrane == 0.5 + 6 - 3


def test_the_layer_keeps_the_logits_of_its_ann(printed):
    low_rank, active = printed("layer").LowRank, arch.Activation(0.5, 2.0)
    layers = (arch.Flatten(), low_rank(6, 2), active, low_rank(3, 2))
    network, images = arch.Network("low_rank", layers), jnp.asarray(np.eye(4).reshape(4, 2, 2, 1))
    variables = jax.jit(ANN(layers).init)(jax.random.key(0), images)
    logits = ANN(layers).apply(variables, images)
    assert float(jnp.abs(logits).max()) > 0.01
    params = convert(network, variables)
    np.testing.assert_allclose(limit(network, params, images), logits, atol=1e-6)


def test_the_method_is_one_row_with_known_options():
    (diff,) = re.findall(r"```diff\n(.*?)```", page("method"), re.DOTALL)
    row = "".join(re.findall(r"^\+(?!\+\+)(.*)$", diff, re.MULTILINE))
    (method,) = eval(f"({row})", dict(vars(methods)))
    assert method.name not in methods.METHODS
    assert method.neuron in NEURONS
    known = {key for other in methods.METHODS.values() for key in other.convert}
    assert set(method.convert) <= known


@pytest.mark.parametrize("name", ["neuron", "layer", "method"])
def test_the_lines_around_a_change_are_those_of_the_file(name):
    for diff in re.findall(r"```diff\n(.*?)```", page(name), re.DOTALL):
        (path,) = re.findall(r"^\+\+\+ b/(.*)$", diff, re.MULTILINE)
        lines = (ROOT / path).read_text().splitlines()
        for line in re.findall(r"^ (.*)$", diff, re.MULTILINE):
            assert line in lines, f"{path} has no line {line!r}"


def test_the_pages_name_files_of_tests_that_exist():
    for name in ("neuron", "layer", "method"):
        for path in re.findall(r"`(tests/[\w/]+\.py)`", page(name)):
            assert (ROOT / path).is_file(), path
