"""Which way to compute a convolution is the fastest, for every shape of the six networks.

`python experiments/throughput/lowering.py` measures XLA's own convolution, patches, pairs of
pixels, Winograd's algorithm, products of shifted maps or of rows of patches, and, for tiny maps,
one dense matrix, forward and with the gradient, and writes `results/lowering.json` and
`results/lowering.md`: which wins, and which one `snnjax.runtime.convolution` takes. Such runs led
to `choose_algorithm` and `prepare_kernel`; this checks their choices on another machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cases
import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from cases import Effort, alternate, build, figures, timed
from tqdm.auto import tqdm

from snnjax.app import printing
from snnjax.io import records
from snnjax.io.checkpoint import write_whole
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.runtime.convolution import ConvSpec, PreparedKernel, choose_algorithm, prepare_kernel
from snnjax.runtime.patches import conv_by_pairs, conv_by_patches, pairs_are_faster
from snnjax.runtime.windows import Pads, Window
from snnjax.runtime.winograd import conv_by_winograd, transform_kernel

HERE = Path(__file__).parent
NETWORKS = ("net1", "net2", "vgg16", "resnet20", "resnet20_wide", "resnet18")
BATCHES = (1, 16, 128)
LARGEST_MATRIX = 2**23
"""Entries up to which a convolution is tried as a dense matrix: 32 MiB."""
TIE = 1.05
"""Up to which share of the fastest two ways count as equal."""


class Shape(NamedTuple):
    """A convolution: `size` is (H, W, C) of its input, `kernel` (kh, kw, C / groups, features)."""

    size: tuple[int, int, int]
    kernel: tuple[int, int, int, int]
    strides: tuple[int, int]
    padding: Literal["SAME", "VALID"] | Pads
    groups: int = 1

    @property
    def window(self) -> Window:
        return Window(self.kernel[:2], self.strides, self.padding)

    @property
    def outputs(self) -> tuple[int, int, int]:
        """Shape of an image of the output."""
        return (*self.window.outputs(self.size), self.kernel[-1])


GROUPED = (
    Shape((16, 16, 64), (3, 3, 16, 64), (1, 1), "SAME", 4),
    Shape((16, 16, 64), (3, 3, 1, 64), (2, 2), "SAME", 64),
    Shape((4, 4, 256), (3, 3, 64, 256), (1, 1), "SAME", 4),
)
"""None of the six networks has groups; these are what a network with them may have."""


def shapes_of(network: arch.Network) -> set[Shape]:
    """Every convolution of a network once."""
    images = jax.ShapeDtypeStruct((1, *cases.image_shape(network)), jnp.float32)
    found: set[Shape] = set()

    def follow(layers: tuple[arch.Layer, ...], params: dict[str, Any], x: Any) -> Any:
        for name, layer in arch.named(layers):
            inner = params.get(name, {})
            match layer:
                case arch.Block():
                    branches = [
                        follow(inside, inner.get(branch, {}), x)
                        for branch, inside in layer.branches.items()
                    ]
                    x = jax.eval_shape(lambda *parts, of=layer: of.join(parts), *branches)
                case arch.Conv():
                    found.add(Shape(
                        x.shape[1:], inner["kernel"].shape, layer.strides, layer.padding,
                        layer.groups,
                    ))  # fmt: skip
                    x = jax.eval_shape(layer.linear, inner, x)
                case arch.Dense() | arch.AvgPool() | arch.Flatten():
                    x = jax.eval_shape(layer.linear, inner, x)
        return x

    variables = jax.eval_shape(ANN(network.layers).init, jax.random.key(0), images)
    follow(network.layers, variables["params"], images)
    return found


def xla(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, shape.strides, shape.padding, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=shape.groups, precision=jax.lax.Precision.HIGHEST,
    )  # fmt: skip


def patches(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return conv_by_patches(
        x, kernel, shape.window, groups=shape.groups, precision=jax.lax.Precision.HIGHEST
    )


def pairs(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return conv_by_pairs(x, kernel, shape.window, precision=jax.lax.Precision.HIGHEST)


def shifts(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A product for each pixel of the kernel, of the map shifted by it, and their sum."""
    kh, kw, channels, features = shape.kernel
    rows, columns, _ = shape.outputs
    x = jnp.pad(x, ((0, 0), *shape.window.pads(shape.size), (0, 0)))
    total = sum(
        jnp.dot(
            x[:, i : i + rows, j : j + columns].reshape(-1, channels), kernel[i, j],
            precision=jax.lax.Precision.HIGHEST,
        )
        for i in range(kh) for j in range(kw)
    )  # fmt: skip
    return total.reshape(len(x), rows, columns, features)


