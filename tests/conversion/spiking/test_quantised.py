"""The quantised function, and gradients through it."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from spiking_functions import flax_case, images

import snnjax
from snnjax.conversion.spiking.quantised import settled
from snnjax.snn.neurons import EXACT_CHARGE, NeuronParams


@given(
    value=st.floats(-40, 40, width=32), theta=st.floats(0.125, 8, width=32),
    levels=st.sampled_from([1, 2, 3, 7, 8]), steps=st.sampled_from([1, 2, 5]),
)  # fmt: skip
def test_a_settled_neuron_sends_nothing_more(value, theta, levels, steps):
    input_steps = levels * steps
    threshold = theta * steps
    own = NeuronParams(threshold, threshold, None, 0.5, float(levels))
    mean = settled(jnp.float32([value]), own, input_steps)
    count = jnp.round(mean * input_steps / (theta * steps))
    charge = jnp.float32([value]) * input_steps
    assert EXACT_CHARGE.next_count(own, count, charge) == count
    assert abs(count[0]) <= levels


def test_gradients_pass_the_rounding_to_weights_and_thetas():
    case = flax_case("lenet")
    x = images(case.shape)
    spiking = snnjax.spike(case.apply, case.params, x, levels=64)

    def loss(params):
        return jnp.sum(spiking.quantised(params, x) ** 2)

    def smooth(params):
        return jnp.sum(case.apply(params["params"], x) ** 2)

    found, wanted = (jax.jit(jax.grad(of))(spiking.params) for of in (loss, smooth))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(found["thetas"]))
    for a, b in zip(*map(jax.tree.leaves, (found["params"], wanted["params"])), strict=True):
        assert np.corrcoef(np.ravel(a), np.ravel(b))[0, 1] > 0.98
