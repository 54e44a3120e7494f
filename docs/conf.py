"""Sphinx settings: Markdown pages and notebooks by MyST, the API from the code's docstrings."""

import ast
import importlib
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from sphinx import addnodes

import snnjax

project = "snnjax"
author = "the snnjax authors"
version = release = snnjax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # no outputs are committed
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
html_theme = "furo"
html_title = f"snnjax {version}"

default_role = "literal"  # docstrings have `code` in single backquotes
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "Layer": "Layer"}
autodoc_default_options = {"members": True}

MODULES = re.compile(r"<!-- modules of ([\w.]+) -->")
OPTIONS = {"snnjax.networks.ann": "   :special-members: __call__\n"}


def list_modules(app: Any, page: str, source: list[str]) -> None:
    """Put a section for every module of a room in the place of its mark on the API page."""
    del app
    if page == "api":
        source[0] = MODULES.sub(lambda mark: sections(mark[1]), source[0])


def sections(room: str) -> str:
    """Return the Markdown of all public modules below a package, in alphabetical order.

    A name that a module imports from another is documented in the other.
    """
    package = importlib.import_module(room)
    text = ""
    for found in pkgutil.walk_packages(package.__path__, f"{room}."):
        public = getattr(importlib.import_module(found.name), "__all__", None)
        if public is not None:
            elsewhere = ", ".join(["set", *imported(found.name)])  # "set" is a method of plots
            text += f"### `{found.name}`\n\n```{{eval-rst}}\n.. automodule:: {found.name}\n"
            text += f"   :exclude-members: {elsewhere}\n{OPTIONS.get(found.name, '')}```\n\n"
    return text


@cache
def imported(module: str) -> dict[str, str]:
    """Return the names that a module imports from others, each with its place there."""
    path = importlib.import_module(module).__file__
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(Path(path or "").read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def link_imported_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Resolve `snnjax.convert` and the like, which are documented where they are defined."""
    place = node.get("reftarget") or ""
    if node.get("refdomain") != "py" or not place.startswith("snnjax."):
        return None
    while (found := place.rpartition("."))[0] in sys.modules:
        after = imported(found[0]).get(found[2])
        if after is None:
            break
        place = after
    python = env.get_domain("py")
    kind, page = node["reftype"], node["refdoc"]
    return python.resolve_xref(env, page, app.builder, kind, place, node, content)


# What follows turns the plain text of the docstrings into reStructuredText.

TAG = re.compile(r"(Source|Choice|Randomness): ")
attributes: dict[str, list[str]] = {}


def before_napoleon(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn fields, tags and tables into lists; put comments on attributes aside as they are."""
    del app, options
    if what in ("attribute", "data"):
        attributes[name], lines[:] = lines[:], [""]
        return
    fields = getattr(obj, "_fields", None) or getattr(obj, "__dataclass_fields__", None)
    if what == "class" and fields:
        either = "|".join(fields)
        several = re.compile(rf"; (?=(?:{either}): )")
        lines[:] = [part for line in lines for part in several.split(line)]
        lines[:] = field_list(lines, re.compile(rf"({either}): "), "ivar ")
    if "  Nothing." in lines:  # of a section "Raises:"
        del lines[lines.index("  Nothing.") - 1 :]
    lines[:] = [escape_markup(line) for line in tables(field_list(lines, TAG, ""))]


def after_napoleon(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Restore comments on attributes; napoleon would take "a: b" for a type."""
    del app, what, obj, options
    if name in attributes:
        lines[:] = [escape_markup(line) for line in field_list(attributes[name], TAG, "")]


def field_list(lines: list[str], start: re.Pattern[str], prefix: str) -> list[str]:
    """Turn each "name: text", with its continuation lines, into an item of a field list."""
    result: list[str] = []
    inside = False
    for line in lines:
        if match := start.match(line):
            result += [] if inside else [""]
            result.append(f":{prefix}{match[1]}: {line[match.end() :]}")
            inside = True
        elif inside and line:
            result.append(f"    {line}")
        else:
            result.append(line)
            inside = False
    return result


def tables(lines: list[str]) -> list[str]:
    """Turn tables of Markdown into list tables."""
    result: list[str] = []
    inside = False
    for line in lines:
        if not line.startswith("| "):
            result.append(line)
            inside = False
        elif not set(line) <= set("|- "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            result += [] if inside else [".. list-table::", "   :header-rows: 1", ""]
            result.append("   * - " + "\n     - ".join(cells))
            inside = True
    return "\n".join(result).split("\n")


def escape_markup(line: str) -> str:
    """Escape outside `code` what would start a substitution (|) or be a reference (n_)."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"\||(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)


def plain_types(
    app: Any,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write types in signatures as the code does, without the fields that Flax adds."""
    del app, what, name, obj, options

    def plain(text: str | None) -> str | None:
        text = text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)
        text = text and re.sub(r"~?[\w.]*Dense \| [^,\]]*Residual", "Layer", text)
        return text and re.sub(r", parent: ~?flax.*", ")", text)

    return plain(signature), plain(returns)


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out the fields of a NamedTuple, which its docstring explains."""
    del app, what, name, options
    return True if type(obj).__name__ == "_tuplegetter" else skipped or None


def hide_value(app: Any, domain: str, kind: str, content: Any) -> None:
    """Remove the value of a constant: that of a pair of functions is not worth printing."""
    del app, domain
    if kind == "data":
        signature = content.parent[0]
        for node in list(signature.findall(addnodes.desc_annotation)):
            if node.astext().startswith(" ="):
                signature.remove(node)


def setup(app: Any) -> None:
    """Register the functions above; napoleon has priority 500."""
    app.connect("source-read", list_modules)
    app.connect("missing-reference", link_imported_name)
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("autodoc-process-signature", plain_types)
    app.connect("autodoc-skip-member", skip)
    app.connect("object-description-transform", hide_value)
