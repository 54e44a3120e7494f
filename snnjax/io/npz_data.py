"""A user's own images and labels in one .npz file, checked and made bytes.

Nothing pickled is ever loaded.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snnjax.io.splits import Split

__all__ = ["Contents", "read"]

KEYS = {
    "train": (
        ("x_train", "X_train", "train_images", "images_train"),
        ("y_train", "Y_train", "train_labels", "labels_train"),
    ),
    "test": (
        ("x_test", "X_test", "test_images", "images_test"),
        ("y_test", "Y_test", "test_labels", "labels_test"),
    ),
    "all": (("images", "x", "X"), ("labels", "y", "Y")),
}
"""Names of the arrays of images and of labels in each part, the first as Keras writes them."""

CLASS_NAMES = ("class_names", "label_names")

MOST_CLASSES = 1_000_000
"""Choice: larger labels are no numbers of classes."""

EXACT = 0.15
"""Choice: floats this close to k / 255, in units of 1/255, are bytes; the rest are rounded."""


class Contents(NamedTuple):
    """train, test: the parts, `test` None if there is one part only; class_names: by label."""

    train: Split
    test: Split | None
    class_names: tuple[str, ...]


def read(path: Path) -> Contents:
    """Read images and labels from an .npz file; classes without a name are called by their number.

    Raises:
      ValueError: if the file is damaged, an array is missing, pickled or of another shape, or
        pixels or labels are out of their range.
    """
    arrays = _load_arrays(path)
    used = set(CLASS_NAMES)
    train = _read_part(path, arrays, "train", used) or _read_part(path, arrays, "all", used)
    if train is None:
        wanted = ", ".join(f"{images[0]} and {labels[0]}" for images, labels in KEYS.values())
        raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}; want {wanted}")
    test = _read_part(path, arrays, "test", used)
    if unused := [name for name in arrays if name not in used]:
        warnings.warn(
            f"{path.name} also holds {', '.join(unused)}, not used: validation images are taken"
            " from the training images",
            stacklevel=2,
        )
    count = int(train.labels.max()) + 1
    return Contents(train, test, _class_names(path, arrays, count))


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of the file by name."""
    name = ""
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        arrays = {}
        with file:
            for name in file.files:
                arrays[name] = file[name]
        return arrays
    except Exception as error:  # zipfile, zlib and NumPy have their own
        reason = " ".join(str(error).split()) or type(error).__name__
        if "allow_pickle" in reason:
            what = f"array {name} holds" if name else "it holds"
            reason = f"{what} pickled Python objects, which are never loaded; save numbers"
        raise ValueError(f"cannot read {path} as an .npz file: {reason}") from error


def _read_part(
    path: Path, arrays: dict[str, np.ndarray], part: str, used: set[str]
) -> Split | None:
    """Return the images and labels of a part, or None if the file has neither."""
    names = []
    for known in KEYS[part]:
        found = [name for name in known if name in arrays]
        if len(found) > 1:
            raise ValueError(f"{path} holds {' and '.join(found)}; want one of the two")
        names += found
    if not names:
        return None
    if len(names) == 1:
        missing = [known[0] for known in KEYS[part] if names[0] not in known]
        raise ValueError(f"{path} holds {names[0]} without labels or images; want {missing[0]} too")
    used.update(names)
    images = _as_bytes(arrays[names[0]], f"{names[0]} of {path}")
    return Split(images, _as_labels(arrays[names[1]], len(images), f"{names[1]} of {path}"))


def _as_bytes(pixels: np.ndarray, where: str) -> np.ndarray:
    """Return pixels as uint8 `[N, H, W, C]`: bytes, whole numbers to 255, or floats in [0, 1]."""
    if pixels.ndim not in (3, 4) or not pixels.size:
        raise ValueError(f"{where} has shape {pixels.shape}; want [N, H, W] or [N, H, W, C]")
    pixels = pixels if pixels.ndim == 4 else pixels[..., None]
    if pixels.shape[1] in (1, 3) and pixels.shape[3] > 3:
        warnings.warn(
            f"{where} has shape {pixels.shape}, taken as [N, H, W, C]; if channels come first, save"
            " images.transpose(0, 2, 3, 1)",
            stacklevel=2,
        )
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind not in "uif":
        raise ValueError(f"{where} has dtype {pixels.dtype}; want uint8, or floats in [0, 1]")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError(f"{where} holds NaN or Inf; want finite pixels")
    low, high = pixels.min(), pixels.max()
    whole = pixels.dtype.kind != "f" or (high > 1 and np.array_equal(pixels, np.round(pixels)))
    if whole and high <= 1:
        raise ValueError(
            f"{where} has whole numbers from {low} to {high}; want pixels to 255, or bools"
        )
    if low < 0 or high > 255 or (high > 1 and not whole):
        raise ValueError(
            f"{where} has pixels from {low:g} to {high:g}; want whole numbers from 0 to 255, or"
            " floats from 0 to 1"
        )
    if whole:
        return pixels.astype(np.uint8)
    bytes_ = np.round(pixels * 255.0)
    if np.max(np.abs(bytes_ - pixels * 255.0)) > EXACT:
        warnings.warn(f"pixels of {where} are rounded to multiples of 1/255", stacklevel=2)
    return bytes_.astype(np.uint8)


def _as_labels(labels: np.ndarray, count: int, where: str) -> np.ndarray:
    """Return labels as int32 `[N]`."""
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (count,):
        hint = "; from one-hot rows take argmax(-1)" if labels.ndim == 2 else ""
        raise ValueError(
            f"{where} has shape {labels.shape}; want one number for each of {count} images{hint}"
        )
    if labels.dtype.kind not in "ui":
        raise ValueError(f"{where} has dtype {labels.dtype}; want integers, the classes from 0")
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise ValueError(
            f"{where} has labels from {labels.min()} to {labels.max()}; want the classes from 0"
        )
    return labels.astype(np.int32)


def _class_names(path: Path, arrays: dict[str, np.ndarray], count: int) -> tuple[str, ...]:
    """Return the names in the file, or else the numbers of the classes."""
    for key in CLASS_NAMES:
        if key in arrays:
            names = tuple(str(name) for name in arrays[key].ravel())
            if arrays[key].dtype.kind != "U" or len(names) != count:
                raise ValueError(f"{key} of {path} has {len(names)} entries; want {count} texts")
            return names
    return tuple(map(str, range(count)))
