"""torchax's environment, in which operations have the names of the user's modules."""

from __future__ import annotations

import dataclasses
from typing import Any

from jax.extend import source_info_util

__all__ = ["name_modules", "new_environment"]


def new_environment() -> Any:
    """Return an environment that computes operations of PyTorch by JAX.

    torchax names an operation by the function of PyTorch, such as `aten::convolution`. This
    environment names it by the module that is computing, and refuses to draw random numbers.
    """
    from torchax import tensor

    class ModuleEnvironment(tensor.Environment):
        """Environment with JAX's name stacks of the modules that are computing, innermost last."""

        def begin(self, name: str) -> None:
            """Enter the outermost module, a class of that name, whose scope is open."""
            self.outermost = source_info_util.current_name_stack()
            self.names, self.stacks = [name], [self.outermost]

        def enter(self, path: str) -> None:
            """Enter a module; the outermost has the path ""."""
            self.names.append(path or self.names[0])
            self.stacks.append(self.outermost.extend(path) if path else self.outermost)

        def leave(self) -> None:
            """Go back to the module that called."""
            del self.names[-1], self.stacks[-1]

        def get_and_rotate_prng_key(self, generator: Any = None) -> Any:
            """Refuse, in place of a key for random numbers."""
            raise ValueError(
                f"{self.names[-1]} draws random numbers in inference mode; want a module whose"
                " outputs depend on its input alone"
            )

        def _get_op_or_decomp(self, function: Any) -> Any:
            operation = super()._get_op_or_decomp(function)
            if not operation.is_jax_function:  # made of others, which come here themselves
                return operation

            def compute(*args: Any, **options: Any) -> Any:
                with source_info_util.set_name_stack(self.stacks[-1]):
                    return operation.func(*args, **options)

            return dataclasses.replace(operation, func=compute)

    return ModuleEnvironment()


def name_modules(module: Any, environment: Any) -> None:
    """Make a module tell an environment of `new_environment` which part of it is computing."""
    for path, part in module.named_modules():
        part.register_forward_pre_hook(lambda *_, path=path: environment.enter(path))
        part.register_forward_hook(lambda *_: environment.leave())
