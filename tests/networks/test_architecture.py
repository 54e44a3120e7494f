"""Tests of layer specifications and of the known networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import residual_network

from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.snn.engine import neuron_shapes


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (known_networks.NET1, 784 * 1200 + 1200 * 1200 + 1200 * 10 + 2410),
        (known_networks.NET2, 29_826),
    ],
)
def test_networks_of_the_paper_have_their_number_of_parameters(network, parameters):
    variables = jax.jit(ANN(network.layers).init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert sum(np.size(leaf) for leaf in jax.tree.leaves(variables)) == parameters


@pytest.mark.parametrize(
    ("network", "parameters", "weighted", "neurons"),
    [
        (known_networks.VGG16, 15_249_354, 16, 277_504),
        (known_networks.VGG16_QUARTER, 956_154, 16, 69_376),
        (known_networks.RESNET20, 272_474, 22, 188_416),
        (known_networks.RESNET20_WIDE, 4_327_754, 22, 753_664),
        (known_networks.RESNET18, 11_173_962, 21, 557_056),
    ],
)
def test_networks_for_cifar10_have_their_size(network, parameters, weighted, neurons):
    module = ANN(network.layers)
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == parameters
    layers = [layer for _, layer in arch.walk(network.layers)]
    assert sum(isinstance(layer, arch.Dense | arch.Conv) for layer in layers) == weighted
    layers = jax.eval_shape(lambda of: convert(network, of)["layers"], variables)
    shapes = neuron_shapes(network, layers, (32, 32, 3))
    assert sum(map(math.prod, shapes.values())) == neurons


def test_names_sort_in_network_order_and_paths_reach_into_blocks():
    network = residual_network()
    names = [name for name, _ in arch.named(network.layers)]
    assert names == sorted(names)
    assert names[:4] == ["00_conv", "01_norm", "02_activation", "03_residual"]
    assert "03_residual/body/02_activation" in arch.activations(network)


def test_activations_are_replaced_inside_blocks_too():
    other = arch.Activation(0.5, 3.0)
    network = arch.with_activation(residual_network(), other)
    assert set(arch.activations(network).values()) == {other}


def test_learnt_theta_stays_positive():
    network = arch.with_activation(known_networks.NET2, arch.Activation(0.1, 2.0, "channel"))
    variables = jax.jit(ANN(network.layers).init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    theta = variables["params"]["01_activation"]["log_theta"]
    assert theta.shape == (12,)
    np.testing.assert_allclose(jnp.exp(theta), 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: arch.Activation(alpha=1.5), r"alpha is 1.5; want a slope in \(0, 1\]"),
        (lambda: arch.Activation(alpha=float("nan")), "alpha is nan"),
        (lambda: arch.Activation(theta=0.0), "theta is 0.0; want a bound above 0"),
        (lambda: arch.Activation(learn="pixel"), "learn is 'pixel'; want 'nothing', 'layer'"),
        (lambda: arch.Activation(theta=float("inf"), learn="layer"), "theta is inf and cannot"),
        (lambda: arch.Network("x", ("relu",)), "layer 00_unknown is 'relu'; want one of .*Dense"),
        (
            lambda: known_networks.find("net3"),
            "unknown network 'net3': want one of net1, net2, .*mean",
        ),
        (lambda: arch.Normalise((0.5,), (0.1, 0.2)), "one standard deviation above 0"),
        (lambda: arch.Normalise((0.5,), (0.0,)), "one standard deviation above 0"),
        (
            lambda: arch.Network("x", (arch.Flatten(), known_networks.CIFAR10)),
            "layer 01_normalise is a Normalise; want it as the first layer only",
        ),
        (
            lambda: arch.Network("x", (arch.Flatten(), arch.Transpose((1, 2, 0)))),
            "layer 01_transpose is a Transpose; want it as the first layer only",
        ),
    ],
)
def test_bad_specifications_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
