"""Tests against stored spikes and weights of other simulators."""

import hashlib

import jax.numpy as jnp
import numpy as np
from paths import FIXTURES

from snnjax.conversion.conversion import convert
from snnjax.conversion.threshold_balancing import measure_scales
from snnjax.networks import architecture as arch
from snnjax.snn.neurons import DOUBLE_THRESHOLD, make_params
from snnjax.snn.simulation import simulate
from snnjax.training import stdp

SHA256 = {
    "spikingjelly_counts": "27452c5744f790119fcfbdaecb36f650f0b5ae912ec6afefa9195f2e768f9072",
    "brian2_stdp": "fe367dfa1db84a43204916fbca097d9311446ba9891a5810930cc3315a37a6eb",
}


def fixture(name):
    path = FIXTURES / f"{name}.npz"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[name]
    return np.load(path)


def test_spikes_equal_the_converter_of_spikingjelly():
    """alpha = 0, reset by subtraction, v(0) = 0, constant input, scales by the maximum."""
    stored = fixture("spikingjelly_counts")
    relu = arch.Activation(0.0, np.inf)
    network = arch.Network(
        "peer",
        (
            arch.Conv(4, (3, 3), padding="VALID"), relu, arch.AvgPool((2, 2)),
            arch.Conv(6, (3, 3)), relu, arch.Flatten(), arch.Dense(5),
        ),
    )  # fmt: skip
    params = {
        name: {kind: stored[f"{theirs}_{kind}"] for kind in ("kernel", "bias")}
        for name, theirs in (("00_conv", "conv1"), ("03_conv", "conv2"), ("06_dense", "dense"))
    }
    variables, images = {"params": params}, stored["images"]
    scales = measure_scales(network, variables, stored["calibration"])
    np.testing.assert_allclose(list(scales.values()), stored["scales"], rtol=1e-6)
    steps = len(stored["spikes1"])
    result = simulate(
        network, convert(network, variables, scales=scales, initial=0.0), images,
        num_steps=steps, neuron=DOUBLE_THRESHOLD, record=True,
    )  # fmt: skip
    assert stored["spikes1"].sum() > 1000
    np.testing.assert_array_equal(result.recording["01_activation"], stored["spikes1"])
    np.testing.assert_array_equal(result.recording["04_activation"], stored["spikes2"])
    mean = np.cumsum(stored["logits"], 0) / np.arange(1, steps + 1)[:, None, None]
    np.testing.assert_allclose(result.values, mean, atol=1e-5)


def test_leaky_neurons_equal_brian2():
    stored = fixture("brian2_stdp")
    params = make_params(stored["threshold"], alpha=0.0, leak=stored["leak"], initial=0.0)
    state = DOUBLE_THRESHOLD.init(params, stored["current"].shape[1:])
    assert stored["post"].sum() > 40
    for current, spikes, potential in zip(
        stored["current"], stored["post"], stored["potential"], strict=True
    ):
        state, sent = DOUBLE_THRESHOLD.step(params, state, jnp.asarray(current))
        np.testing.assert_array_equal(sent, spikes)
        np.testing.assert_allclose(state.membrane, potential, atol=1e-6)


def test_stdp_equals_brian2():
    """STDP over all pairs; spikes in the same timestep count once, as a causal pair."""
    stored = fixture("brian2_stdp")
    pre, post = (stored[name].astype(np.float32) for name in ("pre", "post"))
    assert np.einsum("tn,tm->", pre, post) > 20  # some pairs are in the same timestep
    numbers = ("a_plus", "a_minus", "tau_plus", "tau_minus")
    rule = stdp.make_stdp(**{name: stored[name] for name in numbers})
    traces, weights = stdp.init_traces(pre.shape[1:], post.shape[1:]), 0.5
    for before, after, wanted in zip(pre, post, stored["weights"], strict=True):
        traces, changed = stdp.step_traces(rule, traces, jnp.asarray(before), jnp.asarray(after))
        weights = weights + changed
        np.testing.assert_allclose(weights, wanted, atol=1e-5)
