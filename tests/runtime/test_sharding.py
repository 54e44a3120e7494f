"""Eight devices give the results of one."""

import json
import subprocess
import sys

import numpy as np
import pytest
from environments import environment
from paths import TESTS

pytestmark = pytest.mark.slow  # the fixture trains and evaluates twice, on one device and on eight


@pytest.fixture(scope="module")
def eight():
    command = [sys.executable, str(TESTS / "runtime/on_eight_devices.py")]
    done = subprocess.run(command, env=environment(8), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_eight_devices_count_what_one_counts(eight):
    assert eight["1"]["scores"] == eight["8"]["scores"]
    assert eight["1"]["exits"] == eight["8"]["exits"]
    assert len(set(eight["8"]["exits"]["stopped"])) > 2


def test_integer_networks_are_the_same_to_the_bit(eight):
    assert eight["1"]["whole"] == eight["8"]["whole"]
    assert len(np.unique(eight["8"]["whole"][0])) > 100


def test_each_device_has_its_share(eight):
    assert eight["1"]["parts"] == [[3, 16, 3]]
    assert eight["8"]["parts"] == [[3, 2, 3]] * 8
    assert eight["all visible"] == 8
    assert eight["sharing 12"] == 4


def test_no_device_computes_the_images_of_another(eight):
    assert eight["gathers"] == [False, False, False]


def test_eight_devices_train_the_network_that_one_trains(eight):
    one, all_ = eight["1"]["trained"], eight["8"]["trained"]
    for a, b in zip(one["history"], all_["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    assert set(one["variables"]) == set(all_["variables"])
    for name, value in one["variables"].items():
        np.testing.assert_allclose(value, all_["variables"][name], atol=1e-5, err_msg=name)


def test_what_cannot_be_shared_is_refused(eight):
    assert eight["refused"] == [
        "devices is 9, and 8 are visible; want at most those",
        "batch_size is 12, which 8 devices cannot share evenly; want 8 or 16, or fewer --devices",
    ]
