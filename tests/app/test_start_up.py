"""What a command imports before it does anything; seconds are not measured here."""

import subprocess
import sys

import snnjax

HEAVY = {"jax", "jaxlib", "flax", "optax", "matplotlib", "tensorflow_datasets"}
HEAVY |= {"keras", "torch"}
CALL = "from snnjax.app import cli; assert cli.main({}) == 0"


def imported(code):
    """Names of the packages that a new process has imported after `code`."""
    code += "; import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_c3_help_and_version_import_no_jax():
    for line in (["--help"], ["nir", "--help"], ["--version"]):
        assert not imported(CALL.format(line)) & HEAVY


def test_the_package_imports_nothing_heavy_before_a_name_is_used():
    assert not imported("import snnjax") & HEAVY
    used = imported("import snnjax; snnjax.simulate, snnjax.from_torch, snnjax.from_keras")
    assert "jax" in used
    assert not used & (HEAVY - {"jax", "jaxlib", "flax"})


def test_commands_without_figures_import_no_matplotlib():
    for module in ("conversion", "exchange"):
        used = imported(f"import snnjax.app.commands.{module}")
        assert not used & {"matplotlib", "tensorflow_datasets"}


def test_every_public_name_is_the_one_of_its_module():
    """`import snnjax` names each module twice: for readers of types, and for its first use."""
    named = [name for names in snnjax._MODULES.values() for name in names]
    assert sorted(named) == sorted(snnjax.__all__)
    assert set(snnjax.__all__) <= set(dir(snnjax))
    assert not hasattr(snnjax, "simulator")
