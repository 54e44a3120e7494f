"""Names and files that the pages link to exist, and every equation has its function."""

import ast
import importlib
import re
import types

import pytest
from paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
ROLE = re.compile(r"\{py:(?:func|class|data|mod|meth|attr)\}`~?([^`]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
OUTSIDE = re.compile(r"^(?:`{3,}).*?^(?:`{3,})\s*$", re.DOTALL | re.MULTILINE)
"""Blocks of code, which hold no links."""


def find(name):
    """The object of a dotted name: the longest module of it, then its attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def named(page):
    return sorted(set(ROLE.findall(page.read_text())))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_name_that_a_page_links_to_exists(page):
    missing = []
    for name in named(page):
        try:
            find(name)
        except (AttributeError, ModuleNotFoundError):
            missing.append(name)
    assert not missing, f"{page.name} links to {', '.join(missing)}"


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("experiments/**/README.md")],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_relative_link_leads_to_a_file(page):
    text = OUTSIDE.sub("", page.read_text())
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing, f"{page.name} links to {', '.join(missing)}"


CODE = re.compile(r"```(?:\{code-cell\} )?python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_what_the_code_of_a_page_imports_from_the_package_exists(page):
    code = ast.parse("\n".join(CODE.findall(page.read_text())))
    modules = {}
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnjax"):
            for alias in node.names:
                modules[alias.asname or alias.name] = find(f"{node.module}.{alias.name}")
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if isinstance(module, types.ModuleType):
                assert hasattr(module, node.attr), f"{module.__name__}.{node.attr}"


def test_the_first_table_has_a_row_for_each_of_the_20_equations():
    table = (DOCS / "equations.md").read_text().split("## Where each equation is")[1]
    rows = re.findall(r"^\| \[([\d, ]+)\]\(#([\w-]+)\) \|.*\| (.*) \|$", table, re.MULTILINE)
    numbers = [int(number) for found, _, _ in rows for number in found.split(",")]
    assert numbers == list(range(1, 21))
    for found, _, functions in rows:
        assert ROLE.search(functions) or "no function" in functions, f"eq. {found}"


def test_the_rows_of_the_first_table_lead_to_a_heading():
    text = (DOCS / "equations.md").read_text()
    titles = re.findall(r"^#{2,3} (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors
