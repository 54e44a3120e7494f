import gzip
import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from paths import SHARED

from snnjax.io import datasets, preparation, tfds_records

tfds = pytest.importorskip("tensorflow_datasets")
requests = pytest.importorskip("requests")

RNG = np.random.default_rng(0)
MNIST = {
    "train": (RNG.integers(0, 256, (30, 28, 28), np.uint8), np.arange(30, dtype=np.uint8) % 10),
    "t10k": (RNG.integers(0, 256, (10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8)),
}
CIFAR10 = RNG.integers(0, 256, (6, 4, 3073), np.uint8)  # batches, images, label and pixels
CIFAR10[:, :, 0] %= 10
CLASSES = [f"class{number}" for number in range(10)]


def idx(array):
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes())


def write_mnist(folder):
    for prefix, (images, labels) in MNIST.items():
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(labels))


def write_cifar10(folder):
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    files = {name: batch.tobytes() for name, batch in zip(names, CIFAR10, strict=True)}
    files["batches.meta.txt"] = ("\n".join(CLASSES) + "\n\n").encode()
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        members = [(f"cifar-10-batches-bin/{name}", data) for name, data in files.items()]
        for name, data in [
            *members[::-1],
            ("../escaped", b"x"),
            ("cifar-10-batches-bin/../e", b""),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("cifar-10-batches-bin/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


def registered(folder):
    """A table of checksums that calls the files of this folder the original ones."""
    return {
        path.name: preparation._Original(
            f"https://example.invalid/{path.name}",
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.iterdir())
    }


def source_of(name, tmp_path, monkeypatch):
    folder = tmp_path / "originals"
    folder.mkdir()
    (write_cifar10 if name == "cifar10" else write_mnist)(folder)
    table = registered(folder)
    monkeypatch.setattr(preparation, "_originals", lambda name: table)
    return folder


def must_not_run(*args, **kwargs):
    raise AssertionError("this must not be called")


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "get", must_not_run)
    monkeypatch.setenv("SNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def source(tmp_path, monkeypatch):
    return source_of("mnist", tmp_path, monkeypatch)


# what is written


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_what_is_prepared_is_what_is_loaded(name, tmp_path, monkeypatch, data_dir):
    source = source_of(name, tmp_path, monkeypatch)
    assert preparation.prepare(name, source=source) == data_dir / name / "3.0.1"
    assert os.listdir(data_dir) == [name]
    assert "tensorflow" not in sys.modules
    loaded = datasets.load(name)
    assert loaded.exact
    for split, (images, labels) in zip((loaded.train, loaded.test), MNIST.values(), strict=True):
        written = {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
        read = {(image.tobytes(), label) for image, label in zip(*split, strict=True)}
        assert read == written and len(split.labels) == len(labels)


def test_cifar10_keeps_pixels_ids_and_class_names(tmp_path, monkeypatch, data_dir):
    source = source_of("cifar10", tmp_path, monkeypatch)
    preparation.prepare("cifar10", source=source)
    assert sorted(os.listdir(tmp_path)) == ["data", "originals"]  # nothing escaped
    assert tfds.builder("cifar10", data_dir=data_dir).info.features["label"].names == CLASSES
    for split, batches in (("train", CIFAR10[:5]), ("test", CIFAR10[5:])):
        rows = batches.reshape(-1, 3073)
        records = list(tfds.data_source("cifar10", split=split, data_dir=data_dir, download=False))
        assert len(records) == len(rows)
        for record in records:
            prefix, index = record["id"].decode().split("_")
            row = rows[int(index)]
            assert prefix == split and record["label"] == row[0]
            red, y, x = record["image"][:, :, 0], 3, 5
            assert red[y, x] == row[1 + 32 * y + x]  # channel first, then row by row
            np.testing.assert_array_equal(record["image"].transpose(2, 0, 1).ravel(), row[1:])


@pytest.mark.slow
def test_record_order_is_the_official_one(data_dir):
    official = Path(SHARED / "tfds")
    if not (SHARED / "idx" / "mnist").is_dir() or not (official / "mnist").is_dir():
        pytest.skip("no original MNIST files beside a prepared copy")
    contents = preparation._read_mnist(SHARED / "idx" / "mnist")
    only_test = preparation._Contents({"test": contents.splits["test"]}, None)
    preparation._build("mnist", only_test, data_dir)
    ours, theirs = (
        tfds_records._decode_split(tfds_records.find_builder("mnist", folder), "test", 10000)
        for folder in (data_dir, official)
    )
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


# original files


def test_registered_checksums_are_those_of_the_original_files():
    names = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}
    names |= {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}
    assert set(preparation._originals("mnist")) == names
    assert set(preparation._originals("fashion_mnist")) == names
    assert set(preparation._originals("cifar10")) == {"cifar-10-binary.tar.gz"}
    if not (SHARED / "idx" / "mnist").is_dir():
        pytest.skip("no original MNIST files")
    preparation._verify(SHARED / "idx" / "mnist", preparation._originals("mnist"))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="truncated"),
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="one-bit"),
    ],
)
def test_a_changed_original_is_refused(source, data_dir, damage):
    path = source / "t10k-labels-idx1-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(ValueError) as error:
        preparation.prepare("mnist", source=source)
    expected, found = (hashlib.sha256(data).hexdigest() for data in (whole, path.read_bytes()))
    sizes = f"{len(whole)} bytes", f"{path.stat().st_size} bytes"
    assert_one_line(error, str(path), expected, found, *sizes)
    assert os.listdir(data_dir) == []


