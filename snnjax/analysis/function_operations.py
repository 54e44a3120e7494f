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
from snnjax.conversion.spiking.program import (
    Operand,
    RecordedFunction,
    Reference,
    Step,
    compute,
    record,
)
from snnjax.conversion.spiking.sites import fed_by, find_sites, passes_spikes
from snnjax.conversion.spiking.summary import (
    ann_floating_steps,
    floating_steps,
    floats_of,
)
from snnjax.snn.encoding import CONSTANT
from snnjax.snn.simulation import simulate

__all__ = ["FunctionOperations", "count_function_operations"]


class FunctionOperations(NamedTuple):
    """Operations for the mean image of a simulation.

    accumulates: additions for spikes, by the module of the product. A spike is one addition at
      each output of the product that it reaches; a sum of c spikes, behind a pooling, is |c|.
    input_products: multiply-accumulates of products with what no spike feeds, where weights are
      not 0: the input, sites before all spikes, and their part of an operand that also holds
      spikes.
    floats: operations on floats, by module; the multiply-accumulates of products that read what is
      no spike and changes with spikes are among them, with all weights.
    ann_products: multiply-accumulates of the ANN's products, with all weights.
    ann_floats: operations of the ANN on floats; transfer functions are not counted, here and, but
      for those of sites that are left in floats behind spikes, in `floats`.
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

    What spikes feed is counted at every timestep, and what they do not feed once. If the input
    varies, by an encoding or by noise, the latter is counted at each timestep with input.

    Args:
      spiking: from `snnjax.spike`.
      images: `[B, ...]`; the spikes of all timesteps are in memory at once.
      num_steps: T.
      options: of `simulate`, such as `neuron`; not `record`.

    Raises:
      ValueError: as `simulate`, if `record` is given, or if numbers are traced.
    """
    if "record" in options:
        raise ValueError("record has no effect on counts of operations; leave it out")
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((spiking, images))):
        raise ValueError(
            "spiking or images are traced; operations are counted on values, so call"
            " count_function_operations outside of jax.jit, jax.grad and jax.vmap"
        )
    sent = simulate(spiking, images, num_steps=num_steps, record=True, **options).recording
    function, params = spiking.function, spiking.params["params"]
    batch, *image = np.shape(images)
    if batch == 1:  # counted as two, since a product may drop the axis of one image
        batch, sent = 2, {name: jnp.repeat(of, 2, axis=1) for name, of in sent.items()}
    program = record(function.apply, params, jax.ShapeDtypeStruct((batch, *image), jnp.float32))
    varies = options.get("encoding", CONSTANT).varies or options.get("noise") is not None
    times = min(num_steps, function.input_steps) if varies else 1
    floats, ann_floats = _floats(program, function, (num_steps, times))
    added, at_input = _additions(function, params, sent, shape=(batch, *image))
    products = [step for step in program.steps if is_product(step)]
    names = dict.fromkeys(step.module or step.kind for step in products)
    return FunctionOperations(
        accumulates={of: sum(map(_total, added[of])) / batch for of in names if of in added},
        input_products=times * sum(map(_total, at_input)) / batch,
        floats={module: count / batch for module, count in floats.items()},
        ann_products=sum(map(count_products, products)) / batch,
        ann_floats=ann_floats / batch,
        spikes=sum(float(jnp.sum(jnp.abs(s))) for s in sent.values()) / batch,
    )


def _floats(
    program: RecordedFunction, function: SpikingApply, times: tuple[int, int]
) -> tuple[dict[str, float], float]:
    """Operations on floats of all images: of the spiking function by module, and of the ANN.

    Args:
      program: for all images.
      function: with neurons at its sites.
      times: how often what spikes feed is computed, and how often the rest is.
    """
    found = find_sites(program)
    sites = function.with_neurons(found)
    fed, of_ann = fed_by(program, sites), ann_floating_steps(program, found)
    before = [step for step in of_ann if fed.isdisjoint(x.number for x in step.reads)]
    counts: dict[str, float] = {}
    for steps, often in zip((floating_steps(program, sites), before), times, strict=True):
        for module, count in floats_of(steps, batch=1).items():
            counts[module] = counts.get(module, 0.0) + often * count
    return counts, sum(floats_of(of_ann, batch=1).values())


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
    counts, others = _followed(program, counts)
    added: dict[str, list[jax.Array]] = {}
    at_input = []
    for step in program.steps:
        if not is_product(step) or step.outputs in in_floats:
            continue
        every = [_nonzero(x) for x in step.operands]
        for place, x in enumerate(step.operands):
            if isinstance(x, Reference) and x.number in counts:
                train = jnp.abs(jnp.diff(counts[x.number], axis=0, prepend=0))
                additions = _weighted(train, _fan_out(step, place, every))
                added.setdefault(step.module or step.kind, []).append(additions)
        no_spikes = [_others(x, counts, others) for x in step.operands]
        masks = [mask for mask in no_spikes if mask is not None]
        if len(masks) == len(no_spikes):
            place = next(i for i, x in enumerate(step.operands) if isinstance(x, Reference))
            at_input.append(masks[place] * _fan_out(step, place, masks))
    return added, at_input


