"""Layers of a traced network keep the names of the user's model, also through a file."""

import flax.linen as nn
import jax
from functions_of_images import KEY, images

from snnjax import trace
from snnjax.analysis.layer_tables import describe_layers, layer_table
from snnjax.conversion.tracing.user_names import find_user_names
from snnjax.networks import serialisation


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(2, (1, 1), name="conv")(x))
        return jax.numpy.clip(nn.Conv(2, (1, 1), name="more")(x), -1, 1)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = Block(name="block1")(x)
        return nn.Dense(2, name="head")(x.reshape(len(x), -1))


def test_e_layers_have_the_names_of_the_users_modules():
    x = images(2, 2, 3)
    network, variables, _ = trace(Net().apply, jax.jit(Net().init)(KEY, x), x)
    wanted = {
        "00_conv": "block1/conv", "01_activation": "block1/relu", "02_conv": "block1/more",
        "03_activation": "block1/clip", "05_dense": "head",
    }  # fmt: skip
    assert dict(network.user_names) == wanted
    again = serialisation.read(serialisation.write(network))
    assert again.user_names == network.user_names
    rows = describe_layers(again, variables, (2, 2, 3), scales={"01_activation": 1.0})
    shown = list(layer_table(rows, "").columns[0].cells)
    assert shown == [wanted.get(row.path, row.path) for row in rows]


def test_e_a_name_is_given_once_and_files_without_names_are_read():
    nothing = frozenset()
    names = find_user_names(
        {"0": nothing, "1": nothing, "2": frozenset({"layers/0/weight"}), "3": nothing},
        {"0": "Net/a/relu", "1": "Net/a/relu", "2": "", "3": ""},
    )
    assert dict(names) == {"0": "a/relu", "1": "a/relu_1", "2": "layers/0"}
    assert serialisation.read('{"name": "a", "layers": []}').user_names == ()