def test_a_missing_original_is_named(source, tmp_path):
    (source / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as error:
        preparation.prepare("mnist", source=source)
    assert_one_line(error, str(source / "train-labels-idx1-ubyte.gz"), "t10k-images")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        preparation.prepare("mnist", source=tmp_path / "nowhere")


# whole or not at all


def test_prepared_folder_is_left_alone(source, capsys):
    target = preparation.prepare("mnist", source=source)
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    assert preparation.prepare("mnist", source="nowhere") == target
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before
    assert f"already prepared in {target}" in "".join(capsys.readouterr())


def test_failure_leaves_nothing(source, data_dir, monkeypatch):
    calls = []

    def fails_later(image):
        calls.append(image)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return encode(image)

    encode = preparation._encode_png
    monkeypatch.setattr(preparation, "_encode_png", fails_later)
    with pytest.raises(KeyboardInterrupt):
        preparation.prepare("mnist", source=source)
    assert os.listdir(data_dir) == []


def test_a_folder_of_something_else_is_not_replaced(source, data_dir):
    (data_dir / "mnist" / "3.0.1").mkdir(parents=True)
    with pytest.raises(FileExistsError) as error:
        preparation.prepare("mnist", source=source)
    assert_one_line(error, str(data_dir / "mnist" / "3.0.1"), "move it away")


def test_unwritable_data_dir_fails_before_any_work(source, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "_verify", must_not_run)
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as error:
        preparation.prepare("mnist", data_dir=tmp_path / "file" / "data", source=source)
    assert_one_line(error, str(tmp_path / "file" / "data"), "TFDS_DATA_DIR")


def test_names_that_cannot_be_prepared():
    with pytest.raises(ValueError, match="nothing to prepare for 'mnist5k'"):
        preparation.prepare("mnist5k")
    with pytest.raises(ValueError, match=r"unknown data set 'cifar11'.*'cifar10'"):
        preparation.prepare("cifar11")


# downloads


def serve(folder, status=200):
    def get(url, *, stream, timeout):
        assert stream and max(timeout) <= 30
        response = requests.Response()
        response.status_code, response.url = status, url
        response.raw = io.BytesIO((folder / url.rsplit("/", 1)[1]).read_bytes())
        return response

    return get


def test_download_uses_the_registered_addresses(source, data_dir, monkeypatch):
    monkeypatch.setattr(requests, "get", serve(source))
    target = preparation.prepare("mnist")
    assert os.listdir(data_dir) == ["mnist"]
    assert len(datasets.load("mnist").train.labels) == 30
    assert target.is_dir()


def test_download_of_another_file_is_refused(source, data_dir, monkeypatch):
    (source / "train-images-idx3-ubyte.gz").write_bytes(b"a login page")
    monkeypatch.setattr(requests, "get", serve(source))
    with pytest.raises(ValueError, match=r"train-images.*is not the original file"):
        preparation.prepare("mnist")
    assert os.listdir(data_dir) == []


def no_network(*args, **kwargs):
    raise requests.ConnectionError("HTTPSConnectionPool(...)\n: Max retries exceeded")


@pytest.mark.parametrize(
    ("get", "reason"),
    [
        pytest.param(lambda source: no_network, "(ConnectionError)", id="no-network"),
        pytest.param(lambda source: serve(source, status=404), "(HTTP 404)", id="not-found"),
    ],
)
def test_failed_download_says_what_to_do(source, data_dir, monkeypatch, get, reason):
    monkeypatch.setattr(requests, "get", get(source))
    with pytest.raises(ConnectionError) as error:
        preparation.prepare("mnist")
    url = "https://example.invalid/t10k-images-idx3-ubyte.gz"
    assert_one_line(error, url, reason, "snnjax data prepare mnist --source", "--dataset mnist5k")
    assert os.listdir(data_dir) == []
