"""ANN-to-SNN conversion with two-sided spikes, as pure functions in JAX.

The stages, each a function: `convert` maps trained parameters to those of a spiking network,
`simulate` runs it, `accuracy` scores every timestep. The modules hold the parts.
"""

from snnjax.analysis.metrics import accuracy, conversion_loss, latency, spike_rate
from snnjax.conversion.conversion import convert
from snnjax.conversion.threshold_balancing import measure_output_scale, measure_scales
from snnjax.conversion.tracing import Traced, trace
from snnjax.networks.ann import ANN
from snnjax.networks.architecture import Network
from snnjax.networks.known_networks import NET1, NET2
from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, RATE
from snnjax.snn.fast.chunks import prepare_kernels
from snnjax.snn.neurons import DOUBLE_THRESHOLD, DOUBLE_THRESHOLD_HARD, EXACT_CHARGE
from snnjax.snn.readout import ACCUMULATE, COUNT
from snnjax.snn.simulation import Simulation, simulate

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
    "prepare_kernels",
    "simulate",
    "spike_rate",
    "trace",
]

__version__ = "0.1.0"