def rows_of_patches(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """One product of patches as wide as the kernel and one pixel high with all of its rows, whose
    results are added where they belong: a third of the copies that whole patches of 3x3 need.
    """
    kh, kw, channels, features = shape.kernel
    rows, columns, _ = shape.outputs
    above, beside = shape.window.pads(shape.size)
    x = jnp.pad(x, ((0, 0), (0, 0), beside, (0, 0)))
    wide = jnp.concatenate([x[:, :, j : j + columns] for j in range(kw)], -1)
    product = jnp.dot(
        jax.lax.optimization_barrier(wide).reshape(-1, kw * channels),
        kernel.transpose(1, 2, 0, 3).reshape(kw * channels, kh * features),
        precision=jax.lax.Precision.HIGHEST,
    )
    parts = jax.lax.optimization_barrier(product).reshape(*wide.shape[:3], kh, features)
    parts = jnp.pad(parts, ((0, 0), above, (0, 0), (0, 0), (0, 0)))
    return sum((parts[:, i : i + rows, :, i] for i in range(1, kh)), parts[:, :rows, :, 0])


def by_tiles(shape: Shape, x: jax.Array, made: jax.Array) -> jax.Array:
    """With Winograd's kernel made before, as a simulation has it."""
    return conv_by_winograd(x, made, shape.window, precision=jax.lax.Precision.HIGHEST)


def tiles(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return by_tiles(shape, x, transform_kernel(kernel))


def matrix_of(shape: Shape, kernel: jax.Array) -> jax.Array:
    """The convolution as `[H * W * C, H' * W' * features]`: what it makes of each unit image."""
    inputs = int(np.prod(shape.size))
    units = jnp.eye(inputs).reshape(inputs, *shape.size)
    return patches(shape, units, kernel).reshape(inputs, -1)


def matrix(shape: Shape, x: jax.Array, kernel: jax.Array) -> jax.Array:
    made = jax.lax.optimization_barrier(matrix_of(shape, kernel))
    return by_matrix(shape, x, made)


def by_matrix(shape: Shape, x: jax.Array, made: jax.Array) -> jax.Array:
    """With the matrix made before, as it may be for all timesteps at once."""
    flat = jnp.dot(x.reshape(len(x), -1), made, precision=jax.lax.Precision.HIGHEST)
    return flat.reshape(len(x), *shape.outputs)


def ways(shape: Shape) -> dict[str, Callable[..., jax.Array]]:
    """Every way to compute it, by name."""
    found = {"xla": xla, "patches": patches}
    if shape.groups == 1 and shape.strides == (1, 1) and shape.kernel[:2] != (1, 1):
        found |= {"shifts": shifts, "rows": rows_of_patches}
        if shape.kernel[:2] == (3, 3):
            found["winograd"] = tiles
        if pairs_are_faster(shape.size, shape.kernel, shape.window):
            found["pairs"] = pairs
    if np.prod(shape.size) * np.prod(shape.outputs) <= LARGEST_MATRIX:
        found["matrix"] = matrix
    return {name: partial(way, shape) for name, way in found.items()}


def with_gradient(way: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Both gradients of a convolution, which need it forward besides."""

    def run(x: jax.Array, kernel: jax.Array, upstream: jax.Array) -> Any:
        result, pull = jax.vjp(way, x, kernel)
        return result, pull(upstream)

    return run


def agree(shape: Shape, x: jax.Array, kernel: jax.Array) -> None:
    """Refuse to time ways that are not one convolution.

    Raises:
      AssertionError: naming the way and by how much it is off.
    """
    wanted = xla(shape, x, kernel)
    for name, run in ways(shape).items():
        np.testing.assert_allclose(run(x, kernel), wanted, rtol=1e-3, atol=1e-3, err_msg=name)


def way_taken(shape: Shape, batch: int, kernel: jax.Array, gradient: bool) -> str:
    """What training takes, and a simulation of many frames."""
    spec = ConvSpec(shape.window, shape.groups)
    given: jax.Array | PreparedKernel = kernel if gradient else prepare_kernel(kernel, spec)
    x = jax.ShapeDtypeStruct((batch, *shape.size), jnp.float32)
    taken: str = choose_algorithm(x, given, spec, gradient=gradient)
    return {"winograd": "winograd, made before"}.get(taken, taken)


def measure(shape: Shape, batch: int, gradient: bool, effort: Effort) -> dict[str, Any]:
    """Seconds of each way by turns."""
    draw = np.random.default_rng(0).standard_normal
    x = jnp.asarray(draw((batch, *shape.size)), jnp.float32)
    kernel = jnp.asarray(draw(shape.kernel) / np.sqrt(np.prod(shape.kernel[:3])), jnp.float32)
    agree(shape, x[:1], kernel)
    kernel, x = cases.on_cores(kernel, x)
    arguments: tuple[jax.Array, ...] = (x, kernel)
    found = ways(shape)
    if gradient:
        upstream = jnp.asarray(draw((batch, *shape.outputs)), jnp.float32)
        arguments = (*arguments, cases.on_cores(kernel, upstream)[1])
        found = {name: with_gradient(way) for name, way in found.items()}
    calls = {name: partial(timed, build(way, *arguments).run) for name, way in found.items()}
    if "matrix" in calls and not gradient:
        ready = build(partial(by_matrix, shape), x, matrix_of(shape, kernel))
        calls["matrix, made before"] = partial(timed, ready.run)
    if "winograd" in calls and not gradient:
        ready = build(partial(by_tiles, shape), x, transform_kernel(kernel))
        calls["winograd, made before"] = partial(timed, ready.run)
    return {name: figures(times) for name, times in alternate(calls, effort).items()}


def judge(
    shape: Shape, batch: int, gradient: bool, seconds: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The fastest way, the one that is taken today, and the ratio of their times."""
    medians = {name: of["median"] for name, of in seconds.items()}
    # No simulation has a matrix made before: its many megabytes are another question.
    fastest = min(medians.keys() - {"matrix, made before"}, key=medians.__getitem__)
    taken = way_taken(shape, batch, jnp.zeros(shape.kernel), gradient)
    return {
        "fastest": fastest,
        "taken": taken,
        "taken_to_fastest": round(medians[taken] / medians[fastest], 3),
    }


def table(entries: list[dict[str, Any]]) -> str:
    """A line for each shape, batch and direction."""
    names = (
        "xla", "patches", "pairs", "shifts", "rows", "winograd", "winograd, made before", "matrix",
        "matrix, made before",
    )  # fmt: skip
    lines = []
    for entry in entries:
        times = [entry["seconds"].get(name) for name in names]
        lines.append([
            "x".join(map(str, entry["size"])), "x".join(map(str, entry["kernel"])),
            "x".join(map(str, entry["strides"])), str(entry["groups"]), str(entry["batch"]),
            "with gradient" if entry["gradient"] else "forward",
            *("" if found is None else f"{1000 * found['median']:.4g}" for found in times),
            entry["fastest"], entry["taken"],
            f"{entry['taken_to_fastest']:.2f}" if entry["taken_to_fastest"] > TIE else "as fast",
        ])  # fmt: skip
    columns = (
        "input", "kernel", "strides", "groups", "B", "direction", *(f"{n} (ms)" for n in names),
        "fastest", "taken", "taken / fastest",
    )  # fmt: skip
    return printing.markdown_table(columns, lines)


def main(*, smoke: bool = False, output: Path = HERE) -> None:
    """Measure what is not there yet.

    Parameters
    ----------
    smoke
        two small shapes
    output
        folder for the results
    """
    keep_freed_memory()
    cores.use_cores()
    path = output / "results" / "lowering.json"
    entries = json.loads(path.read_text())["entries"] if path.is_file() else []
    known = {shape for name in NETWORKS for shape in shapes_of(known_networks.find(name))}
    shapes = [*sorted(known, key=str), *GROUPED]
    if smoke:
        shapes = [Shape((2, 2, 8), (3, 3, 8, 8), (1, 1), "SAME"), GROUPED[1]]
    effort = Effort(repeats=2, seconds=0.0) if smoke else Effort(seconds=0.5, limit=30.0)
    wanted = [
        {**shape._asdict(), "batch": batch, "gradient": gradient}
        for shape in shapes for batch in (BATCHES[:1] if smoke else BATCHES)
        for gradient in (False, True)
    ]  # fmt: skip
    plain = [json.loads(json.dumps(key)) for key in wanted]  # tuples are lists in the file
    for key, kept in zip(tqdm(wanted, "shapes", mininterval=1), plain, strict=True):
        shape = Shape(*(key[name] for name in Shape._fields))
        case = shape, key["batch"], key["gradient"]
        entry = next((entry for entry in entries if kept.items() <= entry.items()), None)
        if entry is None:
            entry = {**kept, "seconds": measure(*case, effort), **records.provenance()}
            entries.append(entry | judge(*case, entry["seconds"]))
            records.write_json(path, {"entries": entries})
        else:
            entry |= judge(*case, entry["seconds"])  # again, since the rule may have changed
    records.write_json(path, {"entries": entries})
    text = table(entries)
    write_whole(output / "results" / "lowering.md", text.encode())
    print(text)


if __name__ == "__main__":
    cyclopts.run(main)
