"""Measurements of simulations: metrics, conversion error, operations, energy; tables and plots."""
