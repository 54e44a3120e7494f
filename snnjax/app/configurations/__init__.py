"""Options of every stage as frozen dataclasses, which check their values when they are made."""

from snnjax.app.configurations.conversion import ConvertConfig
from snnjax.app.configurations.fine_tuning import FineTuneConfig
from snnjax.app.configurations.methods import (
    resolve_conversion,
    resolve_for_network,
    resolve_simulation,
    resolve_training,
)
from snnjax.app.configurations.readout import ReadoutConfig
from snnjax.app.configurations.simulation import DEFAULT_ENCODING, DEFAULT_NEURON, SimulateConfig
from snnjax.app.configurations.training import ImportedConfig, TrainConfig, recorded_training

__all__ = [
    "DEFAULT_ENCODING",
    "DEFAULT_NEURON",
    "ConvertConfig",
    "FineTuneConfig",
    "ImportedConfig",
    "ReadoutConfig",
    "SimulateConfig",
    "TrainConfig",
    "recorded_training",
    "resolve_conversion",
    "resolve_for_network",
    "resolve_simulation",
    "resolve_training",
]
