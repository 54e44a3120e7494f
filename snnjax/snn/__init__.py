"""Spiking networks: neurons, encodings, noise, readouts, simulation and early exit."""