def _followed(
    program: RecordedFunction, counts: dict[int, jax.Array]
) -> tuple[dict[int, jax.Array], dict[int, jax.Array]]:
    """Follow spikes through operations that they pass, by the number of the value.

    Counts of spikes pass pooling and layout; what scales them does not change their number. Beside
    them, 1 marks the entries of a value that hold what is no spike: a part of a joined value.

    Args:
      program: of the function.
      counts: of spikes so far `[T, ...]`, at the sites.
    """
    counts, others = dict(counts), dict[int, jax.Array]()
    for step in program.steps:
        known = {x.number: counts[x.number] for x in step.reads if x.number in counts}
        if not known or not passes_spikes(step):
            continue
        rows = jax.lax.map(lambda of, step=step: _pass(step, of), known)
        masks = {x.number: _others(x, counts, others) for x in step.reads}
        marked = {number: mask for number, mask in masks.items() if mask is not None}
        counts |= {made.number: row for made, row in zip(step.outputs, rows, strict=True)}
        if marked:
            sign = -1 if step.kind in {"reduce_min", "reduce_window_min"} else 1
            marks = _pass(step, {number: sign * mask for number, mask in marked.items()})
            others |= {
                made.number: jnp.asarray(mark != 0, jnp.float32)
                for made, mark in zip(step.outputs, marks, strict=True)
            }
    return counts, others


def _nonzero(x: Operand) -> jax.Array:
    """Return 1 for each entry that may be another number than 0."""
    return jnp.ones(x.shape) if isinstance(x, Reference) else jnp.float32(jnp.asarray(x.value) != 0)


def _others(
    x: Operand, counts: dict[int, jax.Array], others: dict[int, jax.Array]
) -> jax.Array | None:
    """Return 1 for each entry that holds what is no spike, and is not known to be 0; else None."""
    if isinstance(x, Reference) and x.number in counts:
        return others.get(x.number)
    return _nonzero(x)


def _pass(step: Step, values: dict[int, jax.Array]) -> list[jax.Array]:
    """Spike counts behind an operation that spikes pass; other operands hold no spikes."""
    operands = []
    for x in step.operands:
        if isinstance(x, Reference):
            operands.append(values.get(x.number, jnp.zeros(x.shape, jnp.float32)))
        elif step.kind in PRODUCTS:
            operands.append(_nonzero(x))
        elif step.kind == "mul":
            operands.append(jnp.sign(jnp.asarray(x.value, jnp.float32)))
        elif step.kind == "div":
            operands.append(jnp.where(jnp.asarray(x.value) < 0, -1.0, 1.0).astype(jnp.float32))
        elif jnp.issubdtype(jnp.result_type(x.value), jnp.floating):
            operands.append(jnp.zeros(jnp.shape(x.value), jnp.float32))
        else:
            operands.append(x.value)  # places of entries, and which of them are taken
    return [made.astype(jnp.float32) for made in compute(step, operands)]


def _fan_out(step: Step, place: int, masks: Sequence[Any]) -> jax.Array:
    """Number of outputs that each entry of an operand reaches.

    Args:
      step: a product.
      place: of the operand.
      masks: 1 for each entry of the other operands that counts.
    """
    operand = step.operands[place]
    assert isinstance(operand, Reference)

    def product(x: jax.Array) -> jax.Array:
        (result,) = compute(step, [*masks[:place], x, *masks[place + 1 :]])
        return result

    outputs, pull = jax.vjp(product, jnp.zeros(operand.shape))
    return jnp.rint(pull(jnp.ones_like(outputs))[0])


def _weighted(train: jax.Array, fan_out: jax.Array) -> jax.Array:
    """Additions at each timestep and along the first axis, `[T, n]`."""
    products = jnp.rint(train) * fan_out
    return jnp.sum(products.reshape(*products.shape[:2], -1), -1)
