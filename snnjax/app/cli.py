"""The command line: its commands, and one clear line for every error.

It imports neither JAX nor a command before one is called, so that `snnjax --help` answers at once.
"""

from __future__ import annotations

import ast
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import cyclopts
from cyclopts import App, Parameter

from snnjax import __version__

__all__ = ["main"]

RARE = (RuntimeError, MemoryError, AssertionError)
"""Errors that are the user's in some cases, and errors in the program otherwise."""


def _convert_strictly(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert like cyclopts, but refuse 1.5 for a whole number, and texts that are empty."""
    if int in (kind, *get_args(kind)) and "." in tokens[0].value:
        raise ValueError(f"{tokens[0].value} is no whole number.")
    if tokens and not tokens[0].value.strip():
        wanted = (
            "; want a path, such as . for this folder" if Path in (kind, *get_args(kind)) else ""
        )
        raise ValueError(f"an empty text{wanted}.")
    return cyclopts.convert(kind, tokens)


def _add_command(parent: App, module: str, function: str, name: str | None = None) -> None:
    """Add a function of `snnjax.app.commands` as a command that is imported when it is called.

    Its help is read from the source, because importing the module takes a second.
    """
    source = Path(__file__).parent / "commands" / f"{module}.py"
    tree = ast.parse(source.read_text())
    helps = {n.name: ast.get_docstring(n) for n in tree.body if isinstance(n, ast.FunctionDef)}
    path = f"snnjax.app.commands.{module}:{function}"
    parent.command(path, name=name or function, help=helps[function])


def _make_app() -> App:
    """Make the command line with all commands."""
    app = App(
        name="snnjax",
        help="Train networks with two-sided activations and convert them to spiking networks.",
        version=__version__,
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative=(), converter=_convert_strictly),
    )
    for module, functions in (
        ("training", ("train", "run", "finetune")),
        ("conversion", ("convert", "quantise", "report")),
        ("simulation", ("simulate", "learn", "energy")),
        ("exchange", ("export",)),
    ):
        for function in functions:
            _add_command(app, module, function)
    data = App(name="data", help="Prepare data sets on disk.")
    _add_command(data, "datasets", "prepare")
    nir = App(name="nir", help="Exchange networks with other simulators as NIR graphs.")
    _add_command(nir, "exchange", "export_nir", "export")
    _add_command(nir, "exchange", "import_nir", "import")
    npz = App(name="npz", help="Export integer networks as plain arrays, for hardware.")
    _add_command(npz, "exchange", "export_npz", "export")
    app.command(data)
    app.command(nir)
    app.command(npz)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    One of several processes that fails ends at once with its exit code, and does not return.

    Args:
      arguments: the words behind `snnjax`; None for those of this process.

    Returns:
      The exit code: 0, or 2 after one line that says what was wrong.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("jax").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.showwarning = lambda message, *_, **__: print(f"note: {message}", file=sys.stderr)
    code = _run(sys.argv[1:] if arguments is None else arguments)
    if "jax" in sys.modules:
        from snnjax.runtime import processes

        processes.leave(code)
    return code


def _run(arguments: Sequence[str]) -> int:
    """Parse and call a command, and return the exit code."""
    try:
        command, bound, _ = _make_app().parse_args(
            arguments, exit_on_error=False, print_error=False
        )
        if "jax" in sys.modules:
            from snnjax.runtime.allocator import keep_freed_memory
            from snnjax.runtime.compilation_cache import enable_compilation_cache

            keep_freed_memory()
            enable_compilation_cache()
        command(*bound.args, **bound.kwargs)
    except KeyboardInterrupt:
        trains = arguments[0] in ("train", "run", "finetune")
        more = "; the same command resumes the training after its last saved epoch"
        print(f"stopped{more if trains else ''}", file=sys.stderr)
        return 130
    except (cyclopts.CycloptsError, ValueError, OSError, ImportError, *RARE) as error:
        message = _explain(error)
        if message is None or os.environ.get("SNNJAX_TRACEBACK"):
            raise
        print(f"snnjax: {message}", file=sys.stderr)
        return 2
    return 0


def _explain(error: Exception) -> str | None:
    """Return one line about an error, or None for an error in the program."""
    text = " ".join(str(error).split())
    if isinstance(error, cyclopts.CycloptsError):
        text = text.removesuffix(".") if text.endswith("?.") else text
        return f"{text}{'' if text.endswith(('.', '?')) else '.'} See snnjax --help."
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return f"out of memory ({text[:200]}); use a smaller --batch-size, or fewer images or steps"
    if "jax" in sys.modules:
        from snnjax.runtime import processes

        if processes.another_process_ended(error):
            return f"{processes.LOST}: {text}"
        if isinstance(error, RARE) and (reason := processes.why_no_device()):
            return f"JAX has no device to compute on: {reason}"
    return None if isinstance(error, RARE) else text
