"""Architectures: layers, activations, known networks, their Flax module and their JSON."""
