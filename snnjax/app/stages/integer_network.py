"""Stages of a quantised network: its file for hardware, and the report of its sizes."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from snnjax.analysis import layer_tables
from snnjax.analysis.integer_sizes import measure_sizes, size_table
from snnjax.app.configurations import SimulateConfig, resolve_for_network
from snnjax.app.run_files import image_shape, load_network
from snnjax.io import integer_export, records
from snnjax.io.checkpoint import check_writable, write_whole
from snnjax.snn.whole_numbers import is_integer

__all__ = ["export_integers", "report_sizes"]

FLOAT_BYTES = 4
"""Bytes of a weight in float32."""


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


def report_sizes(snn: Path, num_steps: int, output: Path) -> Table:
    """Write the sizes of the network in the file `snn` to `report.json` and `report.html`.

    Args:
      snn: the file of a quantisation.
      num_steps: T, which the bits of sums depend on.
      output: folder for the files.

    Returns:
      The table in `report.html`.

    Raises:
      FileNotFoundError: if there is no file `snn`.
      ValueError: if it holds no integer network.
      OSError: if `output` cannot be written.
    """
    check_writable(output / "report.json", output / "report.html")
    network, params, metadata = load_network(snn)
    if not is_integer(params):
        raise ValueError(
            f"{snn} is a converted network with float weights; want ann.safetensors of a training,"
            " or snn.safetensors of snnjax quantise"
        )
    sizes = measure_sizes(network, params, image_shape(metadata), num_steps=num_steps)
    floats, facts = FLOAT_BYTES * sizes.weights, sizes._asdict()
    structure = [row._asdict() for row in facts.pop("rows")]
    record = {
        "config": {"num_steps": num_steps},
        "conversion": metadata["config"],
        "training": metadata["trained"]["config"],
        "structure": structure,
        **facts,
        "float_bytes": floats,
        **records.provenance(),
    }
    records.write_json(output / "report.json", record)
    table = size_table(
        sizes,
        f"{network.name}: sizes in whole numbers, T = {num_steps};"
        f" {sizes.weight_bytes:,} bytes of weights, {floats:,} in 32-bit floats",
        dict(network.user_names),
    )
    write_whole(output / "report.html", layer_tables.as_html([table]).encode())
    return table
