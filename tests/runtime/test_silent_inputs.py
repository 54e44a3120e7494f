"""Products that skip silent inputs equal dense products, and are chosen where they are faster."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.runtime import silent_inputs
from snnjax.runtime.silent_inputs import SkippingKernel, dot_active, skipping_pays

INPUTS, FEATURES, STEPS = 200, 3, 8
draw = np.random.default_rng(0)
KERNEL = draw.integers(-8, 9, (INPUTS, FEATURES)).astype(np.float32)


def spikes(images, active):
    """Whole numbers `[B * n, N]`; `active` inputs of all images together, at least at one step."""
    place = draw.permutation(images * INPUTS)[:active]
    shown = np.zeros((images, 1, INPUTS), bool)
    shown[place // INPUTS, 0, place % INPUTS] = True
    sent = draw.integers(1, 4, (images, STEPS, INPUTS)) * draw.choice([-1, 1], INPUTS)
    later = np.arange(STEPS)[:, None] >= draw.integers(0, STEPS, (images, 1, INPUTS))
    return (sent * shown * later).reshape(-1, INPUTS).astype(np.float32)


@pytest.mark.parametrize("images", [1, 3, 16])
def test_a_product_equals_the_dense_one_and_reads_active_rows_alone(images):
    """Rows that are silent in all images may be NaN, unless more than 3/8 of the inputs are active:
    then it is the dense product. All numbers are whole, so that no sum is rounded.
    """
    product = jax.jit(dot_active)
    limit = images * INPUTS * 3 // 8
    for active in (0, images, limit, limit + 1, images * INPUTS):
        x = spikes(images, active)
        y = product(x, SkippingKernel(KERNEL, images))
        np.testing.assert_array_equal(y, x @ KERNEL)
        silent = ~x.any(0)
        silent[-1] = False  # what fills a block is the last row, times 0
        holed = np.where(silent[:, None], np.nan, KERNEL)
        read = np.isnan(product(x, SkippingKernel(holed, images))).any()
        assert read == (silent.any() and active > limit)


def test_few_timesteps_at_once_are_a_dense_product():
    x, kernel = spikes(2, 9), SkippingKernel(KERNEL, 2)
    skips = ["sort" in str(jax.make_jaxpr(dot_active)(x[:rows], kernel)) for rows in (14, 16)]
    assert skips == [False, True]


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_mapped_products_are_dense(axes):
    x = np.stack([spikes(2, 9) for _ in range(3)])
    kernels = np.stack([KERNEL, KERNEL + 1, -KERNEL])
    given = [of if axis == 0 else of[0] for of, axis in zip((x, kernels), axes, strict=True)]
    mapped = jax.vmap(lambda x, kernel: dot_active(x, SkippingKernel(kernel, 2)), axes)
    np.testing.assert_array_equal(mapped(*given), np.matmul(*given))
    assert "sort" not in str(jax.make_jaxpr(mapped)(*given))


def test_gradients_are_those_of_the_dense_product():
    x = spikes(2, 9)

    def loss(x, kernel):
        return (dot_active(x, SkippingKernel(kernel, 2)) ** 2).sum()

    ours = jax.grad(loss, (0, 1))(x, KERNEL)
    theirs = jax.grad(lambda x, kernel: ((x @ kernel) ** 2).sum(), (0, 1))(x, KERNEL)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_the_choice_needs_one_cpu_of_few_cores_large_kernels_and_few_images(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(silent_inputs, "count_cores", lambda: 2)
    large = (1200, 1200)
    assert skipping_pays(large, 1) and skipping_pays((256, 1024), 16)
    for shape, images in ((large, 17), ((256, 1023), 1), ((2**17, 10), 1), ((10, 2**17), 1)):
        assert not skipping_pays(shape, images)
    for owner, name, value in (
        (silent_inputs, "count_cores", 3), (jax, "local_device_count", 2),
        (jax, "default_backend", "gpu"),
    ):  # fmt: skip
        with monkeypatch.context() as changed:
            changed.setattr(owner, name, lambda value=value: value)
            assert not skipping_pays(large, 1)
    assert skipping_pays(large, 1)


def test_a_kernel_passes_through_a_compiled_function_with_its_number_of_images():
    kernel = SkippingKernel(jnp.ones((4, 2)), 3)
    found = jax.jit(lambda kernel: jax.tree.map(lambda leaf: 2 * leaf, kernel))(kernel)
    assert found.batch_size == 3 and found.shape == (4, 2)
