"""Operations and energy of a spiking function: additions for spikes, products for floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.analysis.energy import FLOAT32, Costs
from snnjax.conversion.spiking import Spiking
from snnjax.conversion.spiking.operations import PRODUCTS, is_product
from snnjax.conversion.spiking.program import RecordedFunction, Reference, Step, compute, record
from snnjax.conversion.spiking.sites import find_sites, passes_spikes
from snnjax.conversion.spiking.summary import floating_steps, floats_of
from snnjax.snn.simulation import simulate

__all__ = ["FunctionOperations", "count_function_operations"]


class FunctionOperations(NamedTuple):
    """Operations for the mean image of a simulation.

    accumulates: additions for spikes, by the module of the product. A spike is one addition at
      each output of the product that it reaches; a sum of c spikes, behind a pooling, is |c|.
    input_products: multiply-accumulates of products that read the input and no spikes, where
      weights are not 0.
    floats: operations on floats, by module.
    ann_products: multiply-accumulates of the ANN's products, with all weights.
    ann_floats: operations of the ANN on floats; transfer functions are not counted, here and in
      `floats`.
    spikes: of all neurons, both signs.
    """

    accumulates: dict[str, float]
    input_products: float
    floats: dict[str, float]
    ann_products: float
    ann_floats: float
    spikes: float

    @property
    def spiking_share(self) -> float:
        """Share of all operations that are additions for spikes."""
        added = sum(self.accumulates.values())
        return added / (added + self.input_products + sum(self.floats.values()))

    def energy(self, costs: Costs = FLOAT32) -> tuple[float, float]:
        """Return the energy of the spiking function and of its ANN in nJ per image.

        Each operation on floats costs as much as a multiply-accumulate. Memory accesses, biases
        and resets are not included.
        """
        products = self.input_products + sum(self.floats.values())
        spiking = costs.ac * sum(self.accumulates.values()) + costs.mac * products
        return spiking / 1000, costs.mac * (self.ann_products + self.ann_floats) / 1000


def count_function_operations(
    spiking: Spiking, images: ArrayLike, *, num_steps: int, **options: Any
) -> FunctionOperations:
    """Simulate images and count the operations of all timesteps.

    Operations on floats are counted at every timestep, products of a constant input once.

    Args:
      spiking: from `snnjax.spike`.
      images: `[B, ...]`; the spikes of all timesteps are in memory at once.
      num_steps: T.
      options: of `simulate`, such as `neuron`.

    Raises:
      ValueError: as `simulate`.
    """
    sent = simulate(spiking, images, num_steps=num_steps, record=True, **options).recording
    batch = np.shape(images)[0]
    program = record(spiking.function.apply, spiking.params["params"], jnp.asarray(images))
    sites = find_sites(program)
    axes = spiking.function.batch_axes
    counts = {
        site.value.number: _as_made(jnp.cumsum(sent[site.name], 0), site.value, axis)
        for site, axis in zip(sites, axes, strict=True)
    }
    products = [step for step in program.steps if is_product(step)]
    added: dict[str, float] = {}
    image_products = 0.0
    for step, trains in zip(products, _trains(program, counts, products), strict=True):
        name = step.module or step.kind
        for place, train in trains.items():
            fan_out = _fan_out(step, place)
            total = float(np.asarray(_weighted(train, fan_out), np.float64).sum())
            added[name] = added.get(name, 0.0) + total / batch
        if not trains:
            image_products += _products(step, absent=False) / batch
    floats = floats_of(floating_steps(program, sites), batch)
    return FunctionOperations(
        accumulates=added,
        input_products=image_products,
        floats={module: num_steps * count for module, count in floats.items()},
        ann_products=sum(_products(step, absent=True) for step in products) / batch,
        ann_floats=sum(floats.values()),
        spikes=sum(float(jnp.sum(jnp.abs(s))) for s in sent.values()) / batch,
    )


def _as_made(counts: jax.Array, value: Reference, axis: int) -> jax.Array:
    """Spike counts `[T, B, ...]` in the order of a site's value, `[T, ...]`."""
    batch = value.shape[axis]
    rest = [size for place, size in enumerate(value.shape) if place != axis]
    return jnp.moveaxis(counts.reshape(len(counts), batch, *rest), 1, axis + 1)


def _trains(
    program: RecordedFunction, counts: dict[int, jax.Array], products: Sequence[Step]
) -> list[dict[int, jax.Array]]:
    """Size of the spikes at each operand of each product, `[T, ...]` by the operand's place.

    Counts of spikes pass pooling and layout; what scales them does not change their number.
    """
    values = dict(counts)
    for step in program.steps:
        if passes_spikes(step) and any(x.number in values for x in step.reads):
            known = [x for x in step.reads if x.number in values]
            rows = jax.lax.map(
                lambda of, step=step: _pass(step, of), {x.number: values[x.number] for x in known}
            )
            values[step.outputs[0].number] = rows
    return [
        {
            place: jnp.abs(jnp.diff(values[x.number], axis=0, prepend=0))
            for place, x in enumerate(step.operands)
            if isinstance(x, Reference) and x.number in values
        }
        for step in products
    ]


def _pass(step: Step, values: dict[int, jax.Array]) -> jax.Array:
    """Spike counts behind an operation that spikes pass."""
    operands = []
    for x in step.operands:
        if isinstance(x, Reference):
            operands.append(values.get(x.number, jnp.zeros(x.shape, x.dtype)))
        elif step.kind in {"concatenate", "pad"} or step.kind in {"add", "add_any", "sub"}:
            operands.append(jnp.zeros_like(x.value))
        elif step.kind in PRODUCTS:
            operands.append(jnp.asarray(x.value != 0, jnp.float32))
        elif step.kind in {"mul", "div"}:
            operands.append(jnp.where(jnp.asarray(x.value) < 0, -1.0, 1.0).astype(jnp.float32))
        else:
            operands.append(x.value)
    return compute(step, operands)[0]


def _fan_out(step: Step, place: int, *, absent: bool = False) -> jax.Array:
    """Number of outputs that each entry of an operand reaches.

    absent: count weights that are 0 too.
    """
    operand = step.operands[place]
    assert isinstance(operand, Reference)
    masks = [
        jnp.ones(x.shape)
        if isinstance(x, Reference)
        else jnp.asarray((x.value != 0) | absent, jnp.float32)
        for x in step.operands
    ]

    def product(x: jax.Array) -> jax.Array:
        (result,) = compute(step, [*masks[:place], x, *masks[place + 1 :]])
        return result

    outputs, pull = jax.vjp(product, jnp.zeros(operand.shape))
    return jnp.rint(pull(jnp.ones_like(outputs))[0])


def _products(step: Step, *, absent: bool) -> float:
    """Multiply-accumulates of a product."""
    place = next(i for i, x in enumerate(step.operands) if isinstance(x, Reference))
    return float(np.asarray(_fan_out(step, place, absent=absent), np.float64).sum())


@jax.jit
def _weighted(train: jax.Array, fan_out: jax.Array) -> jax.Array:
    """Additions at each timestep and along the first axis, `[T, n]`."""
    products = jnp.rint(train) * fan_out
    return jnp.sum(products.reshape(*products.shape[:2], -1), -1)
