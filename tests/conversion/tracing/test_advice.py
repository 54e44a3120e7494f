"""Refusals name the user's module and the cure that is right for the function that was called."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from functions_of_images import KEY, WEIGHTS, dense, images, last

from snnjax import trace


class Block(nn.Module):
    layer: nn.Module

    def __call__(self, x):
        return self.layer(x)


class Net(nn.Module):
    layer: nn.Module

    @nn.compact
    def __call__(self, x):
        x = Block(self.layer, name="block1")(nn.Conv(4, (1, 1), name="stem")(x))
        return nn.Dense(2)(x.reshape(len(x), -1))


NORMALISED = "statistics of the activations themselves.*use_running_average=True"
GATE = "leave the gate out"
MODULES = {
    "layer norm": (nn.LayerNorm(name="norm"), f"LayerNorm of module .*block1/.*: .*{NORMALISED}"),
    "group norm": (nn.GroupNorm(2), f"GroupNorm of module .*block1/.*: .*{NORMALISED}"),
    "batch norm": (
        nn.BatchNorm(use_running_average=False),
        "BatchNorm of module .*block1.*training mode; pass use_running_average=True",
    ),
    "dropout": (
        nn.Dropout(0.5, deterministic=False),
        "Dropout of module .*block1.*dropout is left on; pass deterministic=True",
    ),
    "sequential": (
        nn.Sequential([nn.Conv(4, (1, 1)), nn.gelu]),
        r"gelu of module .*block1/.* at .*: neurons follow .* such as a ReLU, and train again",
    ),
    "attention": (
        nn.MultiHeadDotProductAttention(2), "module .*block1/.*: attention multiplies two",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("layer", "message"), MODULES.values(), ids=MODULES.keys())
def test_e_a_flax_module_is_refused_by_its_own_name(layer, message):
    net, x = Net(layer), images(2, 2, 3)
    keys = {"params": KEY, "dropout": KEY}
    variables = jax.jit(net.init)(keys, x)

    def apply(variables, x):
        return net.apply(variables, x, mutable=["batch_stats"], rngs={"dropout": KEY})[0]

    with pytest.raises(ValueError, match=message) as caught:
        trace(apply, variables, x)
    assert "wrapped" not in str(caught.value)


def test_e_a_sequential_on_its_own_is_refused_by_its_module():
    net, x = nn.Sequential([nn.Dense(4), nn.gelu, nn.Dense(2)]), images(3)
    with pytest.raises(ValueError, match=r"in gelu.*Sequential") as caught:
        trace(net.apply, jax.jit(net.init)(KEY, x), x)
    assert "unknown line" not in str(caught.value)


def test_e_modules_of_nnx_are_refused_by_their_class():
    for layer, message in (
        (nnx.BatchNorm(3, rngs=nnx.Rngs(0)), "in BatchNorm, .*model.eval"),
        (nnx.LayerNorm(3, rngs=nnx.Rngs(0)), f"in LayerNorm, .*{NORMALISED}"),
        (nnx.Dropout(0.5, rngs=nnx.Rngs(0)), "in Dropout, .*model.eval"),
    ):
        graphdef, state = nnx.split(layer)

        def apply(state, x, graphdef=graphdef):
            return nnx.merge(graphdef, state)(x @ jnp.ones((3, 3))) @ jnp.ones((3, 2))

        with pytest.raises(ValueError, match=message):
            trace(apply, state, images(3))


def straight_through(h):
    return h + jax.lax.stop_gradient(jnp.sign(h) - h)


def binary(h):
    return jax.lax.stop_gradient(jnp.where(h > 0, 1.0, -1.0) - jnp.clip(h, -1, 1)) + jnp.clip(
        h, -1, 1
    )


def excited(h):
    return h * jax.nn.sigmoid(jax.nn.relu(h @ jnp.ones((16, 16))) @ jnp.ones((16, 16)))


def dropped(h):
    return jnp.where(jax.random.bernoulli(KEY, 0.5, h.shape), 2 * h, 0.0)


def as_table(h):
    return jnp.eye(16)[h[:, 0].astype(int)]


def adaptive(h):
    return jax.lax.while_loop(lambda h: h.max() < 3, lambda h: 2 * h, h)


HIDDEN = {
    "softmax": (jax.nn.softmax, "softmax, .*behind the last weights, return the logits"),
    "sign": (straight_through, "sign at .*step, as of a binary network"),
    "where": (binary, "jumps at 0 from -1 to 1"),
    "heaviside": (lambda h: (h > 0).astype(jnp.float32), "jumps at 0 from 0 to 1.*ReLU or a clip"),
    "clip": (lambda h: jnp.clip(h, -0.5), "bounded by nothing above and -0.5 below; want no bound"),
    "hard swish": (jax.nn.hard_swish, "relu6 or a ReLU in its place"),
    "glu": (lambda h: jnp.tile(jax.nn.glu(h), 2), f"in glu, .*{GATE}"),
    "gate": (lambda h: h * jax.nn.sigmoid(h @ jnp.ones((16, 16))), GATE),
    "squeeze and excitation": (excited, GATE),
    "norm": (lambda h: h / jnp.linalg.norm(h, axis=-1, keepdims=True), "statistics of the activ"),
    "random numbers": (dropped, "takes random numbers, as dropout.*deterministic=True"),
    "a mask for all": (
        lambda h: h * jax.random.bernoulli(KEY, 0.5, (1, 16)), "takes random numbers",
    ),
    "table": (as_table, "makes whole numbers of activations|works on a part"),
    "sort": (lambda h: jnp.sort(h, -1), "sort, in sort, .*looks at all activations to move"),
    "loop": (adaptive, "while, in while_loop, .*its length depends on the images"),
}  # fmt: skip


@pytest.mark.parametrize(("function", "message"), HIDDEN.values(), ids=HIDDEN.keys())
def test_e_a_function_is_refused_with_the_cure_that_is_right_for_it(function, message):
    with pytest.raises(ValueError, match=message) as caught:
        trace(lambda p, x: last(p, function(dense(p, x))), WEIGHTS, images(4, 4, 1))
    assert "test_advice.py:" in str(caught.value)
    assert "stop_gradient" not in str(caught.value)


@pytest.mark.parametrize("end", [jax.nn.softmax, jax.nn.log_softmax, jax.nn.sigmoid, jax.nn.gelu])
def test_e_a_function_behind_the_last_weights_is_left_out(end):
    with pytest.raises(ValueError, match="return the logits"):
        trace(lambda p, x: end(last(p, x)), WEIGHTS, images(4, 4, 1))


def test_e_a_stopped_gradient_changes_nothing():
    found = trace(
        lambda p, x: last(p, jax.lax.stop_gradient(jax.nn.relu(dense(p, x)))), WEIGHTS,
        images(4, 4, 1),
    )  # fmt: skip
    assert len(found.network.sites) == 1


def test_e_tokens_are_not_divided_by_255():
    with pytest.raises(ValueError, match=r"int64; want floats.*tokens"):
        trace(lambda p, x: p[x].sum(1), np.ones((9, 3)), np.ones((2, 5), np.int64))
    with pytest.raises(ValueError, match=r"divide bytes by 255$"):
        trace(dense, WEIGHTS, np.ones((2, 4, 4, 1), np.uint8))


def by_hand(z):
    return jnp.exp(z) / jnp.exp(z).sum(-1, keepdims=True)


def by_hand_without_overflow(z):
    return by_hand(z - z.max(-1, keepdims=True))


def by_log(z):
    return z - jax.scipy.special.logsumexp(z, -1, keepdims=True)


@pytest.mark.parametrize("end", [by_hand, by_hand_without_overflow, by_log])
def test_e_a_softmax_by_hand_behind_the_last_weights_is_left_out(end):
    with pytest.raises(ValueError, match="behind the last weights, return the logits"):
        trace(lambda p, x: end(last(p, x)), WEIGHTS, images(4, 4, 1))
