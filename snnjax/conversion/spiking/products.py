"""Multiply-accumulates of products, from their shapes."""

from __future__ import annotations

import math

import numpy as np

from snnjax.conversion.spiking.program import Step
from snnjax.conversion.tracing.jaxpr_walk import Known

__all__ = ["count_products"]


def count_products(step: Step) -> int:
    """Return the number of multiply-accumulates of a product, weights that are 0 included.

    Entries that a convolution pads are no operands.

    Args:
      step: one of `operations.PRODUCTS`.
    """
    shapes = [np.shape(x.value) if isinstance(x, Known) else x.shape for x in step.operands]
    params, (output,) = step.equation.params, step.outputs
    numbers = params["dimension_numbers"]
    if step.kind == "dot_general":
        ((contracted, _), _) = numbers
        return math.prod(output.shape) * math.prod(shapes[0][axis] for axis in contracted)
    image, kernel = shapes
    features, channels, *extents = numbers.rhs_spec
    count = output.shape[numbers.out_spec[0]] * kernel[features] * kernel[channels]
    for place, (of_image, of_output, of_kernel) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.out_spec[2:], extents, strict=True)
    ):
        first = np.arange(output.shape[of_output]) * params["window_strides"][place]
        first -= params["padding"][place][0]
        read = first[:, None] + np.arange(kernel[of_kernel]) * params["rhs_dilation"][place]
        apart = params["lhs_dilation"][place]  # entries between two of the image are 0
        inside = (read >= 0) & (read <= (image[of_image] - 1) * apart) & (read % apart == 0)
        count *= int(inside.sum())
    return count
