"""ANN-to-SNN conversion with ternary spikes, as pure functions in JAX.

The stages, each a function: `trace` reads a trained model, `convert` maps its parameters to those
of a spiking network, `simulate` runs it, `accuracy` scores every timestep. The rooms below hold
the parts.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnjax.analysis.metrics import accuracy, conversion_loss, latency, spike_rate
    from snnjax.conversion.conversion import convert
    from snnjax.conversion.pruning import find_silent_channels, prune_channels
    from snnjax.conversion.quantisation import quantise
    from snnjax.conversion.rounded_weights import round_weights
    from snnjax.conversion.spiking import Spiking, spike
    from snnjax.conversion.threshold_balancing import measure_output_scale, measure_scales
    from snnjax.conversion.tracing import Traced, trace
    from snnjax.io.keras_import import from_keras
    from snnjax.io.torch_import import from_torch
    from snnjax.networks.ann import ANN
    from snnjax.networks.architecture import Network
    from snnjax.networks.known_networks import NET1, NET2
    from snnjax.snn import surrogates
    from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, RATE
    from snnjax.snn.engine import Simulation
    from snnjax.snn.fast.chunks import prepare_kernels
    from snnjax.snn.neurons import DOUBLE_THRESHOLD, DOUBLE_THRESHOLD_HARD, EXACT_CHARGE
    from snnjax.snn.readout import ACCUMULATE, COUNT
    from snnjax.snn.simulation import simulate

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
    "Spiking",
    "Traced",
    "accuracy",
    "conversion_loss",
    "convert",
    "find_silent_channels",
    "from_keras",
    "from_torch",
    "latency",
    "measure_output_scale",
    "measure_scales",
    "prepare_kernels",
    "prune_channels",
    "quantise",
    "round_weights",
    "simulate",
    "spike",
    "spike_rate",
    "surrogates",
    "trace",
]

__version__ = "0.1.0"

_MODULES = {
    "analysis.metrics": ("accuracy", "conversion_loss", "latency", "spike_rate"),
    "conversion.conversion": ("convert",),
    "conversion.pruning": ("find_silent_channels", "prune_channels"),
    "conversion.quantisation": ("quantise",),
    "conversion.rounded_weights": ("round_weights",),
    "conversion.spiking": ("Spiking", "spike"),
    "conversion.threshold_balancing": ("measure_output_scale", "measure_scales"),
    "conversion.tracing": ("Traced", "trace"),
    "io.keras_import": ("from_keras",),
    "io.torch_import": ("from_torch",),
    "networks.ann": ("ANN",),
    "networks.architecture": ("Network",),
    "networks.known_networks": ("NET1", "NET2"),
    "snn": ("surrogates",),
    "snn.encoding": ("CONSTANT", "DETERMINISTIC", "RATE"),
    "snn.fast.chunks": ("prepare_kernels",),
    "snn.neurons": ("DOUBLE_THRESHOLD", "DOUBLE_THRESHOLD_HARD", "EXACT_CHARGE"),
    "snn.readout": ("ACCUMULATE", "COUNT"),
    "snn.engine": ("Simulation",),
    "snn.simulation": ("simulate",),
}
"""The public names by the module that defines each: the imports above, made when they are used."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): `import snnjax` imports no JAX."""
    for module, names in _MODULES.items():
        if name in names:
            found = importlib.import_module(f"snnjax.{module}")
            if not hasattr(found, name):  # a module in it
                importlib.import_module(f"snnjax.{module}.{name}")
            value = getattr(found, name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'snnjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
