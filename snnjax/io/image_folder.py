"""A user's own images in a folder, with one subfolder for each class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from snnjax.io.splits import Split

__all__ = ["decode", "digest", "find"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")

CHANNELS = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
"""Mode that an image is read in, by its own; other modes would lose something."""

Classes = dict[str, list[Path]]


def find(folder: Path) -> dict[str, Classes]:
    """Return the files of every class, by part: "train" and "test", or "all".

    Classes are in the order of their names, of their numbers if all names are whole numbers.

    Raises:
      ValueError: if a folder is empty, or holds something other than was wanted.
    """
    parts = {path.name for path in _entries(folder)}
    if "train" not in parts:
        return {"all": _find_classes(folder)}
    if odd := sorted(parts - {"train", "test"}):
        raise ValueError(f"{folder} holds train and {', '.join(odd)}; want train and test only")
    return {name: _find_classes(folder / name) for name in ("train", "test") if name in parts}


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, without files that a desktop leaves there."""
    return sorted(
        path for path in folder.iterdir() if path.name[0] != "." and path.name != "Thumbs.db"
    )


def _find_classes(folder: Path) -> Classes:
    folders = _entries(folder)
    for path in folders:
        if not path.is_dir():
            raise ValueError(
                f"{path} is no folder; want a folder of images for each class in {folder}"
            )
    if not folders:
        raise ValueError(f"{folder} is empty; want a folder of images for each class")
    if all(path.name.isdecimal() for path in folders):
        folders.sort(key=lambda path: int(path.name))
    classes = {path.name: _entries(path) for path in folders}
    for name, files in classes.items():
        if not files:
            raise ValueError(f"class {folder / name} is empty; want at least one image")
        for path in files:
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                raise ValueError(f"{path} is no image; want {', '.join(SUFFIXES)}")
    return classes


def digest(folder: Path, parts: dict[str, Classes]) -> str:
    """Return the SHA-256 of the names and contents of all files."""
    total = hashlib.sha256()
    for classes in parts.values():
        for files in classes.values():
            for path in files:
                total.update(path.relative_to(folder).as_posix().encode() + b"\0")
                with path.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def decode(classes: Classes, title: str) -> Split:
    """Read all images; the label is the position of the class.

    Grey images among coloured ones get three equal channels.

    Raises:
      ValueError: naming the first file that is broken, of another size or of another mode.
      ImportError: if Pillow is not installed.
    """
    paths = [path for files in classes.values() for path in files]
    bar = tqdm(paths, f"decoding {title}", unit=" images", leave=False, disable=None)
    images = [_decode_file(path) for path in bar]
    for path, image in zip(paths, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise ValueError(
                f"{path} has {_size(image)} pixels and {paths[0]} {_size(images[0])}; want all"
                " images of one size"
            )
    channels = max(image.shape[-1] for image in images)
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    return Split(_stack(images, channels), labels.astype(np.int32))


def _stack(images: Sequence[np.ndarray], channels: int) -> np.ndarray:
    stacked = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for place, image in enumerate(images):
        stacked[place] = image  # one channel is repeated
    return stacked


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"


def _decode_file(path: Path) -> np.ndarray:
    """Return one image, uint8 `[H, W, C]` with one or three channels."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode, moving = image.mode, getattr(image, "n_frames", 1) > 1
            fit = mode in CHANNELS and "transparency" not in image.info and not moving
            pixels = np.asarray(image.convert(CHANNELS[mode])) if fit else None
    except Exception as error:  # Pillow's decoders raise many kinds
        reason = type(error).__name__
        raise ValueError(f"{path} is broken or no image ({reason}); mend or delete it") from error
    if pixels is None:
        what = "several frames" if moving else f"mode {mode}, or transparency"
        raise ValueError(f"{path} has {what}; want grey or RGB images with 8 bits, fully opaque")
    return pixels if pixels.ndim == 3 else pixels[..., None]
