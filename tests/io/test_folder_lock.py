"""Two processes never write into one folder, and a process that was killed blocks nobody."""

import os
import signal
import subprocess
import sys

import pytest

from snnjax.io.folder_lock import NAME, lock_folder

KILLED = (
    "import os, signal, sys; from pathlib import Path\n"
    "from snnjax.io.folder_lock import lock_folder\n"
    "with lock_folder(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
)


def test_a5_a_locked_folder_is_refused_with_the_process_that_holds_it(tmp_path):
    folder = tmp_path / "run"
    with lock_folder(folder):
        wanted = rf"run is in use: process {os.getpid()} on .*, since 20.*; wait until it has ended"
        with pytest.raises(ValueError, match=wanted), lock_folder(folder):
            pass
        assert (folder / NAME).exists()  # the refused one has left it
    assert list(folder.iterdir()) == []
    with lock_folder(folder):
        pass


def test_a5_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert b"process" in (tmp_path / NAME).read_bytes()
    with lock_folder(tmp_path):
        assert str(os.getpid()) in (tmp_path / NAME).read_text()
    assert list(tmp_path.iterdir()) == []
