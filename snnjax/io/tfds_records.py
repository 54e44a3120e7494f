"""Records of prepared TensorFlow Datasets (TFDS), read without TensorFlow.

Reading a whole split takes seconds: raw records are parsed and decoded with Pillow, in half the
time of TFDS's own decoding.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from snnjax.io.splits import Split

__all__ = [
    "default_data_dir",
    "find_builder",
    "import_tfds",
    "is_readable",
    "read_split",
    "without_absl_log",
]

_CHUNK = 1000  # records that are read at once: a visible step of the progress bar, below 10 MB


def default_data_dir(data_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder given, else TFDS_DATA_DIR, else TFDS's own default."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def import_tfds() -> Any:
    """Import the interface of TFDS, and check that the packages that read its records are there.

    `tensorflow_datasets` itself hides an error of its imports, and then lacks most names.

    Raises:
      ImportError: if a package is missing, with the command that installs it.
    """
    with _naming_missing_packages(), without_absl_log():
        import PIL.Image  # noqa: F401
        from array_record.python import array_record_module  # noqa: F401
        from tensorflow_datasets import public_api
    return public_api


@contextlib.contextmanager
def _naming_missing_packages() -> Iterator[None]:
    """Raise an ImportError with the command that installs the package that an import lacks."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f'MNIST and CIFAR-10 need the package {error.name}: pip install "snnjax[data]" '
            "(mnist5k does not)"
        ) from error


def find_builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """Return TFDS's builder of one data set, which may not be prepared.

    Raises:
      ImportError: if TFDS is not installed.
      ValueError: if the prepared folder's description cannot be read.
    """
    tfds, folder = import_tfds(), default_data_dir(data_dir)
    with _naming_missing_packages(), without_absl_log():
        try:
            return tfds.builder(name, data_dir=folder)
        except ImportError:
            raise
        except Exception as error:  # TFDS wraps whatever its JSON files raise
            raise ValueError(
                f"cannot read the description of {name} in {folder / name}: {_one_line(error)}"
            ) from error


def is_readable(builder: Any) -> bool:
    """Return True if a data set is prepared in the format that needs no TensorFlow."""
    with without_absl_log():
        formats = builder.info.available_file_formats() if builder.is_prepared() else ()
        return "array_record" in {file_format.value for file_format in formats}


@contextlib.contextmanager
def without_absl_log() -> Iterator[None]:
    """Silence absl: TFDS and array_record log harmless lines that look like errors."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def read_split(builder: Any, split: str) -> Split:
    """Read one split of a prepared data set, in the record order of TFDS.

    Raises:
      ImportError: if a package that decodes them is missing.
      ValueError: if the split is empty or its files are damaged.
    """
    where = f"{builder.name} split {split!r} in {builder.data_path}"
    expected = builder.info.splits[split].num_examples if split in builder.info.splits else 0
    if not expected:
        raise ValueError(f"{where} is empty: want at least one image")
    try:
        with _naming_missing_packages(), without_absl_log():
            found = _count_records(builder.info.splits[split].filepaths)
            if found == expected:
                return _decode_split(builder, split, expected)
        problem = f"want {expected} records, found {found}"
    except ImportError:
        raise
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
    """Return the image `[H, W, C]` and the label of one record."""
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    fields = tf_example_pb2.Example.FromString(record).features.feature
    with Image.open(io.BytesIO(fields["image"].bytes_list.value[0])) as image:
        return np.asarray(image).reshape(shape), fields["label"].int64_list.value[0]


def _one_line(error: BaseException) -> str:
    """Return the message of another package's error on one line."""
    return " ".join(str(error).split()) or type(error).__name__
