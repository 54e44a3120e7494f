"""Stages of a quantised network: its file for hardware, and the report of its sizes."""

from __future__ import annotations

from pathlib import Path

from snnjax.app.configurations import SimulateConfig, resolve_for_network
from snnjax.app.run_files import image_shape, load_network
from snnjax.io import integer_export
from snnjax.io.checkpoint import check_writable

__all__ = ["export_integers"]


def export_integers(snn: Path, neuron: str | None, output: Path) -> str:
    """Write the network in the file `snn` as arrays of whole numbers.

    Args:
      snn: the file of a quantisation.
      neuron: of the hidden layers; None for that of the network's method, or exact-charge.
      output: the file to write.

    Returns:
      The neuron.

    Raises:
      FileNotFoundError: if there is no file `snn`.
      ValueError: as `integer_export.to_arrays`, or if the network is calibrated for another neuron.
      OSError: if `output` cannot be written.
    """
    check_writable(output)
    network, params, metadata = load_network(snn)
    chosen = str(resolve_for_network(SimulateConfig(neuron=neuron), metadata).neuron)
    shape = image_shape(metadata)
    integer_export.write(output, network, params, shape, neuron=chosen)
    return chosen
