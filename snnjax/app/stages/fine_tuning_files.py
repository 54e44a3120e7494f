"""Files of a fine-tuning: whether its folder holds them all, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snnjax.analysis import figures, plots
from snnjax.app.configurations import FineTuneConfig
from snnjax.app.printing import figure_title
from snnjax.app.run_files import digest
from snnjax.io import checkpoint, records

__all__ = ["FILES", "FORMS", "finished", "write_results"]

FORMS = ("before", "fine_tuned", "control")
"""Networks in the record: the converted one; after training through its simulation; and after
as many epochs of its quantised ANN."""

NETWORKS = {"control": "control.safetensors", "fine_tuned": "snn.safetensors"}
"""File of each trained network."""

FILES = ("config.json", "snn.safetensors", "control.safetensors", "finetune.png", "finetune.json")
"""Files of a fine-tuning in the order in which they are written."""


def finished(
    output: Path, config: FineTuneConfig, source: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the record of this fine-tuning if its folder holds all files, or else None.

    Args:
      output: the folder.
      config: of the fine-tuning.
      source: entry "start" of its record.

    Raises:
      ValueError: if the folder holds another run, a network that would be overwritten, or a file
        that has changed since it was written.
    """
    path, *results = (output / name for name in FILES)
    if not path.is_file():
        for network in (file for file in results if file.suffix == ".safetensors"):
            if network.exists():
                raise ValueError(f"{network} would be overwritten; choose another --output folder")
        return None
    found = records.read_json(path)
    if isinstance(found.get("config"), dict):
        # A file of an earlier version lacks the options that have come since.
        found["config"] = {**asdict(FineTuneConfig()), **found["config"]}
    if found != {"config": asdict(config), "start": source}:
        raise ValueError(f"{path} is of another run; choose another --output folder")
    if not all(file.is_file() for file in results):
        return None
    path = output / "finetune.json"
    record = records.read_json(path)
    files = record.get("files", {})  # which a record of an earlier version lacks
    if not {*FORMS, "ann", "config"} <= record.keys() or not isinstance(files, dict):
        raise ValueError(f"{path} is no record of a fine-tuning; choose another --output folder")
    for name, written in files.items():
        if digest(output / name) != written:
            raise ValueError(
                f"{output / name} is not the network that this fine-tuning wrote; put that back,"
                " or delete the file to fine-tune again"
            )
    return record


def write_results(
    output: Path,
    networks: Mapping[str, Any],
    metadata: Mapping[str, Any],
    record: dict[str, Any],
) -> dict[str, Any]:
    """Write the networks, the figure and the record, and remove the files of the progress.

    Args:
      output: the folder.
      networks: parameters of each network of `NETWORKS`.
      metadata: of the converted network.
      record: all entries of the record but "files", the SHA-256 of each file of a network.

    Returns:
      The record that was written.

    Raises:
      OSError: if a file cannot be written.
    """
    for form, name in NETWORKS.items():
        own = {**metadata, "finetuned": {"form": form, **record["config"]}}
        checkpoint.save(output / name, networks[form], kind="snn", metadata=own)
    curves = {form.replace("_", "-"): [100 * a for a in record[form]["accuracy"]] for form in FORMS}
    figure = plots.accuracy_against_time(
        curves, ann={"ANN": 100 * record["ann"]["trained"]}, title=figure_title(record)
    )
    figures.save(figure, output / "finetune.png")
    digests = {name: digest(output / name) for name in NETWORKS.values()}
    record = {**record, "files": digests}
    records.write_json(output / "finetune.json", record)
    if checkpoint.is_writer():
        for form in networks:
            (output / f"{form}.training.safetensors").unlink(missing_ok=True)
    return record
