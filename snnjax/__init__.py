"""ANN-to-SNN conversion with two-sided spikes, as pure functions in JAX."""

__version__ = "0.1.0"
