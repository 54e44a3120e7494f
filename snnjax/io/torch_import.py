"""A PyTorch module as a pure function of JAX and its parameters, by torchax."""

from __future__ import annotations

import copy
import threading
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.io.imported_parameters import Apply, Params, check_names, floats_and_others
from snnjax.io.torch_environment import name_modules, new_environment
from snnjax.runtime.images import FUNCTION_RANKS, float_images

__all__ = ["from_torch"]

LARGEST_DIFFERENCE = 1e-3
"""Share of the largest output by which rounding may change outputs from PyTorch to JAX."""


def from_torch(module: Any, example: Any) -> tuple[Apply, Params]:
    """Return a PyTorch module as a function of JAX in inference mode, and its parameters.

    The module is copied in float32 and in inference mode (`eval`), and stays as it is. Its outputs
    on two images of the example are compared with those of the function.

    Args:
      module: a `torch.nn.Module` whose `forward` takes the images alone.
      example: images `[B, ...]` in the module's own order of axes, such as `[B, C, H, W]`; an
        array, or a tensor of PyTorch.

    Returns:
      `apply(params, images) -> outputs`, and parameters and buffers in float32 by their names in
      the module, as in its state dict.

    Raises:
      ImportError: if PyTorch or torchax is missing, with the command that installs it.
      TypeError: if `module` is no `torch.nn.Module`.
      ValueError: if the module cannot be copied, cannot be computed by JAX, draws random numbers,
        or has other outputs than the function.
    """
    torch = _torch_package()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch takes a torch.nn.Module, not a {type(module).__name__}")
    if example is None:
        raise ValueError("example is None; want images [B, ...]: two of them are compared")
    if isinstance(example, torch.Tensor):
        example = example.detach().cpu()
        example = (example.float() if example.is_floating_point() else example).numpy()
    images = np.array(float_images(example, "example", " to compare on", FUNCTION_RANKS)[:2])
    module = getattr(module, "_orig_mod", module)  # what torch.compile was given
    name = type(module).__name__
    try:
        frozen = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    except Exception as error:  # PyTorch and user's modules have errors of their own here
        raise _failure(f"{name} cannot be copied", error) from error
    try:
        wanted = frozen(torch.tensor(images))
    except Exception as error:
        raise _failure(f"{name} fails on an example of shape {images.shape}", error) from error
    params, constants = floats_and_others(_tensors(frozen))
    apply = _function(frozen, name, frozenset(params), constants)
    try:
        with jax.default_matmul_precision("highest"):
            found = jax.jit(apply)(params, images)
    except ValueError:
        raise
    except Exception as error:
        raise _failure(f"torchax cannot compute {name} by JAX", error) from error
    _check_same(name, found, wanted)
    return apply, params


def _torch_package() -> Any:
    """Import PyTorch; check that torchax can be imported, which 0.0.13 cannot."""
    try:
        import torch
        import torchax  # noqa: F401
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f'from_torch needs PyTorch and torchax ({error}): pip install "snnjax[torch]"'
        ) from error
    return torch


def _failure(what: str, error: Exception) -> ValueError:
    """Return an error in one line: the first of another error's message."""
    lines = str(error).strip().splitlines()
    return ValueError(f"{what} ({type(error).__name__}: {lines[0] if lines else 'no message'})")


def _tensors(module: Any) -> Params:
    """Return all tensors of a module by their names; plain attributes become buffers first."""
    import torch

    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor):
                delattr(part, name)
                part.register_buffer(name, value, persistent=False)
    tensors = (*module.named_parameters(), *module.named_buffers())
    return {name: value.numpy() for name, value in tensors}


def _function(module: Any, name: str, names: frozenset[str], constants: Params) -> Apply:
    """Return `apply(params, images)` for a module that only it calls."""
    import torch

    environment, lock = new_environment(), threading.Lock()
    name_modules(module, environment)

    def apply(params: Any, images: Any) -> Any:
        check_names(params, names, name)
        arrays = jax.tree.map(jnp.asarray, ({**params, **constants}, images))
        named = jax.named_scope(name)
        # A call puts the parameters into the module for its duration: one thread at a time.
        with lock, warnings.catch_warnings(), environment, torch.device("jax"), named:
            warnings.filterwarnings("ignore", "Explicitly requested dtype int64")
            environment.begin(name)
            tensors, x = environment.j2t_iso(arrays)
            outputs = torch.func.functional_call(module, tensors, (x,), strict=True)
            return environment.t2j_iso(outputs)

    apply.__name__ = apply.__qualname__ = name
    return apply


def _check_same(name: str, found: Any, wanted: Any) -> None:
    """Check that outputs of JAX are those of PyTorch up to rounding."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    for ours, theirs in pairs:
        a, b = (np.asarray(of, np.float64) for of in (ours, theirs))
        if a.shape != b.shape:
            raise ValueError(f"{name} returns shape {b.shape} in PyTorch and {a.shape} in JAX")
        difference = float(np.abs(a - b).max(initial=0.0))
        if not difference <= LARGEST_DIFFERENCE * np.abs(b).max(initial=0.0):
            raise ValueError(
                f"outputs of {name} in JAX differ from those of PyTorch by {difference:.3g} on the"
                " example; want a module whose outputs depend on its input and parameters alone"
            )
