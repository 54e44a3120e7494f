"""Compiled programs on disk: a second process finds them, and a bad folder is only a warning."""

import os
import subprocess
import sys

import jax
import pytest

from snnjax.runtime.compilation_cache import enable_compilation_cache

PROGRAM = (
    "from snnjax.runtime import compilation_cache\n"
    "folder = compilation_cache.enable_compilation_cache()\n"
    "import jax; jax.jit(lambda x: x * 2 + 1)(3.0)\n"
    "print(folder)"
)


def start(**environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNNJAX", "JAX"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**kept, **environment}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("name", "inside"), [("SNNJAX_CACHE_DIR", "compiled"), ("JAX_COMPILATION_CACHE_DIR", "")]
)
def test_small_programs_are_stored_where_the_user_says(tmp_path, name, inside):
    folder = tmp_path / "mine"
    printed, _ = start(**{name: str(folder)})
    assert printed == str(folder / inside)
    first = {path.name for path in (folder / inside).glob("*-cache")}
    assert any("lambda" in name for name in first)
    start(**{name: str(folder)})
    assert {path.name for path in (folder / inside).glob("*-cache")} == first


def test_it_can_be_turned_off(tmp_path):
    printed, _ = start(SNNJAX_NO_CACHE="1", SNNJAX_CACHE_DIR=str(tmp_path))
    assert printed == "None"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_note(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.delenv("SNNJAX_NO_CACHE")
    monkeypatch.setenv("SNNJAX_CACHE_DIR", str(tmp_path / "file"))
    of_the_run = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    with pytest.warns(UserWarning, match=r"are not kept: cannot write .*file/compiled") as noted:
        assert enable_compilation_cache() is None
    assert len(noted) == 1
    assert not jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", of_the_run)
