"""Things that users call by name."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

__all__ = ["check"]


def check(kind: str, name: str, known: Collection[str]) -> str:
    """The name itself, if it is known.

    Raises:
      ValueError: if it is not; the message lists what is known and names the nearest.
    """
    if name in known:
        return name
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {name!r}: want one of {', '.join(known)}{hint}")
