"""Random functions: each is converted and agrees, or is refused by operation and line.

SNNJAX_FUZZ_SECONDS sets the processor time, 10 by default, and SNNJAX_FUZZ_SEED the first seed.
"""

import os
import re
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits, limit

from snnjax import convert, measure_scales, simulate, trace

SECONDS = float(os.environ.get("SNNJAX_FUZZ_SECONDS", "10"))
FIRST_SEED = int(os.environ.get("SNNJAX_FUZZ_SEED", "0"))
UNUSUAL = 11
"""Number of images of which no step makes an axis of the images, or the reverse."""
AXES = ("NHWC", "HWIO", "NHWC")


def weights(draw, *shape):
    fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 4
    return (draw.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)


def some(draw, *choices):
    return choices[draw.integers(len(choices))]


# Each function draws a step for values of a shape, `[H, W, C]` or `[N]`: its parameters, and a
# function of these and of the values.


def conv(draw, shape):
    size, groups = draw.integers(1, 4, 2), some(draw, 1, 1, 1, shape[2])
    features = groups * int(draw.integers(1, 4))
    strides, dilation = (tuple(int(n) for n in draw.integers(1, 3, 2)) for _ in range(2))
    padding = some(draw, "SAME", "VALID", tuple(map(tuple, draw.integers(-1, 3, (2, 2)).tolist())))
    w = weights(draw, *size, shape[2] // groups, features)
    return w, lambda w, h: jax.lax.conv_general_dilated(
        h, w, strides, padding, rhs_dilation=dilation, dimension_numbers=AXES,
        feature_group_count=groups,
    )  # fmt: skip


def conv_channels_first(draw, shape):
    w = weights(draw, 3, 2, shape[2], 4).transpose(3, 2, 0, 1)
    return w, lambda w, h: jax.lax.conv(h.transpose(0, 3, 1, 2), w, (1, 1), "SAME").transpose(
        0, 2, 3, 1
    )


def dense(draw, shape):
    return weights(draw, shape[-1], int(draw.integers(2, 7))), lambda w, h: h @ w


def shift(draw, shape):
    return weights(draw, shape[-1]), lambda b, h: h + b


def batch_norm(draw, shape):
    numbers = np.abs(weights(draw, 3, shape[-1])) + 0.5
    return numbers, lambda n, h: (h - n[0]) * jax.lax.rsqrt(n[1] + 1e-5) * n[2]


def activation(draw, shape):
    function = some(
        draw,
        jax.nn.relu,
        jax.nn.relu6,
        lambda z: jnp.clip(z, -0.75, 0.75),
        lambda z: jax.nn.leaky_relu(z, 0.125),
        lambda z: jnp.where(z > 0, z, 0.25 * z),
        lambda z: 0.5 * (z + jnp.abs(z)),
    )
    return (), lambda _, h: function(h)


def pool(draw, shape):
    size, strides = (tuple(int(n) for n in draw.integers(1, 3, 2)) for _ in range(2))
    padding = some(draw, "SAME", "VALID")
    return (), lambda _, h: nn.avg_pool(h, size, strides, padding)


def pool_by_reshape(draw, shape):
    high, wide, depth = shape
    return (), lambda _, h: h.reshape(len(h), high // 2, 2, wide, depth).mean(2)


def part(draw, shape):
    steps = draw.choice([-2, -1, 1, 1, 1, 2], len(shape))
    firsts = draw.integers(0, 2, len(shape))
    cut = tuple(
        slice(None, None, int(s)) if s < 0 else slice(int(a), None, int(s))
        for a, s in zip(firsts, steps, strict=True)
    )
    return (), lambda _, h: h[:, *cut]


def channels(draw, shape):
    order = draw.integers(0, shape[-1], int(draw.integers(1, shape[-1] + 2)))
    return (), lambda _, h: h[..., order]


def shuffled(draw, shape):
    order = draw.permutation(shape[-1])
    return (), lambda _, h: h[..., order]


def rolled(draw, shape):
    axis = int(draw.integers(1, len(shape) + 1))
    return (), lambda _, h: jnp.roll(h, 1, axis)


def padded(draw, shape):
    wide = [(0, 0), *map(tuple, draw.integers(0, 2, (len(shape), 2)).tolist())]
    return (), lambda _, h: jnp.pad(h, wide)


def swapped(draw, shape):
    return (), lambda _, h: h.swapaxes(1, 2)


def patches(draw, shape):
    high, wide, depth = shape[0] // 2, shape[1] // 2, shape[2]
    w = weights(draw, 4 * depth, 5)

    def embed(w, h):
        h = h[:, : 2 * high, : 2 * wide].reshape(len(h), high, 2, wide, 2, depth)
        h = h.transpose(0, 1, 3, 2, 4, 5).reshape(len(h), high * wide, -1)
        return (h @ w).reshape(len(h), high, wide, -1)

    return w, embed


def lax_patches(draw, shape):
    w = weights(draw, 4 * shape[2], 4)
    return (
        w,
        lambda w, h: (
            jax.lax.conv_general_dilated_patches(h, (2, 2), (1, 1), "SAME", dimension_numbers=AXES)
            @ w
        ),
    )


def slices_as_windows(draw, shape):
    high, wide, depth = shape[0] - 1, shape[1] - 1, shape[2]
    w = weights(draw, 4 * depth, 4)
    return (
        w,
        lambda w, h: (
            jnp.concatenate([h[:, i : i + high, j : j + wide] for i in (0, 1) for j in (0, 1)], -1)
            @ w
        ),
    )


def flat(draw, shape):
    return (), lambda _, h: h.reshape(len(h), -1)


def as_map(draw, shape):
    (size,) = shape
    wide = 2 if size % 2 == 0 else 1
    return (), lambda _, h: h.reshape(len(h), wide, 1, -1)


def mean_of_pixels(draw, shape):
    return (), lambda _, h: h.mean((1, 2))


def repeated(draw, shape):
    axis = int(draw.integers(1, len(shape) + 1))
    return (), lambda _, h: jnp.repeat(h, 2, axis)


def scanned(draw, shape):
    w = np.stack([weights(draw, shape[-1], shape[-1]) for _ in range(2)])
    return w, lambda w, h: jax.lax.scan(lambda h, w: (jax.nn.relu(h @ w), None), h, w)[0]


def looped(draw, shape):
    w = weights(draw, shape[-1], shape[-1])
    return w, lambda w, h: jax.lax.fori_loop(0, 2, lambda i, h: jax.nn.relu(h @ w) + h, h)


def scanned_rows(draw, shape):
    w = weights(draw, shape[-1], shape[-1])

    def run(w, h):
        step = lambda state, row: (jax.nn.relu(row + state @ w),) * 2  # noqa: E731
        _, rows = jax.lax.scan(step, jnp.zeros_like(h[:, 0]), h.swapaxes(0, 1))
        return rows.swapaxes(0, 1)

    return w, run


def never(draw, shape):
    """Operations that no spiking network has."""
    function = some(
        draw,
        jax.nn.gelu,
        jax.nn.softmax,
        jnp.tanh,
        lambda h: h * h,
        lambda h: jnp.sort(h, -1),
        lambda h: jnp.cumsum(h, -1),
        lambda h: jnp.round(4 * h) / 4,
        lambda h: (h - h.mean(-1, keepdims=True)) / (h.std(-1, keepdims=True) + 1),
        lambda h: h - h.mean(0),
        lambda h: jnp.maximum(h, h[..., ::-1]),
        lambda h: h.max(1),
        lambda h: h.at[:, 0].set(0.0),
        lambda h: jax.lax.while_loop(lambda h: h.sum() > 1e6, lambda h: h / 2, h),
        lambda h: jnp.maximum(h, 0.5),
        lambda h: h / (1 + jnp.abs(h)),
        lambda h: jnp.where(jnp.arange(h.shape[1])[(...,) + (None,) * (h.ndim - 2)] > 0, h, 0.0),
    )
    return (), lambda _, h: function(h)


OF_ANY = [
    dense, dense, shift, batch_norm, activation, activation, activation, part, channels, shuffled,
    rolled, padded, scanned, looped, repeated,
]  # fmt: skip
OF_MAPS = [
    *OF_ANY, conv, conv, conv, conv_channels_first, pool, pool_by_reshape, swapped, patches,
    lax_patches, slices_as_windows, flat, mean_of_pixels, scanned_rows,
]  # fmt: skip
OF_VECTORS = [*OF_ANY, as_map]


def added(draw, shape, depth):
    def add(ends):
        if ends[0].ndim != ends[1].ndim:
            raise ValueError("a sum of vectors and maps mixes the images")
        return ends[0] + ends[1]

    return add


def joined(draw, shape, depth):
    axis = some(draw, -1, -1, 1)
    return lambda ends: jnp.concatenate(ends, axis)


def drawn_step(draw, shape, depth):
    """A step, or branches of steps that meet again."""
    if depth and draw.random() < 0.25:
        halves = draw.random() < 0.3
        branches = [drawn_steps(draw, shape, int(draw.integers(0, 4)), depth - 1) for _ in "ab"]
        meet = some(draw, added, joined)(draw, shape, depth)

        def fork(p, h):
            starts = jnp.split(h, 2, -1) if halves else (h, h)
            return meet(
                [run(q, start) for (run, _), q, start in zip(branches, p, starts, strict=True)]
            )

        return [p for _, p in branches], fork
    if draw.random() < 0.02:
        return never(draw, shape)
    return some(draw, *(OF_MAPS if len(shape) == 3 else OF_VECTORS))(draw, shape)


def drawn_steps(draw, shape, count, depth):
    """A chain of steps that fit each other: a function of parameters and values, and those."""
    steps, params = [], []
    value = jax.ShapeDtypeStruct((UNUSUAL, *shape), jnp.float32)
    while len(steps) < count:
        try:
            p, step = drawn_step(draw, value.shape[1:], depth)
            following = jax.eval_shape(step, p, value)
        except (TypeError, ValueError, ZeroDivisionError, IndexError):
            continue  # a step that does not fit the shape
        size = following.size // UNUSUAL
        if following.ndim not in (2, 4) or len(following) != UNUSUAL or not 0 < size < 1000:
            continue
        steps.append(step)
        params.append(p)
        value = following

    def run(params, h):
        for step, p in zip(steps, params, strict=True):
            h = step(p, h)
        return h

    return run, params


def drawn_function(seed):
    """A function, its parameters and images."""
    draw = np.random.default_rng(seed)
    shape = some(draw, (4, 4, 2), (5, 4, 3), (6, 6, 1), (12,))
    run, params = drawn_steps(draw, shape, int(draw.integers(1, 8)), 2)
    x = draw.random((3, *shape), np.float32)
    end = jax.eval_shape(run, params, x).size // 3
    reverse = draw.random() < 0.1

    def apply(p, x):
        h = run(p["steps"], x)
        logits = h.reshape(len(h), -1) @ p["out"]
        return logits[:, ::-1] if reverse else logits

    return apply, {"steps": params, "out": weights(draw, end, 3)}, x


def measured(network, variables, x):
    """Scales of the activations; 1 for all of them if one is never active."""
    sites = network.sites
    try:
        return measure_scales(network, variables, x) if sites else None
    except ValueError as error:
        assert "zero on every image" in str(error)
        return dict.fromkeys(sites, 1.0)


def check(seed):
    """True if the function of a seed is converted, False if it is refused as it should be."""
    apply, params, x = drawn_function(seed)
    try:
        network, variables, _ = trace(apply, params, x[:1])
    except ValueError as error:
        assert re.search(r"test_fuzz\.py:\d+", str(error)), error
        assert "cannot be converted: " in str(error), error
        return False
    wanted = jax.jit(apply)(params, x)
    size = float(jnp.abs(wanted).max()) + 1e-3
    logits = ann_logits(network, variables, x)
    np.testing.assert_allclose(logits, wanted, atol=1e-3 * size, rtol=0)
    shown = x if x.ndim == 4 else x[:, None, None]
    snn = convert(network, variables, scales=measured(network, variables, shown))
    np.testing.assert_allclose(limit(network, snn, shown), wanted, atol=2e-3 * size, rtol=0)
    values = simulate(network, snn, shown, num_steps=4, engine="plain").values
    assert values.shape == (4, 3, 3) and np.isfinite(values).all()
    return True


@pytest.mark.slow
def test_b4_random_functions_are_converted_and_agree_or_are_refused_by_operation_and_line():
    began, seed, converted = time.process_time(), FIRST_SEED, 0
    while time.process_time() - began < SECONDS:
        try:
            converted += check(seed)
        except Exception as error:
            raise AssertionError(f"the function of seed {seed}") from error
        seed += 1
    print(f"{seed - FIRST_SEED} functions, {converted} converted")
    assert converted > (seed - FIRST_SEED) / 4
