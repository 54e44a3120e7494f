"""Files are whole, typed, and ours, or there is one clear message."""

import errno
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from snnjax.io import checkpoint

TREE = {
    "layers": {"00_conv": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}},
    "gain": np.float32(0.5),
    "steps": np.int32(7),
}


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "deep" / "a.safetensors"
    checkpoint.save(path, TREE, kind="snn", metadata={"note": "α"})
    found = checkpoint.load(path, kind="snn")
    assert found.metadata == {"kind": "snn", "note": "α"}
    jax.tree.map(np.testing.assert_array_equal, found.tree, TREE)
    assert found.tree["steps"].dtype == np.int32
    assert found.tree["gain"].shape == ()


def test_equal_content_makes_equal_bytes(tmp_path):
    """safetensors writes the entries of its header in an order that changes from call to call."""
    path, contents = tmp_path / "a.safetensors", set()
    for _ in range(8):
        checkpoint.save(path, TREE, kind="snn", metadata={"note": "α", "seed": 0})
        contents.add(path.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda b: b[: len(b) // 2], "truncated or no safetensors", id="half"),
        pytest.param(lambda b: b"", "truncated or no safetensors", id="empty"),
        pytest.param(lambda b: b"\x80\x04pickle" * 9, "truncated or no safetensors", id="pickle"),
        pytest.param(
            lambda b: safetensors.numpy.save({"a": np.zeros(2)}), "not made by snnjax", id="foreign"
        ),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path, damage, message):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, TREE, kind="snn", metadata={})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"a\.safetensors.*{message}"):
        checkpoint.load(path, kind="snn")


@pytest.mark.parametrize(("place", "bit"), [(-1, 1), (-9, 64), (200, 1)])
def test_f_a_flipped_bit_is_noticed(tmp_path, place, bit):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, TREE, kind="snn", metadata={"scale": "1" * 300})
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged: its content differs from"):
        checkpoint.load(path, kind="snn")


def test_f_a_file_without_a_checksum_is_read_with_one_note(tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    header = {"snnjax": json.dumps({"kind": "snn"})}
    path.write_bytes(safetensors.numpy.save({"x": np.ones(2)}, metadata=header))
    caplog.set_level("INFO")
    for _ in range(2):
        assert checkpoint.load(path, kind="snn").tree["x"].tolist() == [1, 1]
    assert caplog.text.count("was written without a checksum") == 1


def test_b11_a_file_that_cannot_be_written_is_known_before(tmp_path):
    (tmp_path / "file").write_text("")
    for path, reason in (
        (tmp_path / "file" / "a", "Not a directory"),
        (tmp_path / "file" / "deep" / "a", "Not a directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / ("long" * 100) / "a", "File name too long"),
        (Path("/a"), "it would be in the root folder"),
        (tmp_path / (".." + "/.." * 20) / "a", "it would be in the root folder"),
    ):
        with pytest.raises(OSError, match=rf"cannot write .*: {reason}; choose another --output"):
            checkpoint.check_writable(path)
    checkpoint.check_writable(tmp_path / "new" / "deep" / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_b11_a_folder_without_permission_is_known_before(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission denied"):
        checkpoint.check_writable(tmp_path / "a")


def test_another_kind_and_a_missing_file_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, TREE, kind="ann", metadata={})
    with pytest.raises(ValueError, match="is of kind 'ann'; want one of kind 'snn'"):
        checkpoint.load(path, kind="snn")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none"):
        checkpoint.load(tmp_path / "none", kind="ann")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, TREE, kind="snn", metadata={})
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"cannot write .*a\.safetensors: No space left.*free some"):
        checkpoint.save(path, {"other": np.zeros(3)}, kind="snn", metadata={})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*choose another --output folder"):
        checkpoint.save(tmp_path / "file" / "a", TREE, kind="snn", metadata={})
