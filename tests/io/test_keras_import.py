"""Keras models as functions of JAX, and as spiking networks."""

import sys

import jax
import numpy as np
import pytest
from spiking_functions import images, largest_difference, settled

import snnjax

X = images((8, 8, 3))


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "jax")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        import keras
    return keras


@pytest.fixture(scope="module")
def model(keras):
    """A residual network with weights that are multiples of 1/64."""
    layers = keras.layers
    x = image = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling2D(name="pool")(layers.ReLU(name="relu")(x))
    inner = layers.Conv2D(4, 3, padding="same", name="conv"), layers.Dropout(0.5)
    x = layers.Add(name="sum")([x, keras.Sequential(inner, name="block")(x)])
    x = layers.GlobalAveragePooling2D(name="mean")(layers.Activation("gelu", name="gelu")(x))
    model = keras.Model(image, layers.Dense(5, name="head")(x), name="net")
    draw = np.random.default_rng(0)
    for weight in model.weights:
        positive = weight.path.endswith("variance")
        drawn = (
            draw.uniform(0.25, 1, weight.shape) if positive else draw.normal(0, 0.4, weight.shape)
        )
        weight.assign(np.round(drawn * 64) / 64)
    return model


@pytest.fixture(scope="module")
def function(model):
    return snnjax.from_keras(model)


@pytest.mark.slow
def test_the_function_has_the_outputs_of_the_model_in_inference_mode(model, function):
    apply, params = function
    wanted = model(X, training=False)
    assert largest_difference(jax.jit(apply)(params, X), wanted) < 1e-5


@pytest.mark.slow
def test_parameters_have_the_paths_of_the_model(function):
    _, params = function
    assert list(params) == [
        "separable/depthwise_kernel", "separable/pointwise_kernel", "separable/bias",
        "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance",
        "block/conv/kernel", "block/conv/bias", "head/kernel", "head/bias",
    ]  # fmt: skip
    assert all(isinstance(of, np.ndarray) and of.dtype == np.float32 for of in params.values())


@pytest.mark.slow
def test_it_settles_to_its_quantised_function_at_sites_named_by_layers(function):
    assert settled(*function, X).function.sites == ("separable", "separable:2", "sum")


@pytest.mark.slow
def test_the_function_is_pure(model, function):
    apply, params = function
    wanted, head = model(X, training=False), model.get_layer("head")
    kept = np.asarray(head.bias.value)
    head.bias.assign(np.zeros(5))
    model.get_layer("norm").trainable = False

    def total(params):
        found = jax.vmap(lambda x: apply(params, x[None])[0])(X)
        return found.sum(), found

    slope, found = jax.jit(jax.grad(total, has_aux=True))(params)
    head.bias.assign(kept)
    assert largest_difference(found, wanted) < 1e-5
    np.testing.assert_allclose(slope["head/bias"], np.full(5, len(X)))


@pytest.mark.slow
def test_a_traced_model_keeps_the_names_of_its_layers(keras):
    layers = keras.layers
    parts = layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="on"), layers.Flatten()
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts, layers.Dense(3, name="0")])
    network, _, _ = snnjax.trace(*snnjax.from_keras(model), X[:1])
    assert list(dict(network.user_names).values()) == ["conv", "on/relu", "0"]


@pytest.mark.slow
def test_layers_that_draw_random_numbers_are_refused_by_name(keras):
    class Noise(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="noise")
            self.generator = keras.random.SeedGenerator(0)

        def call(self, x):
            return keras.random.dropout(x, 0.5, seed=self.generator)

    image = keras.Input((8, 8, 3))
    function = snnjax.from_keras(keras.Model(image, Noise()(image)))
    with pytest.raises(ValueError, match=r"layer noise changes .*; want layers that draw no"):
        snnjax.spike(*function, X)


@pytest.mark.slow
def test_models_that_are_no_functions_of_images_are_refused(keras, model, function, monkeypatch):
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.other = (keras.layers.Dense(1, name="dense") for _ in range(2))

        def call(self, x):
            return self.one(x) + self.other(x)

    twins, image = Twins(), keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match=r"^model twins has no weights yet; call it"):
        snnjax.from_keras(twins)
    twins(np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"^several weights of model twins have the path dense/"):
        snnjax.from_keras(twins)
    with pytest.raises(ValueError, match=r"takes 2 inputs; want images alone$"):
        snnjax.from_keras(keras.Model([image, image], image))
    with pytest.raises(TypeError, match=r"^from_keras takes a keras.Model, not a Dense$"):
        snnjax.from_keras(keras.layers.Dense(1))
    with pytest.raises(ValueError, match=r"^params of net have the unknown name more; want"):
        function[0]({**function[1], "more": 0.0}, X)
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match=r"^Keras computes by torch, .*KERAS_BACKEND=jax before"):
        snnjax.from_keras(model)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match=r'needs the package keras.*"snnjax\[keras\]"$'):
        snnjax.from_keras(None)
