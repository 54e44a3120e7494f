"""`snnjax data prepare`."""

from __future__ import annotations

from pathlib import Path

from snnjax.app import printing
from snnjax.io import preparation

__all__ = ["prepare"]


def prepare(name: str, /, *, source: Path | None = None, data_dir: Path | None = None) -> None:
    """Download a data set and prepare it, without TensorFlow.

    Parameters
    ----------
    name
        mnist, fashion_mnist or cifar10
    source
        folder with the original files, instead of a download
    data_dir
        folder of prepared data sets [default: TFDS_DATA_DIR, or ~/tensorflow_datasets]
    """
    printing.print_prepared(preparation.prepare(name, source=source, data_dir=data_dir))
