"""Names of layers in the user's own words, from parameters and from JAX's name stack."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

__all__ = ["find_user_names"]

WEIGHTS = re.compile(r"(.+?)[/.](\w*kernel|weight|w)([/.]|$)")
"""Path of a module and the name of its weights, in the libraries of JAX, PyTorch and Keras."""


def find_user_names(
    sources: Mapping[str, frozenset[str]], modules: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return pairs of a layer's path and the user's name of it, each name once.

    A layer with weights has the name of the module that holds them, such as "block1/conv"; another
    one that of the module and function that it was made of, such as "block1/relu".

    Args:
      sources: for each layer by path, the user's parameters that it is computed from.
      modules: for each layer by path, module and function in JAX's name stack, or "".
    """
    known = [name.split("/") for name in modules.values() if name]
    # Flax begins every stack with the class of the whole model, which tells nothing.
    skipped = 1 if len({names[0] for names in known}) == 1 else 0
    found, seen = [], Counter[str]()
    for path, paths in sources.items():
        name = "/".join(modules[path].split("/")[skipped:]) or _module_of(sorted(paths))
        if name:
            seen[name] += 1
            found.append((path, name if seen[name] == 1 else f"{name}_{seen[name] - 1}"))
    return tuple(found)


def _module_of(parameters: list[str]) -> str:
    """Return the path of the module with the weights among parameters, "" if there is none."""
    for parameter in parameters:
        found = WEIGHTS.match(parameter.removeprefix("params/"))
        # In PyTorch the scale of a batch normalisation is named weight too.
        if found and f"{found[1]}.running_mean" not in parameters:
            return found[1]
    return ""
