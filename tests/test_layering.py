"""Imports point one way, and the wheel holds the package and nothing else."""

import ast
import importlib
import shutil
import subprocess
import sys
import zipfile
from graphlib import TopologicalSorter
from itertools import accumulate
from pathlib import Path

import pytest
from paths import ROOT

import snnjax

PACKAGE = ROOT / "snnjax"
ORDER = ("runtime", "networks", "snn", "conversion", "io", "training", "analysis", "app")
BELOW = dict(zip(ORDER, accumulate(ORDER, lambda a, b: f"{a} {b}", initial=""), strict=False))
ALLOWED = {room: set(below.split()) for room, below in BELOW.items()}
ALLOWED["io"] -= {"conversion"}
ALLOWED["training"] -= {"conversion"}
ALLOWED["analysis"] -= {"training"}
"""The rooms that each room may import from."""


def modules():
    """Every module of the package by its dotted name, without the files of the package itself."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if name.count(".") > 0}


MODULES = modules()


def imports(path):
    """Modules of the package that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if (node.module or "").split(".")[0] == "snnjax":
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("snnjax.")]
        for name in names:
            module = name if name in MODULES else name.rpartition(".")[0]
            lazy = module == "snnjax" and not name.endswith("__version__")
            assert not lazy, f"{path} imports {name} from the package itself; want its module"
            found.add(module)
    return found - {"snnjax"}


def room(module):
    return module.split(".")[1]


def test_every_room_imports_from_rooms_below_it_only():
    assert {room(name) for name in MODULES} == {*ORDER, "__main__"}
    for name, path in MODULES.items():
        for other in imports(path):
            if room(name) != "__main__":
                allowed = ALLOWED[room(name)] | {room(name)}
                assert room(other) in allowed, f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle():
    tuple(TopologicalSorter({name: imports(path) for name, path in MODULES.items()}).static_order())


def test_folders_are_three_levels_deep_at_most():
    assert max(len(path.relative_to(ROOT).parts) for path in MODULES.values()) <= 4


def test_everything_exported_exists():
    for name in snnjax.__all__:
        assert getattr(snnjax, name) is not None
    for name in sorted(MODULES):
        if room(name) != "__main__":
            module = importlib.import_module(name)
            assert module.__doc__
            for public in getattr(module, "__all__", []):
                assert getattr(module, public).__doc__, f"{name}.{public} has no docstring"


def test_the_wheel_holds_the_package_and_its_marker_only(tmp_path):
    pytest.importorskip("setuptools")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    source = tmp_path / "source"  # built elsewhere: an old build folder would add to the wheel
    shutil.copytree(PACKAGE, source / "snnjax")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {str(Path(path).relative_to(ROOT)) for path in PACKAGE.rglob("*.py")}
    info = {name for name in names if ".dist-info/" in name}
    assert names - info == package | {"snnjax/py.typed"}
