"""A user's own data set: an .npz file, or a folder of images by class."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snnjax.io import array_cache, image_folder, npz_data
from snnjax.io.npz_data import Contents
from snnjax.io.splits import Split, hold_out, random_order, take

__all__ = ["OwnData", "read"]

TEST_SHARE = 5
"""Choice: one image in five of every class is a test image where the data have no test part."""

SEED = 0
"""Of the order of the images, and of which are test images; another seed is another data set."""


class OwnData(NamedTuple):
    """Images of a user.

    train, test: the parts, each in a fixed random order, so that the first n images are of all
    classes; class_names: by label; sha256: of the file, or of all names and files of the folder.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    sha256: str


def read(path: Path) -> OwnData:
    """Read and check the data at a path.

    Raises:
      FileNotFoundError: if there is nothing.
      ValueError: if it is neither an .npz file nor a folder, or as `npz_data.read`,
        `image_folder.find` and `image_folder.decode`; if the parts differ in classes or in the
        shape of their images, or a class has no training image.
    """
    if path.is_dir():
        contents, sha256 = _read_folder(path)
    elif not path.exists():
        raise FileNotFoundError(f"no data at {path}; want an .npz file or a folder of images")
    elif path.suffix.lower() == ".npz":
        contents = npz_data.read(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        raise ValueError(f"{path} is neither an .npz file nor a folder of images")
    _check_classes(path, "training", contents.train, contents.class_names)
    train, test = contents.train, contents.test
    if test is None:
        train, test = _hold_out_test(path, train)
    _check_classes(path, "test", test, contents.class_names)
    if test.images.shape[1:] != train.images.shape[1:]:
        raise ValueError(
            f"{path} has training images of shape {train.images.shape[1:]} and test images of"
            f" {test.images.shape[1:]}; want one shape"
        )
    return OwnData(_shuffle(train), _shuffle(test), contents.class_names, sha256)


def _read_folder(path: Path) -> tuple[Contents, str]:
    """Return the contents of a folder and their SHA-256; decoded images are kept by it."""
    parts = image_folder.find(path)
    names = {part: tuple(classes) for part, classes in parts.items()}
    first, *others = names.values()
    for other in others:
        if odd := sorted(set(first) ^ set(other)):
            raise ValueError(
                f"{path} has class {odd[0]!r} in one of train and test only; want the same classes"
                " in both"
            )
    sha256 = image_folder.digest(path, parts)
    train, *rest = (
        array_cache.load_or_build(
            f"own-{sha256[:32]}-{part}",
            lambda part=part, classes=classes: image_folder.decode(classes, f"{path.name} {part}"),  # type: ignore[misc]
        )
        for part, classes in parts.items()
    )
    return Contents(train, rest[0] if rest else None, first), sha256


def _check_classes(path: Path, part: str, split: Split, names: tuple[str, ...]) -> None:
    """Refuse a part whose labels are not exactly those of the classes, or a single class."""
    if len(names) < 2:
        raise ValueError(f"{path} has one class, {names[0]}; want at least two")
    found = set(np.unique(split.labels).tolist())
    if odd := sorted(found - set(range(len(names)))):
        raise ValueError(f"{path} has {part} images of class {odd[0]}, but no training image of it")
    missing = sorted(set(range(len(names))) - found)
    if missing:
        raise ValueError(
            f"{path} has no {part} image of class {names[missing[0]]}; want some of every class,"
            " numbered from 0 without gaps"
        )


def _hold_out_test(path: Path, split: Split) -> tuple[Split, Split]:
    """Divide the only part into training and test images."""
    if np.bincount(split.labels).min() < TEST_SHARE:
        raise ValueError(
            f"{path} has no test part and a class of fewer than {TEST_SHARE} images; want"
            f" {TEST_SHARE} of every class, or a test part"
        )
    return hold_out(split, math.ceil(len(split.labels) / TEST_SHARE), seed=SEED)


def _shuffle(split: Split) -> Split:
    return take(split, random_order(len(split.labels), SEED))
