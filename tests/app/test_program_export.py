"""A network in one file: what it says without this package, and what is refused."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.app import cli, program_export
from snnjax.app.configurations import SimulateConfig, TrainConfig
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.neurons import NEURONS
from snnjax.snn.readout import READOUTS
from snnjax.snn.simulation import simulate

pytest.importorskip("flatbuffers")

SHAPE = (4, 4, 1)
NETWORK = dense_network()
ALONE = """
import sys
import numpy as np
import jax.export
header, program = open(sys.argv[1], "rb").read().split(b"\\n", 1)
run = jax.jit(jax.export.deserialize(bytearray(program)).call)
values = run(np.load(sys.argv[2]))
np.save(sys.argv[2], values)
assert not {"snnjax", "flax", "optax"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def params():
    return convert(NETWORK, random_variables(NETWORK, SHAPE), output_scale=4.0)


@pytest.fixture(scope="module")
def written(params, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "snn.jaxexport"
    config = SimulateConfig(num_steps=5)
    platforms = ("cpu", "cuda")
    program_export.save(
        path, program_export.export(NETWORK, params, config, SHAPE, platforms=platforms)
    )
    return path


def test_a_process_with_jax_and_the_file_only_says_the_same(written, params, tmp_path):
    images = random_images(7, SHAPE)
    place = tmp_path / "images.npy"
    np.save(place, images)
    subprocess.run([sys.executable, "-c", ALONE, str(written), str(place)], check=True, cwd="/")
    direct = simulate(NETWORK, params, images, num_steps=5).values
    np.testing.assert_allclose(np.load(place), direct, rtol=1e-5, atol=1e-5)


def test_any_number_of_images_and_both_platforms(written, params):
    program = program_export.load(written)
    assert program.exported.platforms == ("cpu", "cuda")
    for count in (1, 4):
        images = random_images(count, SHAPE)
        direct = simulate(NETWORK, params, images, num_steps=5).values
        np.testing.assert_allclose(program(images), direct, rtol=1e-5, atol=1e-5)


def test_drawn_spikes_take_a_key(params, tmp_path):
    config = SimulateConfig(
        num_steps=4, encoding="rate", neuron="double-threshold", readout="count"
    )
    program_export.save(tmp_path / "p", program_export.export(NETWORK, params, config, SHAPE))
    program, images, key = (
        program_export.load(tmp_path / "p"),
        random_images(3, SHAPE),
        jax.random.key(5),
    )
    direct = simulate(
        NETWORK, params, images, num_steps=4, encoding=ENCODINGS["rate"], key=key,
        neuron=NEURONS["double-threshold"], readout=READOUTS["count"],
    ).values  # fmt: skip
    np.testing.assert_allclose(program(images, key), direct, rtol=1e-5, atol=1e-5)
    assert not np.array_equal(program(images, jax.random.key(6)), direct)
    with pytest.raises(ValueError, match=r"the input is rate; pass key=jax.random.key\(seed\)"):
        program(images)


def test_the_first_line_says_what_it_is(written):
    header = json.loads(written.read_bytes().split(b"\n", 1)[0])
    wanted = {
        "kind": "snnjax export", "jax": jax.__version__, "num_steps": 5, "classes": 3,
        "image_shape": [4, 4, 1], "encoding": "constant", "neuron": "exact-charge",
        "readout": "membrane", "takes_key": False,
    }  # fmt: skip
    assert wanted.items() <= header.items()


def damaged(content, how):
    first, program = content.split(b"\n", 1)
    if how == "newer":
        return json.dumps({**json.loads(first), "jax": "1.2.0"}).encode() + b"\n" + program
    return {
        "foreign": b"\x89PNG\r\n\x1a\n" + content,
        "list": b"[1]\n" + program,
        "cut": content[:-100],
        "changed": content[:-1] + bytes([content[-1] ^ 1]),
    }[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("foreign", "was not made by snnjax export"),
        ("list", "was not made by snnjax export"),
        ("cut", "is truncated or damaged"),
        ("changed", "is truncated or damaged"),
        ("newer", f"was exported with jax 1.2.0, and this is jax {jax.__version__}; update jax"),
    ],
)
def test_a_file_that_cannot_run_is_named(written, tmp_path, how, message):
    path = tmp_path / "bad"
    path.write_bytes(damaged(written.read_bytes(), how))
    with pytest.raises(ValueError, match=message):
        program_export.load(path)
    with pytest.raises(FileNotFoundError, match="no program at"):
        program_export.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("images", "key", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), None, r"\(2, 4, 4, 3\); want \[B, 4, 4, 1\]"),
        (np.zeros((0, 4, 4, 1), np.float32), None, r"want \[B, 4, 4, 1\]"),
        (np.zeros((2, 4, 4, 1), np.uint8), None, "images are uint8; want floats"),
        (np.zeros((2, 4, 4, 1), np.float32), jax.random.key(0), "leave the key out"),
    ],
)
def test_bad_input_is_named(written, images, key, message):
    with pytest.raises(ValueError, match=message):
        program_export.load(written)(images, key)


def test_another_platform_and_a_missing_package_are_named(params, tmp_path, monkeypatch):
    config = SimulateConfig(num_steps=2)
    program_export.save(tmp_path / "p", program_export.export(NETWORK, params, config, SHAPE,
                                                    platforms=["cuda"]))  # fmt: skip
    with pytest.raises(ValueError, match="platform cpu, and the program for gpu; export it with"):
        program_export.load(tmp_path / "p")(random_images(1, SHAPE))
    with pytest.raises(ValueError, match="did you mean 'cuda'"):
        program_export.export(NETWORK, params, config, SHAPE, platforms=["cuba"])
    with pytest.raises(ValueError, match="no platforms; want some of cpu"):
        program_export.export(NETWORK, params, config, SHAPE, platforms=[])
    with pytest.raises(ValueError, match="a program runs all timesteps; leave the exit out"):
        program_export.export(NETWORK, params, SimulateConfig(exit_margin=1.0), SHAPE)
    monkeypatch.setattr(program_export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'snnjax\[export\]'"):
        program_export.load(tmp_path / "p")


def test_the_command_writes_the_network_of_a_file(tmp_path, capsys):
    config = TrainConfig(network="net1")
    network = config.architecture()
    variables = random_variables(network, (28, 28, 1))
    metadata = {
        "trained": {
            "config": {"network": "net1"},
            "dataset": {"name": "mnist5k"},
        },
        "config": {"method": None},
    }
    params = convert(network, variables)
    checkpoint.save(tmp_path / "snn.safetensors", params, kind="snn", metadata=metadata)
    line = ["export", str(tmp_path / "snn.safetensors"), "--num-steps", "3", "--platforms", "cpu"]
    assert cli.main([*line, "tpu"]) == 0
    assert "[B, 28, 28, 1] to values [3, B, 10], for cpu, tpu" in capsys.readouterr().out
    program, images = program_export.load(tmp_path / "snn.jaxexport"), random_images(2, (28, 28, 1))
    direct = simulate(network, params, images, num_steps=3).values
    np.testing.assert_allclose(program(images), direct, rtol=1e-4, atol=1e-4)
    assert program.metadata["trained_on"] == {"name": "mnist5k"}
    assert cli.main([*line, "gpu"]) == 2
    assert "unknown platform 'gpu'" in capsys.readouterr().err
