"""Convolutions in float64 by loops over the taps of a kernel, to hold every algorithm against."""

import jax
import numpy as np


def assert_exact(convolve, x, kernel, **options):
    """Check a convolution and both of its gradients, in one compiled program."""
    y_shape = exact_convolution(x, kernel, **options).shape
    upstream = np.random.default_rng(9).normal(size=y_shape).astype(np.float32)

    @jax.jit
    def run(x, kernel, upstream):
        y, pull = jax.vjp(convolve, x, kernel)
        return y, *pull(upstream)

    names = ("forward", "gradient by x", "gradient by the kernel")
    found = run(x, kernel, upstream)
    wanted = exact_convolution(x, kernel, upstream, **options)
    for name, ours, exact in zip(names, found, wanted, strict=True):
        np.testing.assert_allclose(ours, exact, atol=2e-5 * np.abs(exact).max(), err_msg=name)


def exact_convolution(x, kernel, upstream=None, *, strides=(1, 1), padding="SAME", groups=1):
    """The convolution of `x` `[B, H, W, C]`, and the gradients of its product with `upstream`.

    Returns:
      `[B, H', W', features]`; with `upstream` of that shape, the gradients by both arguments too.
    """
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size, taps = x.shape[1:3], kernel.shape[:2]
    pads = padding
    if isinstance(padding, str):
        pads = jax.lax.padtype_to_pads(size, taps, strides, padding)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    sides = [
        (n - k) // s + 1 for n, k, s in zip(padded.shape[1:3], taps, strides, strict=True)
    ]  # fmt: skip
    y = np.zeros((len(x), *sides, kernel.shape[-1]))
    dx, dkernel = np.zeros(padded.shape), np.zeros(kernel.shape)
    inputs = np.split(np.arange(x.shape[-1]), groups)
    outputs = np.split(np.arange(kernel.shape[-1]), groups)
    for i, j in np.ndindex(*taps):
        rows, columns = (
            slice(at, at + (n - 1) * s + 1, s)
            for at, n, s in zip((i, j), sides, strides, strict=True)
        )
        for into, out in zip(inputs, outputs, strict=True):
            seen, weights = padded[:, rows, columns][..., into], kernel[i, j][:, out]
            y[..., out] += seen @ weights
            if upstream is not None:
                dx[:, rows, columns, into] += upstream[..., out] @ weights.T
                dkernel[i, j][:, out] = np.tensordot(seen, upstream[..., out], ((0, 1, 2),) * 2)
    if upstream is None:
        return y
    (top, _), (left, _) = pads
    return y, dx[:, top : top + size[0], left : left + size[1]], dkernel


def draw_convolution(x_shape, kernel_shape, seed=0):
    """Images and a kernel in float32, whose convolution has numbers around 1."""
    draw = np.random.default_rng(seed).normal
    x = draw(size=x_shape).astype(np.float32)
    return x, draw(0, 1 / np.sqrt(np.prod(kernel_shape[:3])), kernel_shape).astype(np.float32)
