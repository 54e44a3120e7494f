"""Neurons, one file for each; `base` defines a neuron model.

A neuron is a `NeuronModel`, a pair of pure functions. Its parameters are `NeuronParams`, a
pytree, so `jax.vmap` runs over thresholds, leaks and initial potentials.
"""

from snnjax.snn.neurons.augmented import AUGMENTED
from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, make_params
from snnjax.snn.neurons.double_threshold import DOUBLE_THRESHOLD
from snnjax.snn.neurons.double_threshold_hard import DOUBLE_THRESHOLD_HARD
from snnjax.snn.neurons.exact_charge import EXACT_CHARGE
from snnjax.snn.neurons.floored_hard import FLOORED_HARD
from snnjax.snn.neurons.integrate_and_fire import INTEGRATE_AND_FIRE
from snnjax.snn.neurons.offset import OFFSET
from snnjax.snn.neurons.residual_mask import RESIDUAL_MASK
from snnjax.snn.neurons.signed_memory import SIGNED_MEMORY

__all__ = [
    "AUGMENTED",
    "DOUBLE_THRESHOLD",
    "DOUBLE_THRESHOLD_HARD",
    "EXACT_CHARGE",
    "FLOORED_HARD",
    "INTEGRATE_AND_FIRE",
    "NEURONS",
    "OFFSET",
    "RESIDUAL_MASK",
    "SIGNED_MEMORY",
    "MembraneState",
    "NeuronModel",
    "NeuronParams",
    "make_params",
]

NEURONS: dict[str, NeuronModel] = {
    "double-threshold": DOUBLE_THRESHOLD,
    "double-threshold-hard": DOUBLE_THRESHOLD_HARD,
    "exact-charge": EXACT_CHARGE,
    "integrate-and-fire": INTEGRATE_AND_FIRE,
    "augmented": AUGMENTED,
    "signed-memory": SIGNED_MEMORY,
    "floored-hard": FLOORED_HARD,
    "residual-mask": RESIDUAL_MASK,
    "offset": OFFSET,
}
"""Neurons by name; the command line offers these."""
