"""Training with rounded weights: the ANN computes with the weights of the integer network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.conversion.conversion import convert
from snnjax.conversion.quantised_weights import bits_by_path, weight_names
from snnjax.conversion.unit_groups import Groups, Member, group_members
from snnjax.conversion.units import find_units
from snnjax.conversion.weight_units import BIASES, BITS, FINEST, SHARES
from snnjax.networks import architecture as arch
from snnjax.networks.parameters import check_layered

__all__ = ["round_weights"]

Variables = dict[str, Any]
Params = dict[str, Any]

SLACK = 1e-5
"""Share by which a quotient may exceed a whole number by rounding, and still count as this one."""


def round_weights(
    network: arch.Network,
    variables: Mapping[str, Any],
    bits: int | Mapping[str, int] = BITS,
) -> Variables:
    """Return variables whose weights and biases are those of an integer network.

    A weight is s K with a whole K of at most 2^(bits-1) - 1, and s is one number for each output
    channel, or for all where `quantise` needs one. `convert` and then `quantise` with the same bits
    find the same K. The gradient passes as if nothing were rounded, so a training loop that calls
    this function on its variables before the ANN trains for whole weights:

        logits = ANN(network.layers).apply(round_weights(network, variables, 4), images)

    Source: the straight-through gradient of Bengio et al. 2013.
    Choice: s has the least squared error of the weights: the best of 16 values from
    max|W| / (2^(bits-1) - 1) to a quarter of it gives the K, and these give s. With the largest
    value alone, Net2 reaches 75 % at 2 bits where it reaches 99 % so.
    Choice: s divides the threshold of the neurons, so that the whole threshold is exact. All is
    rounded behind batch norm with its running statistics, behind a normalisation of the image, and
    in units of spikes, as it is in the integer network. The synapses of a shortcut without weights
    count in the choice of s but stay 1.

    Args:
      network: the architecture of the ANN, whose activations are bounded.
      variables: the collection "params" and, with batch normalisation, "batch_stats"; may be
        traced.
      bits: of the weights, sign included, 2 to 16; or by path of their layer, 8 for others.

    Raises:
      ValueError: as `convert`, if a path or a number of bits is not, a layer is a Concat, or
        weights behind weights end in a sum.
    """
    check_layered(network)
    groups = group_members(network, bits_by_path(network, bits))
    exact = convert(network, jax.lax.stop_gradient(dict(variables)))["layers"]
    units = {name: _choose_unit(members, exact) for name, members in groups.items()}
    params = variables["params"]
    for name, members in groups.items():
        for path, member in members.items():
            if not member.bare:
                own = _round_kernels(params, exact, units[name], path, member)
                params = _replaced(params, path, own)
    return _round_biases(network, {**variables, "params": params}, groups, units)


def _choose_unit(members: Mapping[str, Member], exact: Params) -> jax.Array:
    """Unit of a group, a scalar or one for each channel: that of the least squared error."""
    some = next(iter(members.values()))
    pairs = [
        (values, member)
        for path, member in members.items()
        for values in _fine(exact, path, member)
    ]

    def total(values: Callable[[jax.Array, Member], jax.Array]) -> jax.Array:
        sums = [_over_inputs(jnp.sum, values(*pair), some.shared) for pair in pairs]
        return reduce(jnp.add, sums)

    def error(unit: jax.Array) -> jax.Array:
        return total(lambda fine, member: jnp.square(unit * _nearest(fine, unit, member) - fine))

    largest = reduce(jnp.maximum, [
        _over_inputs(jnp.max, jnp.abs(fine), some.shared) / member.most
        for fine, member in pairs if not member.bare
    ])  # fmt: skip
    least = jnp.max(largest) * FINEST
    largest = jnp.where(largest > 0, jnp.maximum(largest, least), jnp.max(largest))
    largest = jnp.where(largest > 0, largest, 1 / BIASES)
    units = jnp.asarray(SHARES).reshape(-1, *[1] * largest.ndim) * largest
    best = jnp.argmin(jax.lax.map(error, units), 0)
    unit = jnp.take_along_axis(units, best[None], 0)[0]
    # The best unit of these whole weights; without it units would jump from step to step.
    squares = total(lambda fine, member: jnp.square(_nearest(fine, unit, member)))
    products = total(lambda fine, member: fine * _nearest(fine, unit, member))
    unit = jnp.where(squares > 0, products / jnp.maximum(squares, 1.0), unit)
    unit = jnp.clip(unit, least, largest)
    if some.neurons and all(member.source is not None for member in members.values()):
        return 1 / jnp.maximum(jnp.round(1 / unit), jnp.ceil((1 - SLACK) / largest))
    return unit


def _fine(exact: Params, path: str, member: Member) -> list[jax.Array]:
    """Weights in spikes and pixels as whole numbers, in thresholds of the neurons at the end."""
    factor = (1.0 if member.source is None else member.source) / member.windows
    found = arch.inside(exact, path)
    if member.bare:
        return [jnp.reshape(found, (1, -1)) * factor]
    return [found[name] * factor for name in weight_names(found)]


def _over_inputs(reduction: Callable[..., jax.Array], values: jax.Array, shared: bool) -> jax.Array:
    """Reduce over all axes but that of the channels, or over all if they share one unit."""
    return reduction(values, axis=None if shared else tuple(range(values.ndim - 1)))


def _nearest(values: jax.Array, unit: jax.Array, member: Member) -> jax.Array:
    """Weights as whole numbers."""
    return jnp.clip(jnp.round(values / unit), -member.most, member.most)


def _round_kernels(
    params: Params, exact: Params, unit: jax.Array, path: str, member: Member
) -> Params:
    """Arrays of a layer in the ANN with rounded weights; their gradient is that of the weights."""
    own = dict(arch.inside(params, path))
    names = weight_names(arch.inside(exact, path))
    for name, fine in zip(names, _fine(exact, path, member), strict=True):
        share = unit * _nearest(fine, unit, member) / jnp.where(fine == 0, 1.0, fine)
        own[name] = _straight_through(own[name], own[name] * share)
    return own


def _round_biases(
    network: arch.Network, variables: Variables, groups: Groups, units: Mapping[str, jax.Array]
) -> Variables:
    """Round the sum of each layer's bias and what normalisations add to it."""
    fixed = jax.lax.stop_gradient(variables)
    exact, charges = convert(network, fixed)["layers"], find_units(network, fixed)
    params = variables["params"]
    for name, members in groups.items():
        for path, member in members.items():
            holder = member.norm or path
            if member.bare or member.source is None or "bias" not in arch.inside(params, holder):
                continue
            bias = arch.inside(exact, path)["bias"]
            unit = units[name] * member.windows
            charge = charges[member.neurons].charge if member.neurons else 1.0
            change = (jnp.round(bias / unit) * unit - bias) * charge
            own = arch.inside(params, holder)
            params = _replaced(params, holder, {**own, "bias": own["bias"] + change})
    return {**variables, "params": params}


def _straight_through(value: jax.Array, rounded: jax.Array) -> jax.Array:
    """`rounded`, whose gradient is that of `value`."""
    return jax.lax.stop_gradient(rounded) + (value - jax.lax.stop_gradient(value))


def _replaced(params: Params, path: str, own: Params) -> Params:
    """Parameters with other arrays of the layer at a path."""
    name, _, rest = path.partition("/")
    return {**params, name: _replaced(params[name], rest, own) if rest else own}
