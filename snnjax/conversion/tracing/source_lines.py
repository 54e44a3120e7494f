"""Lines and names of the user's program that JAX keeps with an operation or an error."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from traceback import extract_tb
from typing import NamedTuple

import flax
import jax
from jax.extend.core import Jaxpr, JaxprEqn

__all__ = [
    "UNKNOWN",
    "Operation",
    "called_name",
    "line_of_error",
    "operation_of",
    "written_in_library",
]

UNKNOWN = "an unknown line"


class Operation(NamedTuple):
    """An operation of the user's program.

    primitive: its name in JAX; function: the public function of JAX or Flax that the user called
      for it, "" if none is known; line: file and line of the user's program; module: path of
      the user's module that it belongs to, as JAX's name stack has it, "" if there is none.
    """

    primitive: str
    function: str = ""
    line: str = UNKNOWN
    module: str = ""


LIBRARIES = tuple(str(Path(module.__file__).parent) for module in (jax, flax) if module.__file__)
PUBLIC = ("/nn/", "/numpy/", "/linen/", "/lax/", "/ops/")
"""Folders of the libraries with functions that users call by name."""
PLUMBING = ("<", str(Path(__file__).parents[2]), str(Path(functools.__file__).parent))
"""Start of file names that are not the user's: compiled text, this package, Python itself."""
CARRIERS = ("<locals>", "ufunc.", "Sequential.", "Module.")
"""Parts of names of functions that only carry another function."""


def written_in_library(jaxpr: Jaxpr) -> bool:
    """Return True if JAX or Flax made the function, or nobody knows who.

    JAX may have traced such a function for another caller and kept it, so the lines inside it
    are of no use to the user.
    """
    made = str(getattr(getattr(jaxpr, "debug_info", None), "func_src_info", None))
    return any(library in made for library in LIBRARIES) or " at " not in made


def operation_of(equation: JaxprEqn, module: str, *, called: bool = False) -> Operation:
    """Return an equation's primitive, the library function around it and the user's line.

    Args:
      equation: of a jaxpr.
      module: in which the jaxpr is called.
      called: take the name of the function that the equation calls.
    """
    primitive, function = equation.primitive.name, ""
    name = called_name(equation) if called else ""
    module = _module(f"{module}/{getattr(equation.source_info, 'name_stack', '')}")
    traceback = getattr(equation.source_info, "traceback", None)
    for frame in traceback.frames if traceback else ():
        if frame.file_name.startswith(LIBRARIES):
            public = any(part in frame.file_name for part in PUBLIC)
            own = frame.function_name.removesuffix(".__call__")
            carries = any(part in frame.function_name for part in CARRIERS)
            if public and not own.rpartition(".")[2].startswith("_") and not carries:
                function = own
        elif not _is_library(frame.file_name):
            line = f"{frame.file_name}:{frame.line_num}"
            return Operation(primitive, name or function, line, module)
    return Operation(primitive, name or function, module=module)


def called_name(equation: JaxprEqn) -> str:
    """Return the public name of the function that an equation calls, "" if it has none."""
    name = equation.params.get("name") or ""
    return "" if name.startswith(("_", "<")) else name


def _module(stack: str) -> str:
    """Return a name stack without the transformations of JAX, such as `vmap(...)`."""
    names = (re.sub(r"\w+\(|\)", "", name) for name in stack.split("/"))
    return "/".join(filter(None, names))


def line_of_error(error: Exception) -> str:
    """Return " at " and the last of the user's lines that an error came through, "" if none is
    known.
    """
    for frame in reversed(extract_tb(error.__traceback__)):
        if not _is_library(frame.filename):
            return f" at {frame.filename}:{frame.lineno}"
    return ""


def _is_library(file_name: str) -> bool:
    return file_name.startswith((*LIBRARIES, *PLUMBING)) or "site-packages" in file_name
