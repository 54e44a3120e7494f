"""Operations and energy of a spiking function: additions for spikes, products for floats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.analysis.energy import FLOAT32, Costs
from snnjax.conversion.spiking import Spiking
from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.image_axes import as_made
from snnjax.conversion.spiking.operations import PRODUCTS, is_product
from snnjax.conversion.spiking.products import count_products
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
    floats: operations on floats, by module; the multiply-accumulates of products that read what is
      no spike and changes with spikes are among them, with all weights.
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
    function, params = spiking.function, spiking.params["params"]
    batch, *image = np.shape(images)
    if batch == 1:  # counted as two, since a product may drop the axis of one image
        batch, sent = 2, {name: jnp.repeat(of, 2, axis=1) for name, of in sent.items()}
    program = record(function.apply, params, jax.ShapeDtypeStruct((batch, *image), jnp.float32))
    found = find_sites(program)
    steps = floating_steps(program, function.with_neurons(found))
    floats = floats_of(steps, batch)
    added, at_input = _additions(function, params, sent, shape=(batch, *image))
    products = [step for step in program.steps if is_product(step)]
    names = dict.fromkeys(step.module or step.kind for step in products)
    return FunctionOperations(
        accumulates={of: sum(map(_total, added[of])) / batch for of in names if of in added},
        input_products=sum(map(_total, at_input)) / batch,
        floats={module: num_steps * count for module, count in floats.items()},
        ann_products=sum(map(count_products, products)) / batch,
        ann_floats=sum(floats_of(floating_steps(program, found), batch).values()),
        spikes=sum(float(jnp.sum(jnp.abs(s))) for s in sent.values()) / batch,
    )


def _total(counts: jax.Array) -> float:
    return float(np.asarray(counts, np.float64).sum())


@partial(jax.jit, static_argnames=("function", "shape"))
def _additions(
    function: SpikingApply, params: Any, sent: dict[str, jax.Array], *, shape: tuple[int, ...]
) -> tuple[dict[str, list[jax.Array]], list[jax.Array]]:
    """Additions for spikes `[T, n]` by the product's module, and products of the input.

    Args:
      function: with neurons at its sites.
      params: the user's.
      sent: spikes of all timesteps, `[T, B, ...]` by site.
      shape: of the images.
    """
    program = record(function.apply, params, jax.ShapeDtypeStruct(shape, jnp.float32))
    sites = function.with_neurons(find_sites(program))
    counts = {
        site.value.number: jax.vmap(partial(as_made, place=place))(jnp.cumsum(sent[site.name], 0))
        for site, place in zip(sites, function.image_axes, strict=True)
    }
    in_floats = {step.outputs for step in floating_steps(program, sites)}
    products = [s for s in program.steps if is_product(s) and s.outputs not in in_floats]
    added: dict[str, list[jax.Array]] = {}
    at_input = []
    for step, trains in zip(products, _trains(program, counts, products), strict=True):
        name = step.module or step.kind
        for place, train in trains.items():
            added.setdefault(name, []).append(_weighted(train, _fan_out(step, place)))
        if not trains:
            place = next(i for i, x in enumerate(step.operands) if isinstance(x, Reference))
            at_input.append(_fan_out(step, place))
    return added, at_input


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


def _fan_out(step: Step, place: int) -> jax.Array:
    """Number of outputs that each entry of an operand reaches by weights that are not 0."""
    operand = step.operands[place]
    assert isinstance(operand, Reference)
    masks = [
        jnp.ones(x.shape) if isinstance(x, Reference) else jnp.asarray(x.value != 0, jnp.float32)
        for x in step.operands
    ]

    def product(x: jax.Array) -> jax.Array:
        (result,) = compute(step, [*masks[:place], x, *masks[place + 1 :]])
        return result

    outputs, pull = jax.vjp(product, jnp.zeros(operand.shape))
    return jnp.rint(pull(jnp.ones_like(outputs))[0])


def _weighted(train: jax.Array, fan_out: jax.Array) -> jax.Array:
    """Additions at each timestep and along the first axis, `[T, n]`."""
    products = jnp.rint(train) * fan_out
    return jnp.sum(products.reshape(*products.shape[:2], -1), -1)
