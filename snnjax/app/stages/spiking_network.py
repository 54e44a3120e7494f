"""The converted network that a simulation, its energy or an exported program starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from snnjax.app.configurations import SimulateConfig, resolve_for_network
from snnjax.app.run_files import load_network
from snnjax.networks.architecture import Network
from snnjax.snn.readout import leaky_layer

__all__ = ["load_for_simulation"]


def load_for_simulation(
    snn: Path, config: SimulateConfig
) -> tuple[Network, dict[str, Any], dict[str, Any], SimulateConfig]:
    """Load a network and fit a simulation to it.

    Args:
      snn: the file of a conversion.
      config: how to simulate; options may be open.

    Returns:
      The network; its parameters, with the leaky layer that `config.readout` needs; the metadata
      of the file; and the configuration, in which every open option has its value.

    Raises:
      FileNotFoundError: if there is no file `snn`.
      ValueError: if it is no converted network, or the simulation does not fit it.
    """
    network, params, metadata = load_network(snn)
    config = resolve_for_network(config, metadata)
    config.check_steps(network)
    return network, _with_readout(params, metadata, config, snn), metadata, config


def _with_readout(
    params: dict[str, Any], metadata: dict[str, Any], config: SimulateConfig, snn: Path
) -> dict[str, Any]:
    """Return the parameters in the file `snn` with the leaky layer that `config.readout` needs.

    "leaky" takes identity weights even if other ones were learnt, with the leak and threshold in
    the file.

    Raises:
      ValueError: if the file has no leaky layer, or "stdp" needs one that learnt and it did not.
    """
    if config.readout not in ("leaky", "stdp"):
        return params
    layer, rule = params.get("readout"), "nothing"
    if layer is not None:
        rule = metadata["readout"]["config"]["readout_rule"]
    if layer is None or (config.readout == "stdp" and rule == "nothing"):
        more = "" if config.readout == "stdp" else " --readout-rule nothing"
        raise ValueError(
            f"{snn} has no {'learnt' if config.readout == 'stdp' else 'leaky'} layer; make one with"
            f" snnjax learn {snn}{more}"
        )
    if config.readout == "leaky":
        classes = len(layer["weights"])
        layer = leaky_layer(jnp.eye(classes), leak=layer["leak"], threshold=layer["threshold"])
    return {**params, "readout": layer}
