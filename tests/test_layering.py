"""Imports point one way, and the wheel holds the package and nothing else."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import snnjax

ROOT = Path(__file__).resolve().parents[1]
LEVELS = {
    0: {"activation", "allocator", "augmentation", "checkpoint", "checks", "compilation"}
    | {"devices", "encoding", "rate_norm"},
    1: {"architecture", "datasets", "methods", "neuron", "noise", "plasticity", "training"}
    | {"convolution", "piecewise", "records", "plots"},
    2: {"blueprint", "graph", "synapse", "preparation", "readout"},
    3: {"ann", "signals", "spiking", "settings"},
    4: {"conversion", "simulation", "stored", "translation"},
    5: {"calibration", "early_exit", "learning", "lowering", "metrics", "operations"}
    | {"diagnosis", "robustness", "scaling", "tracing"},
    6: {"adaptation", "adoption", "converter", "energy", "evaluation", "interchange", "profiles"}
    | {"reporting"},
    7: {"exporting", "measurement", "pipeline"},
    8: {"cli", "comparison"},
    9: {"__main__"},
}


def imports(path):
    """Modules of the package that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "snnjax":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnjax."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("snnjax.")}
    return found - {"__version__"}


def test_every_module_has_a_level_and_imports_lower_ones_only():
    modules = {path.stem: path for path in (ROOT / "snnjax").glob("*.py")}
    modules.pop("__init__")
    level = {name: number for number, names in LEVELS.items() for name in names}
    assert set(modules) == set(level)
    for name, path in modules.items():
        for other in imports(path):
            assert level[other] < level[name], f"{name} imports {other}"


def test_only_the_pipeline_and_the_command_line_know_the_stages():
    for name in ("training", "conversion", "simulation", "datasets"):
        assert not imports(ROOT / "snnjax" / f"{name}.py") & {"pipeline", "cli"}


def test_everything_exported_exists():
    for name in snnjax.__all__:
        assert getattr(snnjax, name) is not None
    for path in (ROOT / "snnjax").glob("[a-z]*.py"):
        module = __import__(f"snnjax.{path.stem}", fromlist=["x"])
        assert module.__doc__
        for name in getattr(module, "__all__", []):
            assert getattr(module, name).__doc__, f"{path.stem}.{name} has no docstring"


def test_the_wheel_holds_the_package_and_its_marker_only(tmp_path):
    pytest.importorskip("setuptools")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    source = tmp_path / "source"  # built elsewhere: an old build folder would add to the wheel
    shutil.copytree(ROOT / "snnjax", source / "snnjax")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {f"snnjax/{path.name}" for path in (ROOT / "snnjax").glob("*.py")}
    info = {name for name in names if ".dist-info/" in name}
    assert names - info == package | {"snnjax/py.typed"}
