"""Sites: the values of a program that are sent as spikes."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from snnjax.conversion.spiking.operations import (
    LAYOUT,
    LINEAR,
    MONOTONE,
    PRODUCTS,
    is_elementwise,
    is_product,
)
from snnjax.conversion.spiking.program import RecordedFunction, Reference, Step
from snnjax.conversion.tracing.jaxpr_walk import Known, refuse

__all__ = ["Site", "fed_by", "find_sites", "makers_of", "passes_spikes"]

AFFINE = {"add", "add_any", "div", "mul", "sub"}
"""Operations through which spikes pass if the other operand is known."""


class Site(NamedTuple):
    """A population of neurons.

    name: the user's module whose output the neurons represent, after its transfer function.
    value: what the neurons represent.
    step: the operation that makes the value.
    transfer: operations between the last product, sum or statistic and the value; each neuron
      computes them on its own charge.
    readers: modules whose products read the spikes.
    """

    name: str
    value: Reference
    step: Step
    transfer: tuple[Step, ...]
    readers: tuple[str, ...]


Makers = dict[int, Step]
"""The step that makes each value, by the number of the value."""


def makers_of(program: RecordedFunction) -> Makers:
    """Return the step that makes each value."""
    return {made.number: step for step in program.steps for made in step.outputs}


def passes_spikes(step: Step) -> bool:
    """Return True if spikes pass the operation: it moves entries, adds them, scales them by known
    numbers or chooses the largest.
    """
    if not all(jnp.issubdtype(of.dtype, jnp.floating) for of in (*step.reads, *step.outputs)):
        return False
    if step.kind in AFFINE:
        # A known number divided by an activation is no linear function of it.
        return len(step.reads) == 1 and (step.kind != "div" or isinstance(step.operands[1], Known))
    if step.kind in PRODUCTS:
        return not is_product(step)
    if step.kind == "select_n":
        return isinstance(step.operands[0], Known)
    return step.kind in LAYOUT | LINEAR | MONOTONE


def find_sites(program: RecordedFunction) -> tuple[Site, ...]:
    """Return the sites of a program, in the order of computation.

    A site is a value that a product reads, followed back to where it was made: spikes pass some
    operations without neurons, see `passes_spikes`. A value that several products read is one
    site. The input is none: it comes as a current, or as an encoding's spikes.

    Raises:
      ValueError: if the function has no product that reads something that depends on the input,
        or a site's values are no floats.
    """
    makers = makers_of(program)
    readers: dict[int, list[str]] = {}
    products = [step for step in program.steps if is_product(step)]
    if not products:
        raise ValueError("apply has no weight product that reads the input: nothing would spike")
    for step in products:
        for operand in step.reads:
            for value in _made_before(operand, makers):
                if value.number:
                    readers.setdefault(value.number, []).append(step.module or step.kind)
    names: dict[str, int] = {}
    sites = []
    for number in sorted(readers):
        step = makers[number]
        (value,) = (made for made in step.outputs if made.number == number)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            refuse(
                step.operation,
                f"a product reads it, and it is {value.dtype}; want floats, such as astype gives of"
                " integers, or the real and the imaginary part in products of their own",
            )
        origin, transfer = _transfer(value, makers)
        name = _unique(_name(makers.get(origin.number, step), makers), names)
        readers_of = tuple(dict.fromkeys(readers[number]))
        sites.append(Site(name, value, step, transfer, readers_of))
    return tuple(sites)


def fed_by(program: RecordedFunction, sites: tuple[Site, ...]) -> set[int]:
    """Return the numbers of the values that depend on spikes.

    Args:
      program: of the function.
      sites: those with neurons.
    """
    fed = {site.value.number for site in sites}
    for step in program.steps:
        if not fed.isdisjoint(value.number for value in step.reads):
            fed |= {value.number for value in step.outputs}
    return fed


def _made_before(value: Reference, makers: Makers) -> set[Reference]:
    """Follow a value back through operations that spikes pass."""
    pending, ends = [value], set()
    while pending:
        value = pending.pop()
        step = makers.get(value.number)
        if step is not None and passes_spikes(step):
            pending.extend(_read_for(value, step))
        else:
            ends.add(value)
    return ends


def _read_for(value: Reference, step: Step) -> tuple[Reference, ...]:
    """Return what a step reads to make one of its outputs."""
    if step.kind == "optimization_barrier":
        operand = step.operands[step.outputs.index(value)]
        return (operand,) if isinstance(operand, Reference) else ()
    return step.reads


def _transfer(value: Reference, makers: Makers) -> tuple[Reference, tuple[Step, ...]]:
    """Return the value that a site's value is a function of entry by entry, and the operations.

    It is the nearest value of the same shape from which all paths lead to the site through
    operations entry by entry.
    """
    operations: list[Step] = []
    frontier = {value.number: value}
    best: tuple[Reference, tuple[Step, ...]] = value, ()
    while frontier:
        latest = frontier.pop(max(frontier))
        if not frontier:
            best = latest, tuple(reversed(operations))
        step = makers.get(latest.number)
        if step is None or not is_elementwise(step, value.shape):
            break
        operations.append(step)
        frontier |= {of.number: of for of in step.reads}
    return best


def _name(step: Step, makers: Makers) -> str:
    """Return the module of a step, or of the first named one before it that only layout parts it
    from; else the operation.
    """
    source: Step | None = step
    while source is not None and not source.module and source.kind in LAYOUT:
        source = makers.get(source.reads[0].number)
    return (source.module if source is not None else "") or step.kind


def _unique(name: str, names: dict[str, int]) -> str:
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name}:{names[name]}"
