"""A Keras model as a pure function of JAX and its parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.io.imported_parameters import Apply, Params, check_names, floats_and_others

__all__ = ["from_keras"]


def from_keras(model: Any) -> tuple[Apply, Params]:
    """Return a Keras 3 model as a function of JAX in inference mode, and its parameters.

    The model stays as it is; the function uses its layers, not its weights.

    Args:
      model: a `keras.Model` that takes one array of images and has its weights, on Keras's JAX
        backend.

    Returns:
      `apply(params, images) -> outputs`, and the weights in float32 by their paths in the model,
      such as `block/conv2d/kernel`, with the statistics of batch normalisation. `apply` raises
      ValueError if a layer draws random numbers or changes its state.

    Raises:
      ImportError: if Keras is missing, with the command that installs it.
      TypeError: if `model` is no `keras.Model`.
      ValueError: if Keras computes by another backend than JAX, if the model has no weights yet
        or takes several inputs, or if two of its weights have the same path.
    """
    keras = _keras_package()
    if not isinstance(model, keras.Model):
        raise TypeError(f"from_keras takes a keras.Model, not a {type(model).__name__}")
    _check_model(model)
    weights = _named(model)
    values = {name: np.asarray(weight.value) for name, weight in weights.items()}
    params, constants = floats_and_others(values)
    return _function(model, weights, frozenset(params), constants), params


_BACKEND = (
    "set the environment variable KERAS_BACKEND=jax before keras is imported; a model that was"
    " trained with another backend can be saved as .keras and loaded so"
)


def _keras_package() -> Any:
    """Import Keras; check that it computes by JAX."""
    try:
        import keras
    except ImportError as error:
        if error.name != "keras":  # Keras is there, but not the backend that it is set to
            raise ImportError(f"keras cannot be imported ({error}): {_BACKEND}") from error
        raise ImportError(
            'from_keras needs the package keras: pip install "snnjax[keras]"'
        ) from error
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(f"Keras computes by {backend}, not by JAX: {_BACKEND}")
    return keras


def _check_model(model: Any) -> None:
    if not model.built:
        raise ValueError(
            f"model {model.name} has no weights yet; call it on an image, or begin it with"
            " keras.Input"
        )
    inputs = getattr(model, "inputs", None) or [None]
    if len(inputs) > 1:
        raise ValueError(f"model {model.name} takes {len(inputs)} inputs; want images alone")


def _named(model: Any) -> dict[str, Any]:
    """Return the weights by their paths in the model, its own name left out.

    Keras puts that name before some models' paths and drops it when the model is saved.
    """
    found: dict[str, Any] = {}
    for weight in model.weights:
        name = weight.path.removeprefix(f"{model.name}/")
        if name in found:
            raise ValueError(
                f"several weights of model {model.name} have the path {name}; give each layer a"
                " name of its own"
            )
        found[name] = weight
    return found


def _function(
    model: Any, weights: dict[str, Any], names: frozenset[str], constants: Params
) -> Apply:
    """Return `apply(params, images)` for a model."""
    import keras

    def apply(params: Any, images: Any) -> Any:
        check_names(params, names, model.name)
        values = jax.tree.map(jnp.asarray, {**params, **constants})
        given = [(weight, values[name]) for name, weight in weights.items()]
        with keras.StatelessScope(state_mapping=given) as scope:
            outputs = model(jnp.asarray(images), training=False)
        values_given = {id(weight): value for weight, value in given}
        for variable in model.variables:  # random numbers change the state of a seed generator
            if scope.get_current_value(variable) is not values_given.get(id(variable)):
                raise ValueError(
                    f"layer {_owner(model, variable)} changes {variable.path} in inference mode;"
                    " want layers that draw no random numbers and keep no state"
                )
        return outputs

    apply.__name__ = apply.__qualname__ = model.name
    return apply


def _owner(model: Any, variable: Any) -> str:
    """Return the name of the layer that has a variable, else of the model."""
    for layer in model.layers:
        if any(variable is own for own in layer.variables):
            return layer.name
    return model.name
