"""Tests of the gradients of convolutions with any order of axes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.runtime.convolution_gradients import bind_with_gradients, find_equation

NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")


def traced(x, kernel, **options):
    """The parameters of a convolution, as a program holds them."""
    function = partial(jax.lax.conv_general_dilated, **options)
    (equation,) = jax.make_jaxpr(function)(x, kernel).eqns
    return equation.params


def operands(numbers, groups=1):
    """Small whole numbers, whose products and sums are exact in any order."""
    draw = np.random.default_rng(0)
    sizes = {"N": 3, "H": 8, "W": 7, "C": 4}, {"H": 3, "W": 2, "I": 4 // groups, "O": 6}
    return tuple(
        jnp.asarray(draw.integers(-3, 4, [of[axis] for axis in spec]), jnp.float32)
        for spec, of in zip(numbers, sizes, strict=False)
    )


@pytest.mark.parametrize(
    ("numbers", "strides", "padding"),
    [
        (NHWC, (1, 1), "SAME"),
        (NHWC, (2, 3), "VALID"),
        (NCHW, (2, 2), "SAME"),
        (NCHW, (1, 2), ((2, 0), (1, 3))),
        (("HWNC", "WOHI", "NHCW"), (2, 1), "SAME"),
    ],
)
def test_values_and_gradients_are_those_of_jax(numbers, strides, padding):
    x, kernel = operands(numbers)
    own = traced(x, kernel, window_strides=strides, padding=padding, dimension_numbers=numbers)
    bind = partial(jax.lax.conv_general_dilated_p.bind, **own)
    wanted, pull = jax.vjp(bind, x, kernel)
    found, own_pull = jax.vjp(
        partial(bind_with_gradients, equation=find_equation(own, x.dtype)), x, kernel
    )
    np.testing.assert_array_equal(found, wanted)
    upstream = jnp.round(3 * jnp.sin(jnp.arange(wanted.size))).reshape(wanted.shape)
    jax.tree.map(np.testing.assert_array_equal, own_pull(upstream), pull(upstream))


@pytest.mark.parametrize(
    "options",
    [
        {"rhs_dilation": (2, 1)},
        {"lhs_dilation": (2, 1)},
        {"feature_group_count": 2},
        {"preferred_element_type": jnp.float32},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_convolutions_are_left_to_jax(options):
    x, kernel = operands(NHWC, options.get("feature_group_count", 1))
    if "preferred_element_type" in options:
        x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    how = {"window_strides": (1, 1), "padding": ((0, 0),) * 2, "dimension_numbers": NHWC}
    assert find_equation(traced(x, kernel, **how | options), x.dtype) is None


def test_one_axis_is_left_to_jax():
    x, kernel = jnp.zeros((2, 8, 3)), jnp.zeros((3, 3, 4))
    own = traced(
        x, kernel, window_strides=(1,), padding="SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    assert find_equation(own, x.dtype) is None
