"""Tests of a new kind of layer, defined in this file only, in every stage of the package.

It is trained, converted, simulated by both engines, counted, reported, saved and loaded; NIR graphs
cannot hold it, and their error says so.
"""

from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import random_images, random_variables

from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.layer_tables import describe_layers, layer_table
from snnjax.analysis.synapses import find_synapses
from snnjax.analysis.synaptic_operations import count_operations, make_observer
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint, nir_export
from snnjax.io.datasets import Split
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.networks.ann import ANN
from snnjax.networks.layers import KINDS, Layer, Weights
from snnjax.snn.encoding import CONSTANT
from snnjax.snn.engine import with_leaks
from snnjax.snn.rates import limit
from snnjax.snn.simulation import simulate
from snnjax.training import fitting
from snnjax.training.training_config import TrainingConfig

SHAPE = (4, 4, 1)


@dataclass(frozen=True)
class LowRank(Weights):
    """y = x U V + b on `[B, N]`, a Dense whose kernel is a product of two thin matrices."""

    kind: ClassVar[str] = "low_rank"
    absorbs: ClassVar[bool] = True

    features: int
    rank: int

    def parameter_names(self):
        return frozenset({"left", "right", "bias"})

    def forward(self, x, name, mode):
        return _LowRank(self, name=name)(x).astype(mode.dtype)

    def linear(self, params, x, elapsed=1.0):
        product = jnp.dot(x, params["left"], precision=jax.lax.Precision.HIGHEST)
        return jnp.dot(product, params["right"], precision=jax.lax.Precision.HIGHEST)

    def incidence(self, params, x):
        return x @ ((params["left"] @ params["right"]) != 0).astype(x.dtype)

    def rescale(self, params, scale_in, scale_out):
        inputs = params["left"].shape[0]
        each = jnp.tile(scale_in, inputs // len(scale_in))[:, None] if scale_in.ndim else scale_in
        return {
            "left": params["left"] * each,
            "right": params["right"] / scale_out,
            "bias": params["bias"] / scale_out,
        }

    def scale_outputs(self, params, slope, shift):
        right, bias = params["right"] * slope, params["bias"] * slope + shift
        return {**params, "right": right, "bias": bias}


class _LowRank(nn.Module):
    spec: LowRank

    @nn.compact
    def __call__(self, x):
        start, spec = nn.initializers.lecun_normal(), self.spec
        params = {
            "left": self.param("left", start, (x.shape[-1], spec.rank)),
            "right": self.param("right", start, (spec.rank, spec.features)),
            "bias": self.param("bias", nn.initializers.zeros, (spec.features,)),
        }
        return spec.current(params, x)


ACTIVE = arch.Activation(0.25, 1.0, "channel")
NETWORK = arch.Network(
    "low_rank",
    (
        arch.Flatten(), LowRank(8, 3), arch.BatchNorm(), ACTIVE,
        arch.Residual((LowRank(8, 2), ACTIVE)), ACTIVE, LowRank(3, 2),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    images = (255 * random_images(64, SHAPE)).astype(np.uint8)
    split = Split(images, images.mean((1, 2, 3)).argsort().argsort() * 3 // 64)
    module = ANN(NETWORK.layers)
    start = random_variables(NETWORK, SHAPE)
    config = TrainingConfig(epochs=2, batch_size=32)
    return start, fitting.fit(module.apply, start, split, split, config, progress=False).variables


@pytest.fixture(scope="module")
def params(trained):
    return convert(NETWORK, trained[1])


@pytest.mark.slow
def test_it_trains(trained):
    start, variables = trained
    moved = jax.tree.map(
        lambda a, b: float(jnp.abs(a - b).max()), start["params"], variables["params"]
    )
    assert min(moved["01_low_rank"].values()) > 0


def test_it_converts_without_a_change_of_the_logits(trained, params):
    images = random_images(5, SHAPE)
    logits = ANN(NETWORK.layers).apply(trained[1], images)
    np.testing.assert_allclose(limit(NETWORK, params, images), logits, atol=1e-5)


def test_both_engines_send_its_spikes(params):
    images = random_images(5, SHAPE)
    plain, fast = (
        simulate(NETWORK, params, images, num_steps=9, record=True, engine=engine)
        for engine in ("plain", "fast")
    )
    assert float(plain.spikes[-1].min()) > 3
    jax.tree.map(np.testing.assert_array_equal, fast.recording, plain.recording)
    np.testing.assert_allclose(fast.values, plain.values, atol=1e-5)


def test_its_operations_are_counted(params):
    found = find_synapses(NETWORK, params, SHAPE)
    assert found["01_low_rank"].dense == 16 * 8
    np.testing.assert_array_equal(found["06_low_rank"].merged, np.full(8, 3))
    watched = simulate(
        NETWORK, params, random_images(4, SHAPE), num_steps=6,
        record=make_observer(found, CONSTANT),
    )  # fmt: skip
    counts = count_operations(found, watched, CONSTANT)
    sent = float(watched.layer_spikes["05_activation"].mean())
    assert counts["06_low_rank"].accumulates == pytest.approx(3 * sent)


def test_it_is_reported(trained, params):
    rows = {row.path: row for row in describe_layers(NETWORK, trained[1], SHAPE)}
    assert rows["01_low_rank"].kind == "LowRank"
    assert rows["01_low_rank"].parameters == 16 * 3 + 3 * 8 + 8
    assert rows["02_norm"].remark == "folded into 01_low_rank"
    assert layer_table(list(rows.values()), "layers").row_count == len(rows)
    report = measure_conversion_error(NETWORK, params, random_images(4, SHAPE), num_steps=4)
    assert set(report.layers) == set(arch.activations(NETWORK))


def test_it_is_saved_and_loaded(params, tmp_path):
    network = serialisation.read(serialisation.write(NETWORK))
    assert network == NETWORK
    checkpoint.save(tmp_path / "snn", params, kind="snn", metadata={})
    kept = checkpoint.load(tmp_path / "snn", kind="snn").tree
    kept["layers"] = with_leaks(kept["layers"])
    images = random_images(3, SHAPE)
    found, wanted = (simulate(NETWORK, p, images, num_steps=5, record=True) for p in (kept, params))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_nir_graphs_refuse_it_in_one_line(params):
    pytest.importorskip("nir")
    with pytest.raises(ValueError, match=r"01_low_rank.*LowRank") as error:
        nir_export.to_graph(NETWORK, params, SHAPE, coupled=True)
    assert len(str(error.value).splitlines()) == 1


def test_a_layer_without_a_role_is_refused_everywhere():
    @dataclass(frozen=True)
    class Odd(Layer):
        kind: ClassVar[str] = "odd"

    del KINDS["Odd"]
    network = arch.Network("odd", (arch.Flatten(), Odd(), arch.Dense(3)))
    where = "layer 01_odd is a Odd, which is neither Weights nor"
    images = jnp.asarray(random_images(1, SHAPE))
    with pytest.raises(ValueError, match=where):
        ANN(network.layers).init(jax.random.key(0), images)
    variables = {"params": {"02_dense": {"kernel": jnp.ones((16, 3)), "bias": jnp.zeros(3)}}}
    with pytest.raises(ValueError, match=where):
        convert(network, variables)
    layers = {"02_dense": variables["params"]["02_dense"]}
    with pytest.raises(ValueError, match=where):
        network.propagate(layers, images, lambda path, numbers, current: current)


def test_a_layer_that_lacks_a_method_cannot_be_instantiated():
    @dataclass(frozen=True)
    class Partial(Weights):
        def parameter_names(self):
            return frozenset()

    with pytest.raises(TypeError, match=r"abstract.*forward"):
        Partial()
