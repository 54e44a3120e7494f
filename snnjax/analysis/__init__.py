"""Metrics, conversion error, synaptic operations, energy and plots."""
