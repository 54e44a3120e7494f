"""Fields of layers have one form, whatever form Flax accepts they are given in."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.networks.ann import ANN
from snnjax.networks.layers.transpose import Transpose
from snnjax.snn.simulation import simulate

SHAPE = (6, 6, 2)
CASES = {
    "padding=1": (arch.Conv(4, (3, 3), padding=1), {"padding": 1}),
    "padding=(1, 1)": (arch.Conv(4, (3, 3), padding=(1, 1)), {"padding": (1, 1)}),
    "padding=[(2, 0), 1]": (arch.Conv(4, (3, 3), padding=[(2, 0), 1]), {"padding": [(2, 0), 1]}),
    "padding=same": (arch.Conv(4, (3, 3), padding="same"), {"padding": "SAME"}),
    "strides=2": (arch.Conv(4, (3, 3), 2), {"strides": 2}),
    "kernel_size=[3, 3]": (arch.Conv(4, [3, 3], padding="VALID"), {"padding": "VALID"}),
    "arrays": (
        arch.Conv(np.int64(4), np.array([3, 3]), dilation=jnp.array([2, 1])),
        {"kernel_dilation": (2, 1)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_b5_a_convolution_takes_what_flax_takes(case):
    layer, given = CASES[case]
    network = arch.Network("one", [layer, arch.Activation(0, 2), arch.Flatten(), arch.Dense(3)])
    assert hash(network) == hash(serialisation.read(serialisation.write(network)))
    images = random_images(2, SHAPE)
    variables = random_variables(network, SHAPE)
    own = variables["params"]["00_conv"]
    wanted = nn.Conv(4, (3, 3), **given).apply({"params": own}, images)
    found = layer.current(own, jnp.asarray(images))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    for engine in ("fast", "plain"):
        result = simulate(network, convert(network, variables), images, num_steps=2, engine=engine)
        assert result.values.shape == (2, 2, 3)


def test_b5_fields_are_plain_and_equal_layers_are_equal():
    assert arch.Conv(4, 3, 2, 1) == arch.Conv(4, (3, 3), (2, 2), ((1, 1), (1, 1)))
    assert arch.Conv(4, [3, 1], padding=[1, (0, 2)]).padding == ((1, 1), (0, 2))
    assert arch.Conv(4, 3, None).strides == (1, 1)
    assert arch.AvgPool(2) == arch.AvgPool([2, 2]) == arch.AvgPool(np.array([2, 2]))
    assert arch.AvgPool(3, 2).strides == (2, 2)
    assert arch.Normalise([0.5, 0.25], np.array([0.5, 1.0])) == arch.Normalise(
        (0.5, 0.25), (0.5, 1)
    )
    assert arch.Normalise(0.5, 0.25) == arch.Normalise((0.5,), (0.25,))
    assert arch.Activation(np.float32(0.5), jnp.float32(2)) == arch.Activation(0.5, 2.0)
    body = [arch.Conv(2, 1), arch.Activation()]
    assert arch.Residual(body) == arch.Residual(tuple(body), ())
    assert arch.Concat([body, []]) == arch.Concat((tuple(body), ()))
    assert Transpose([1, 2, 0]) == Transpose((1, 2, 0))
    networks = (arch.Network("x", kind((arch.Flatten(), arch.Dense(2)))) for kind in (list, tuple))
    assert len(set(networks)) == 1
    module = ANN([arch.Flatten(), arch.Dense(2)])
    assert module.init(jax.random.key(0), jnp.zeros((1, 2))) is not None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: arch.Conv(4, (3, 3, 3)), r"kernel_size of Conv is \(3, 3, 3\); want one number"),
        (lambda: arch.Conv(4, 2.5), "kernel_size of Conv is 2.5; want a whole number"),
        (lambda: arch.Conv(0, 3), "features of Conv is 0; want a whole number of at least 1"),
        (lambda: arch.Conv(True, 3), "features of Conv is True; want a whole number"),
        (lambda: arch.Conv(4, 3, 0), "strides of Conv is 0; want a whole number of at least 1"),
        (lambda: arch.Conv(4, 3, padding="CIRCULAR"), "'CIRCULAR'; want one of SAME, VALID, or"),
        (lambda: arch.Conv(4, 3, padding=-1), "padding of Conv is -1; want a whole number"),
        (lambda: arch.Conv(4, 3, padding=((1, 1),)), "padding of Conv is .*want one of SAME"),
        (lambda: arch.Conv(4, 3, groups=3), "features of Conv is 4 and groups 3; want as many"),
        (lambda: arch.Conv(4, 3, use_bias=1), "use_bias of Conv is 1; want True or False"),
        (lambda: arch.Dense(2.5), "features of Dense is 2.5; want a whole number"),
        (lambda: arch.Dense("8"), "features of Dense is '8'; want a whole number"),
        (lambda: arch.AvgPool((2,)), r"window of AvgPool is \(2,\); want one number"),
        (lambda: arch.Activation(theta="2"), "theta of Activation is '2'; want a number"),
        (lambda: arch.BatchNorm(epsilon=None), "epsilon of BatchNorm is None; want a number"),
        (lambda: arch.Residual(arch.Dense(2)), "body of Residual is Dense.*want a tuple or list"),
        (lambda: arch.Network("x", arch.Dense(2)), "layers of Network is Dense.*want a tuple"),
        (lambda: arch.Network(["x"], ()), r"name of Network is \['x'\]; want a text"),
    ],
)
def test_b5_bad_fields_are_refused_when_the_layer_is_made(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_b5_batch_normalisation_refuses_numbers_out_of_range():
    for field, value, wanted in (
        ("epsilon", -1, r"-1\.0; want it in \[0, inf\)"),
        ("epsilon", np.nan, r"nan; want it in \[0, inf\)"),
        ("momentum", 7, r"7\.0; want it in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=f"{field} of BatchNorm is {wanted}"):
            arch.BatchNorm(**{field: value})
