"""ANN-to-SNN conversion with two-sided spikes, as pure functions in JAX.

The stages, each a function: `convert` maps trained parameters to those of a spiking network,
`simulate` runs it, `accuracy` scores every timestep. The modules hold the parts.
"""

from snnjax.ann import ANN
from snnjax.architecture import NET1, NET2, Network
from snnjax.conversion import convert
from snnjax.encoding import CONSTANT, DETERMINISTIC, RATE
from snnjax.metrics import accuracy, conversion_loss, latency, spike_rate
from snnjax.neuron import DOUBLE_THRESHOLD, DOUBLE_THRESHOLD_HARD, EXACT_CHARGE
from snnjax.readout import ACCUMULATE, COUNT
from snnjax.scaling import measure_output_scale, measure_scales
from snnjax.simulation import Simulation, prepare, simulate
from snnjax.tracing import Traced, trace

__all__ = [
    "ACCUMULATE",
    "ANN",
    "CONSTANT",
    "COUNT",
    "DETERMINISTIC",
    "DOUBLE_THRESHOLD",
    "DOUBLE_THRESHOLD_HARD",
    "EXACT_CHARGE",
    "NET1",
    "NET2",
    "RATE",
    "Network",
    "Simulation",
    "Traced",
    "accuracy",
    "conversion_loss",
    "convert",
    "latency",
    "measure_output_scale",
    "measure_scales",
    "prepare",
    "simulate",
    "spike_rate",
    "trace",
]

__version__ = "0.1.0"
