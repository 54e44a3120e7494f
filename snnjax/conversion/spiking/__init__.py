"""Any function of JAX as a spiking network.

At every timestep the function is evaluated once, on the mean input so far. Every value that a
weight product reads is sent as spikes: it is replaced by theta * S / E, where the spike count S
moves by at most one per timestep, and E counts the timesteps with input.
"""

from snnjax.conversion.spiking.spike import Spiking, spike

__all__ = ["Spiking", "spike"]
