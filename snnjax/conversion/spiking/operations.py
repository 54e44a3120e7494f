"""Operations of JAX by what they mean for spikes."""

from __future__ import annotations

from snnjax.conversion.spiking.program import Reference, Step
from snnjax.conversion.tracing.jaxpr_walk import Known

__all__ = [
    "ELEMENTWISE",
    "LAYOUT",
    "LINEAR",
    "MONOTONE",
    "PRODUCTS",
    "is_elementwise",
    "is_product",
]

PRODUCTS = {"dot_general", "conv_general_dilated"}
"""Products. Their operands are sent as spikes."""

LAYOUT = {
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "dynamic_slice",
    "expand_dims", "gather", "optimization_barrier", "pad", "reshape", "rev", "sharding_constraint",
    "slice", "split", "squeeze", "transpose",
}  # fmt: skip
"""Operations that move entries. Spikes pass them."""

LINEAR = {"cumsum", "neg", "reduce_sum", "reduce_window_sum", "scatter-add"}
"""Operations without parameters that add entries. Spikes pass them as through a synapse."""

MONOTONE = {"reduce_max", "reduce_min", "reduce_window_max", "reduce_window_min"}
"""Operations that choose entries by size. The largest of several spike counts moves by at most one
per timestep, so it is a spike train itself, and no neurons are needed behind it."""

ELEMENTWISE = {
    "abs", "add", "add_any", "and", "atan2", "cbrt", "ceil", "clamp", "convert_element_type",
    "copy", "copy_p", "cos", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1",
    "floor", "ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max",
    "min", "mul", "ne", "neg", "not", "or", "pow", "reduce_precision", "rem", "round", "rsqrt",
    "select_n", "sign", "sin", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor",
}  # fmt: skip
"""Operations entry by entry."""


def is_elementwise(step: Step, shape: tuple[int, ...]) -> bool:
    """Return True if each entry of an operation's output of that shape is a function of the same
    entry of its operands.
    """
    return step.kind in ELEMENTWISE and all(
        x.shape == shape for x in step.operands if isinstance(x, Reference)
    )


def is_product(step: Step) -> bool:
    """Return True for products of activations with weights or with each other.

    A product with numbers that come from no parameter, such as a bilinear resize, is none: spikes
    pass it as they pass a mean pooling.
    """
    sources = (x.sources for x in step.operands if isinstance(x, Known))
    return step.kind in PRODUCTS and (len(step.reads) == 2 or any(sources))
