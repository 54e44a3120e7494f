"""Sphinx settings: Markdown pages and notebooks by MyST, the API from the code's docstrings."""

import re
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

# What follows turns the plain text of the docstrings into reStructuredText.

TAG = re.compile(r"(Source|Choice|Randomness): ")
attributes: dict[str, list[str]] = {}


def before_napoleon(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Lists of fields, tags and tables; a comment on an attribute is put aside as it is."""
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
    lines[:] = [escape_bars(line) for line in tables(field_list(lines, TAG, ""))]


def after_napoleon(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Give comments on attributes back; napoleon would take "a: b" for a type."""
    del app, what, obj, options
    if name in attributes:
        lines[:] = [escape_bars(line) for line in field_list(attributes[name], TAG, "")]


def field_list(lines: list[str], start: re.Pattern[str], prefix: str) -> list[str]:
    """Each "name: text", with the lines that go on with it, as an item of a field list."""
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
    """Tables of Markdown as list tables."""
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


def escape_bars(line: str) -> str:
    """Bars outside `code`, which would start a substitution."""
    parts = line.split("`")
    parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
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
    """Signatures with the names of types as the code writes them, without Flax's own fields."""
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
    """A constant without its value: a pair of functions has none worth printing."""
    del app, domain
    if kind == "data":
        signature = content.parent[0]
        for node in list(signature.findall(addnodes.desc_annotation)):
            if node.astext().startswith(" ="):
                signature.remove(node)


def setup(app: Any) -> None:
    """Register the functions above; napoleon has priority 500."""
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("autodoc-process-signature", plain_types)
    app.connect("autodoc-skip-member", skip)
    app.connect("object-description-transform", hide_value)
