"""A user's own images: an .npz file or a folder by class, checked before anything is computed."""

import hashlib
import io
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snnjax.io import datasets, image_folder

LABELS = np.arange(12) % 3
BYTES = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 1), np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNJAX_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def save(tmp_path):
    """Write an .npz file with four good arrays, some of them replaced; None leaves one out."""

    def write(**changes):
        good = {"x_train": BYTES, "y_train": LABELS, "x_test": BYTES[:6], "y_test": LABELS[:6]}
        arrays = {name: x for name, x in {**good, **changes}.items() if x is not None}
        np.savez(tmp_path / "mine.npz", **arrays)
        return str(tmp_path / "mine.npz")

    return write


def write_images(folder, counts, *, shape=(4, 5), mode="L"):
    """Write random PNG images, `counts` of each class."""
    draw = np.random.default_rng(1)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for place in range(count):
            pixels = draw.integers(0, 256, (*shape, *((3,) if mode == "RGB" else ())), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{place}.png")


def shorten(path):
    path.write_bytes(path.read_bytes()[:-30])


def pairs(split):
    """Every image with its label, without their order."""
    return sorted((x.tobytes(), int(y)) for x, y in zip(*split, strict=True))


def test_own_data_npz_as_keras_writes_it_is_read_whole(save):
    data = datasets.load(save())
    assert pairs(data.train) == pairs((BYTES, LABELS))
    assert pairs(data.test) == pairs((BYTES[:6], LABELS[:6]))
    assert (data.name, data.classes, data.exact) == ("mine.npz", 3, True)
    assert data.class_names == ("0", "1", "2")
    assert data.train.images.dtype == np.uint8 and data.train.labels.dtype == np.int32
    assert data.sha256 == hashlib.sha256(Path(save()).read_bytes()).hexdigest()
    assert data.version == data.sha256[:12]


def test_own_data_the_first_images_are_of_all_classes_though_the_file_sorts_them(save):
    images, labels = np.zeros((300, 4, 5), np.uint8) + np.uint8(9), np.repeat([0, 1, 2], 100)
    data = datasets.load(save(x_train=images, y_train=labels))
    assert set(data.train.labels[:20].tolist()) == {0, 1, 2}
    again = datasets.load(save(x_train=images, y_train=labels))
    np.testing.assert_array_equal(data.train.labels, again.train.labels)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"x_train": BYTES[..., 0]}, id="without-channels"),
        pytest.param({"x_train": BYTES / np.float32(255)}, id="floats-to-1"),
        pytest.param({"x_train": (BYTES / 255).astype(np.float16)}, id="halves-to-1"),
        pytest.param({"x_train": BYTES.astype(np.float64)}, id="whole-floats"),
        pytest.param({"x_train": BYTES.astype(np.int64)}, id="whole-numbers"),
        pytest.param({"y_train": LABELS[:, None].astype(np.uint8)}, id="a-column-of-labels"),
        pytest.param(
            {"x_train": None, "y_train": None, "train_images": BYTES, "train_labels": LABELS},
            id="other-names",
        ),
    ],
)
def test_own_data_npz_in_other_usual_forms_is_the_same_data(save, changes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pairs(datasets.load(save(**changes)).train) == pairs((BYTES, LABELS))


def test_own_data_bools_are_black_and_white_and_names_of_classes_are_kept(save):
    names = np.array(["cat", "dog", "owl"])
    data = datasets.load(save(x_train=BYTES > 99, class_names=names))
    assert set(np.unique(data.train.images).tolist()) == {0, 255}
    assert data.class_names == ("cat", "dog", "owl")


def test_own_data_what_is_rounded_or_not_used_is_noted(save):
    floats = np.random.default_rng(0).random((12, 4, 5, 1), np.float32)
    with pytest.warns(UserWarning, match="x_train of .*mine.npz are rounded to multiples of 1/255"):
        datasets.load(save(x_train=floats))
    with pytest.warns(UserWarning, match="mine.npz also holds val_images, not used"):
        datasets.load(save(val_images=BYTES))


def test_own_data_without_a_test_part_gives_a_fifth_of_every_class(save):
    arrays = {"x_train": None, "y_train": None, "x_test": None, "y_test": None}
    images = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1)
    data = datasets.load(save(**arrays, images=images, labels=np.arange(60) % 3))
    assert np.bincount(data.test.labels).tolist() == [4, 4, 4]
    assert not {*data.test.images.ravel()} & {*data.train.images.ravel()}
    assert len(data.train.labels) == 48


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"y_train": None}, "holds x_train without labels .* want y_train too", id="no-labels"
        ),
        pytest.param(
            {"x_train": None, "y_train": None},
            "holds x_test, y_test; want x_train and y_train",
            id="no-training",
        ),
        pytest.param(
            {"train_images": BYTES}, "holds x_train and train_images; want one", id="two-names"
        ),
        pytest.param(
            {"y_train": np.array([None] * 12)},
            "array y_train holds pickled Python objects",
            id="objects",
        ),
        pytest.param(
            {"x_train": np.array([BYTES[0], BYTES[1, :2]], object)},
            "x_train holds pickled",
            id="images-of-differing-sizes",
        ),
        pytest.param({"y_train": LABELS + 1}, "no training image of class 0", id="labels-from-1"),
        pytest.param(
            {"y_train": LABELS - 1}, "labels from -1 to 1; want the classes from 0", id="below-0"
        ),
        pytest.param(
            {"y_train": np.where(LABELS == 1, 10**9, LABELS)},
            "labels from 0 to 1000000000",
            id="huge",
        ),
        pytest.param({"y_train": 2 * LABELS}, "no training image of class 1", id="a-gap"),
        pytest.param({"y_train": LABELS / 1}, "dtype float64; want integers", id="float-labels"),
        pytest.param(
            {"y_train": np.eye(3, dtype=int)[LABELS]}, "one-hot rows take argmax", id="one-hot"
        ),
        pytest.param(
            {"y_train": LABELS[:11]},
            r"shape \(11,\); want one number for each of 12",
            id="too-few-labels",
        ),
        pytest.param(
            {"y_train": 0 * LABELS, "y_test": 0 * LABELS[:6]}, "has one class, 0", id="one-class"
        ),
        pytest.param(
            {"y_test": LABELS[:6] + 1},
            "test images of class 3, but no training",
            id="test-has-more",
        ),
        pytest.param({"y_test": LABELS[:6] % 2}, "no test image of class 2", id="test-has-fewer"),
        pytest.param(
            {"x_test": BYTES[:6, :3]},
            r"shape \(4, 5, 1\) and test images of \(3, 5, 1\)",
            id="test-of-another-shape",
        ),
        pytest.param(
            {"x_train": BYTES[..., 0, 0]}, r"shape \(12, 4\); want \[N, H, W\]", id="vectors"
        ),
        pytest.param({"x_train": BYTES[:0]}, r"shape \(0, 4, 5, 1\)", id="no-images"),
        pytest.param(
            {"x_train": np.where(BYTES > 250, np.nan, BYTES / 255)}, "holds NaN or Inf", id="nan"
        ),
        pytest.param(
            {"x_train": BYTES / 127.5 - 1}, "pixels from -1 to 1; want whole", id="standardised"
        ),
        pytest.param({"x_train": BYTES * np.uint16(257)}, "pixels from .* to 65535", id="16-bits"),
        pytest.param(
            {"x_train": (BYTES > 9).astype(int)},
            "from 0 to 1; want pixels to 255, or bools",
            id="ones",
        ),
        pytest.param({"x_train": BYTES.astype(str)}, "dtype <U3; want uint8", id="texts"),
        pytest.param(
            {"class_names": np.array(["a"])}, "has 1 entries; want 3 texts", id="class-names"
        ),
    ],
)
def test_own_data_npz_that_would_go_wrong_is_refused(save, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(save(**changes))
    assert "\n" not in str(error.value) and "mine.npz" in str(error.value)


def test_own_data_nothing_pickled_is_loaded_and_damaged_files_are_named(save, tmp_path):
    path = tmp_path / "mine.npz"

    class Loud:
        def __reduce__(self):
            return print, ("this ran",)

    whole = Path(save()).read_bytes()
    single = io.BytesIO()
    np.save(single, BYTES)
    middle = len(whole) // 2
    broken = {
        pickle.dumps(Loud()): "pickled Python objects, which are never loaded",
        whole[: len(whole) // 2]: "cannot read .*mine.npz",
        whole[:middle] + bytes(64) + whole[middle + 64 :]: "cannot read .*mine.npz",
        single.getvalue(): "it is a single array",
        b"": "cannot read .*mine.npz",
    }
    for contents, message in broken.items():
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=message):
            datasets.load(str(path))


def test_own_data_folder_of_classes_is_read_in_the_order_of_their_names(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        write_images(tmp_path / "pets" / part, {"10": count, "9": count + 1})
    (tmp_path / "pets/train/9/.DS_Store").write_bytes(b"left by a desktop")
    data = datasets.load(str(tmp_path / "pets"))
    assert (data.name, data.class_names) == ("pets", ("9", "10"))  # numbers, not texts
    assert np.bincount(data.train.labels).tolist() == [4, 3]
    assert np.bincount(data.test.labels).tolist() == [3, 2]
    assert data.train.images.shape == (7, 4, 5, 1)
    found = dict(pairs(data.train))
    for path in (tmp_path / "pets/train").rglob("*.png"):
        assert found[np.asarray(Image.open(path)).tobytes()] == (path.parent.name == "10")


def test_own_data_folder_is_decoded_once_and_known_by_its_content(tmp_path, monkeypatch):
    write_images(tmp_path / "pets", {"cat": 5, "dog": 6}, mode="RGB")
    first = datasets.load(str(tmp_path / "pets"))
    assert first.train.images.shape == (8, 4, 5, 3)
    assert np.bincount(first.test.labels).tolist() == [1, 2]
    (tmp_path / "pets").rename(tmp_path / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "decode", None)
        moved = datasets.load(str(tmp_path / "moved"))
    assert moved.sha256 == first.sha256
    np.testing.assert_array_equal(moved.train.images, first.train.images)
    (tmp_path / "moved/dog/5.png").rename(tmp_path / "moved/cat/7.png")
    assert datasets.load(str(tmp_path / "moved")).sha256 != first.sha256


def test_own_data_grey_images_among_coloured_ones_get_three_channels(tmp_path):
    write_images(tmp_path / "pets", {"cat": 5}, mode="RGB")
    write_images(tmp_path / "pets", {"dog": 5})
    images, labels = datasets.load(str(tmp_path / "pets")).train
    assert (images[labels == 1][..., :1] == images[labels == 1]).all()
    assert not (images[labels == 0][..., :1] == images[labels == 0]).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            lambda f: (f / "train/cat/0.png").write_bytes(b"no"),
            "train/cat/0.png is broken",
            id="broken",
        ),
        pytest.param(
            lambda f: shorten(f / "train/cat/0.png"), "cat/0.png is broken", id="truncated"
        ),
        pytest.param(
            lambda f: (f / "train/cat/notes.txt").write_text("x"),
            "notes.txt is no image",
            id="no-image",
        ),
        pytest.param(
            lambda f: (f / "notes.txt").write_text("x"),
            "holds train and notes.txt",
            id="beside-train",
        ),
        pytest.param(
            lambda f: (f / "train/notes.txt").write_text("x"),
            "notes.txt is no folder",
            id="beside-classes",
        ),
        pytest.param(
            lambda f: (f / "train/owl").mkdir(), "class .*train/owl is empty", id="empty-class"
        ),
        pytest.param(
            lambda f: (f / "test/dog").rename(f / "test/wolf"),
            "class 'dog' in one of train and test only",
            id="other-classes",
        ),
        pytest.param(
            lambda f: Image.new("L", (4, 4)).save(f / "train/cat/9.png"),
            "9.png has 4 x 4 pixels and .* 4 x 5",
            id="sizes",
        ),
        pytest.param(
            lambda f: Image.new("RGBA", (5, 4)).save(f / "test/cat/0.png"),
            "cat/0.png has mode RGBA",
            id="transparent",
        ),
        pytest.param(
            lambda f: Image.new("I;16", (5, 4)).save(f / "test/cat/0.png"),
            "has mode I;16",
            id="16-bits",
        ),
    ],
)
def test_own_data_folder_that_would_go_wrong_is_refused(tmp_path, spoil, message):
    for part in ("train", "test"):
        write_images(tmp_path / "pets" / part, {"cat": 2, "dog": 2})
    spoil(tmp_path / "pets")
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(str(tmp_path / "pets"))
    assert "\n" not in str(error.value)


def test_own_data_a_path_is_told_from_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"unknown data set 'pets': want one of mnist5k.*\.npz"):
        datasets.load("pets")
    with pytest.raises(FileNotFoundError, match=r"no data at pets.npz; want an .npz file"):
        datasets.load("pets.npz")
    with pytest.raises(FileNotFoundError, match="no data at pets; want"):
        datasets.load("./pets")
    (tmp_path / "pets").mkdir()
    with pytest.raises(ValueError, match="pets is empty; want a folder of images for each class"):
        datasets.load("pets")
    write_images(tmp_path / "pets", {"cat": 4, "dog": 6})
    with pytest.raises(ValueError, match="no test part and a class of fewer than 5 images"):
        datasets.load("pets")
    (tmp_path / "mnist").mkdir()  # a name stays a name
    assert not datasets.is_path("mnist") and datasets.is_path("./mnist")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"a.txt is neither an .npz file nor a folder"):
        datasets.load("a.txt")


def test_b12_channels_first_are_noted(save):
    images = np.moveaxis(np.repeat(BYTES, 3, -1), -1, 1)
    with pytest.warns(UserWarning, match=r"if channels come first, save images\.transpose"):
        datasets.load(save(x_train=images, x_test=images[:6]))
