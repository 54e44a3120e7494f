"""Models of other libraries: a function of JAX read as a network of this package."""

from snnjax.conversion.tracing.reading import Traced, trace

__all__ = ["Traced", "trace"]
