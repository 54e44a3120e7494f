"""Architectures as JSON, for files of networks that have no name in `known_networks`."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from snnjax.networks.architecture import Network
from snnjax.networks.layers import KINDS, Layer

__all__ = ["read", "write"]


def write(network: Network) -> str:
    """JSON of a network: its name, and each layer as its kind and fields.

    The shape of its images and the names of the model that it was traced from are written if they
    are known. JSON has no infinity, so inf is written as
    the string "inf".
    """
    content = {"name": network.name, "layers": _plain(network.layers)}
    if network.image_shape is not None:
        content["image_shape"] = list(network.image_shape)
    if network.user_names:
        content["user_names"] = dict(network.user_names)
    return json.dumps(content, allow_nan=False)


def read(text: str) -> Network:
    """Read a network from the JSON that `write` returned.

    Raises:
      ValueError: if `text` is not the JSON of an architecture, or has an unknown layer or field,
        or a value that a layer rejects.
    """
    try:
        found = json.loads(text)
        shape = found.get("image_shape")
        return Network(
            found["name"],
            _layers(found["layers"]),
            None if shape is None else tuple(shape),
            tuple(found.get("user_names", {}).items()),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"this version of snnjax cannot read the architecture {text[:60]!r}..."
            f" ({type(error).__name__}: {error}); make the file again"
        ) from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    value = value.item() if hasattr(value, "item") else value  # a NumPy scalar
    return "inf" if value == math.inf else value


def _layers(value: Any) -> Any:
    if isinstance(value, dict):
        fields = {name: _layers(part) for name, part in value.items() if name != "kind"}
        layer: Layer = KINDS[value["kind"]](**fields)
        return layer
    if isinstance(value, list):
        return tuple(map(_layers, value))
    return math.inf if value == "inf" else value
