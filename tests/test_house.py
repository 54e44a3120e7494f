"""The package keeps to its sizes, and its docstrings say what a thing does."""

import ast
import io
import tokenize

import pytest
from paths import ROOT

MODULES = sorted((ROOT / "snnjax").rglob("*.py"))
LINES, FUNCTION_LINES, ARGUMENTS = 300, 40, 8
QUESTIONS = {"How", "What", "Whether", "Where", "Why", "Who", "Which", "When", "That", "As"}
BLANK = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


def documented(tree):
    """Every module, class and function of a syntax tree."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def code_lines(text):
    """Numbers of the lines that hold code, docstrings included."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in BLANK:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def public_names(tree):
    """The names in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def arguments(function):
    named = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return [argument.arg for argument in named if argument.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_a_module_keeps_to_the_sizes_and_words(path):
    text = path.read_text()
    tree, code = ast.parse(text), code_lines(text)
    assert len(text.splitlines()) <= LINES
    for node in documented(tree):
        summary = ast.get_docstring(node) or ""
        assert not {*summary.split()[:1]} & QUESTIONS, summary.splitlines()[0]
    public = {node for node in tree.body if getattr(node, "name", None) in public_names(tree)}
    for function in functions(tree):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if body:
            inside = range(body[0].lineno, function.end_lineno + 1)
            assert len(code & set(inside)) <= FUNCTION_LINES, function.name
        if function not in public:
            assert len(arguments(function)) <= ARGUMENTS, function.name
