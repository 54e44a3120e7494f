"""Windows lie where JAX's convolutions and sums over windows put them."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnjax.runtime.windows import Window


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


windows = st.builds(
    Window,
    size=pairs(1, 4),
    strides=pairs(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]) | st.tuples(pairs(0, 3), pairs(0, 3)),
    dilation=pairs(1, 3),
)


def on_a_map(shape):
    return jax.ShapeDtypeStruct((1, *shape, 1), jnp.float32)


@given(window=windows, shape=pairs(1, 12))
def test_there_are_as_many_windows_as_jax_makes(window, shape):
    convolve = partial(
        jax.lax.conv_general_dilated, window_strides=window.strides,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), rhs_dilation=window.dilation,
    )  # fmt: skip
    kernel = jax.ShapeDtypeStruct((*window.size, 1, 1), jnp.float32)
    rows, columns = jax.eval_shape(
        partial(convolve, padding=window.padding), on_a_map(shape), kernel
    ).shape[1:3]
    if rows == 0 or columns == 0:
        with pytest.raises(ValueError, match="want windows no larger than the map"):
            window.outputs(shape)
        return
    assert window.outputs(shape) == (rows, columns)
    pads = window.pads((*shape, 5))
    same = jax.eval_shape(partial(convolve, padding=pads), on_a_map(shape), kernel)
    assert same.shape[1:3] == (rows, columns)


@given(window=windows, shape=pairs(12, 15))
def test_sums_over_windows_are_as_many_too(window, shape):
    padding = window.padding
    if not isinstance(padding, str):
        padding = ((0, 0), *padding, (0, 0))
    sums = jax.eval_shape(
        lambda x: jax.lax.reduce_window(
            x, 0.0, jax.lax.add, (1, *window.size, 1), (1, *window.strides, 1), padding,
            window_dilation=(1, *window.dilation, 1),
        ),
        on_a_map(shape),
    )  # fmt: skip
    assert sums.shape[1:3] == window.outputs(shape)


@pytest.mark.parametrize(
    ("window", "shape", "pads", "outputs"),
    [
        pytest.param(Window((3, 3), padding="SAME"), (5, 4), ((1, 1), (1, 1)), (5, 4), id="same"),
        pytest.param(
            Window((2, 4), padding="SAME"), (5, 4), ((0, 1), (1, 2)), (5, 4), id="odd-pixel-after"
        ),
        pytest.param(
            Window((3, 3), (2, 2), "SAME"), (4, 5, 7), ((0, 1), (1, 1)), (2, 3), id="strides"
        ),
        pytest.param(Window((3, 2), (2, 2)), (7, 4), ((0, 0), (0, 0)), (3, 2), id="valid"),
        pytest.param(
            Window((3, 3), padding="SAME", dilation=(2, 3)), (4, 4), ((2, 2), (3, 3)), (4, 4),
            id="dilation",
        ),
        pytest.param(
            Window((2, 2), padding=((1, 0), (2, 1))), (1, 3), ((1, 0), (2, 1)), (1, 5), id="pixels"
        ),
    ],
)  # fmt: skip
def test_pads_worked_by_hand(window, shape, pads, outputs):
    assert window.pads(shape) == pads
    assert window.outputs(shape) == outputs


def test_reach_counts_the_gaps_of_a_dilation():
    assert Window((3, 4)).reach == (3, 4)
    assert Window((3, 4), dilation=(2, 3)).reach == (5, 10)


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match=r"padding is 'same'; want one of SAME, VALID, or"):
        Window((3, 3), padding="same")


@pytest.mark.parametrize(("shape", "window"), [
    ((2, 9), Window((3, 3))),
    ((9, 4), Window((3, 3), (2, 2), dilation=(2, 2))),
    ((1, 9), Window((4, 2), padding=((1, 1), (0, 0)))),
])  # fmt: skip
def test_a_window_larger_than_the_map_is_refused(shape, window):
    with pytest.raises(ValueError, match=r"a window spans .* give larger images, or more padding"):
        window.outputs(shape)
