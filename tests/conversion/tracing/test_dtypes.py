"""Functions that compute in other floats than float32, and what a trace gives conversion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits, limit
from functions_of_images import images

from snnjax import convert, measure_scales, trace


def half(dtype, active=jnp.float32):
    """A function that computes in `dtype`, apart from its activations."""

    def apply(p, x):
        x = x.astype(dtype) @ p[0].astype(dtype)
        x = jax.nn.leaky_relu(x.astype(active), 0.1).astype(dtype)
        x = jnp.clip(x @ p[1].astype(dtype), -1, 1) - jnp.asarray(0.1, dtype)
        return x @ p[2].astype(dtype)

    return apply


def weights(dtype=np.float32):
    draw = np.random.default_rng(0)
    return [draw.normal(0, 0.4, (6, 6)).astype(dtype) for _ in range(3)]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("activations", ["half", "float32"])
@pytest.mark.parametrize("arrays", ["half", "float32"])
def test_b2_a_function_that_computes_in_16_bits_is_read_without_its_rounding(
    dtype, activations, arrays
):
    apply = half(dtype, dtype if activations == "half" else jnp.float32)
    kept = dtype if arrays == "half" else np.float32
    p, x = weights(kept), images(6).astype(kept)
    network, variables, _ = trace(apply, p, x)
    shown = x.astype(np.float32)[:, None, None]
    logits = ann_logits(network, variables, shown)
    own = np.asarray(apply(p, x), np.float32)
    np.testing.assert_allclose(logits, own, atol=4 * float(jnp.finfo(dtype).eps))
    rounded = [jnp.asarray(jnp.asarray(w, dtype), jnp.float32) for w in p]  # the numbers alone
    exact = half(jnp.float32)(rounded, shown[:, 0, 0])
    np.testing.assert_allclose(logits, exact, atol=0.01)
    params = convert(network, variables, scales=measure_scales(network, variables, shown))
    np.testing.assert_allclose(limit(network, params, shown), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("kept", [np.float32, np.float64])
def test_b2_numbers_of_64_bits_are_read_too(dtype, kept):
    with jax.enable_x64(True):
        apply, p, x = half(dtype, dtype), weights(kept), images(6).astype(kept)
        network, variables, _ = trace(apply, p, x)
        own = np.asarray(apply(p, x), np.float32)
        logits = ann_logits(network, variables, x.astype(np.float32)[:, None, None])
        leaves = jax.tree.leaves(variables)
    np.testing.assert_allclose(logits, own, atol=4 * float(jnp.finfo(dtype).eps) + 1e-5)
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}


def test_b2_the_rounding_of_16_bits_hides_no_wrong_network():
    calls = []

    def apply(p, x):
        calls.append(x)  # the function that is compared is another than the one that is read
        return half(jnp.bfloat16)(p, x) * len(calls)

    with pytest.raises(ValueError, match=r"differ"):
        trace(apply, weights(), images(6))


def relu(x):
    return jnp.maximum(x, 0)


def dense_block(p, x):
    for w in p:
        x = jnp.concatenate([x, relu(x) @ jnp.tile(w, (x.shape[-1] // 6, 1))], -1)
    return relu(x) @ jnp.tile(p[0], (4, 1))


BLOCKS = {
    "pre-activation": lambda p, h: (h + relu(h) @ p[1]) @ p[2],
    "two of them": lambda p, h: (lambda g: (g - relu(g) @ p[1]) @ p[2])(h + relu(h) @ p[1]),
    "concatenated ReLU": lambda p, h: (
        jnp.concatenate([relu(h), relu(-h)], -1) @ jnp.concatenate([p[1], p[2]])
    ),
    "absolute value": lambda p, h: (relu(h) + relu(-h)) @ p[1],
    "dense block": dense_block,
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
def test_b3_what_is_traced_can_be_converted(block):
    def apply(p, x):
        return block(p, x @ p[0])

    p, x = weights(), images(6) - np.float32(0.5)
    network, variables, _ = trace(apply, p, x)
    shown = x[:, None, None]
    params = convert(network, variables, scales=measure_scales(network, variables, shown))
    np.testing.assert_allclose(limit(network, params, shown), apply(p, x), rtol=1e-3, atol=1e-4)
