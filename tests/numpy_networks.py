"""Networks in plain NumPy and float64, to hold the package against: layers, neurons, synapses.

Nothing here comes from the package but the specifications of the layers. A new kind of layer needs
an entry in `LINEAR`, `FOLDED` or `JOINED`, and a new neuron one in `NEURON_STEPS`.
"""

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np


def pads(layer, shape):
    """Pixels around a map `(H, W, ...)` before and after each axis."""
    if layer.padding == "VALID":
        return ((0, 0), (0, 0))
    if layer.padding != "SAME":
        return layer.padding
    found = []
    for n, taps, stride, gap in zip(
        shape[:2], layer.kernel_size, layer.strides, layer.dilation, strict=True
    ):
        needed = max((math.ceil(n / stride) - 1) * stride + (taps - 1) * gap + 1 - n, 0)
        found.append((needed // 2, needed - needed // 2))
    return tuple(found)


def windows(x, size, strides, gaps=(1, 1)):
    """Views of `x` `[B, H, W, C]` at every tap of a window, with the tap."""
    rows, columns = (
        (n - (taps - 1) * gap - 1) // stride + 1
        for n, taps, stride, gap in zip(x.shape[1:3], size, strides, gaps, strict=True)
    )
    for i, j in np.ndindex(*size):
        top, left = i * gaps[0], j * gaps[1]
        yield (i, j), x[
            :, top : top + (rows - 1) * strides[0] + 1 : strides[0],
            left : left + (columns - 1) * strides[1] + 1 : strides[1],
        ]  # fmt: skip


def conv(layer, params, x, elapsed):
    around = elapsed * np.asarray(params.get("border", np.zeros(x.shape[-1])), np.float64)
    (above, below), (left, right) = pads(layer, x.shape[1:])
    batch, height, width, channels = x.shape
    padded = np.empty((batch, above + height + below, left + width + right, channels))
    padded[...] = around
    padded[:, above : above + height, left : left + width] = x
    kernel, each = params["kernel"], channels // layer.groups
    own = layer.features // layer.groups
    parts = []
    for group in range(layer.groups):
        inputs = padded[..., group * each : (group + 1) * each]
        weights = kernel[..., group * own : (group + 1) * own]
        taps = windows(inputs, layer.kernel_size, layer.strides, layer.dilation)
        parts.append(sum(view @ weights[tap] for tap, view in taps))
    return np.concatenate(parts, -1)


def average_pool(layer, params, x, elapsed):
    del params, elapsed
    views = windows(x, layer.window, layer.strides or layer.window)
    return sum(view for _, view in views) / math.prod(layer.window)


def dense(layer, params, x, elapsed):
    del layer, elapsed
    return x @ params["kernel"]


def scale(layer, params, x, elapsed):
    del layer, elapsed
    return x * params["scale"]


def flatten(layer, params, x, elapsed):
    del layer, params, elapsed
    return x.reshape(len(x), -1)


def batch_norm(layer, params, statistics, x):
    deviation = np.sqrt(statistics["var"] + layer.epsilon)
    return params["scale"] * (x - statistics["mean"]) / deviation + params["bias"]


def normalise(layer, params, statistics, x):
    del params, statistics
    return (x - np.array(layer.mean)) / np.array(layer.std)


def transpose(layer, params, x, elapsed):
    del params, elapsed
    return x.transpose(0, *(axis + 1 for axis in layer.axes))


LINEAR = {
    "Conv": conv, "AvgPool": average_pool, "Dense": dense, "Scale": scale, "Flatten": flatten,
    "Transpose": transpose,
}  # fmt: skip
FOLDED = {"BatchNorm": batch_norm, "Normalise": normalise}
JOINED = {
    "Residual": lambda outputs: outputs[0] + outputs[1],
    "Concat": lambda outputs: np.concatenate(outputs, -1),
}


def kind(layer):
    return type(layer).__name__


def named(layers):
    return [(f"{place:02d}_{layer.kind}", layer) for place, layer in enumerate(layers)]


def parts(layer):
    """Branches of a block, by name."""
    if kind(layer) == "Residual":
        return {"body": layer.body, "shortcut": layer.shortcut}
    return {f"{place:02d}": part for place, part in enumerate(layer.parts)}


def repeated(values, x):
    """One value per channel for each entry of the last axis."""
    values = np.asarray(values, np.float64)
    return values if values.ndim == 0 else np.resize(values, x.shape[-1])


def bounded(z, theta, alpha, levels=None):
    """sthLeakyReLU, rounded to multiples of theta / levels if `levels` is given."""
    y = np.where(z >= 0, np.minimum(z, theta), np.maximum(alpha * z, -theta))
    if levels is None:
        return y
    return np.sign(y) * np.floor(np.abs(y) * levels / theta + 0.5) * theta / levels


def stepped(z, step):
    """StepReLU."""
    y = np.maximum(z, 0.0)
    return np.where(y < 20 * step, np.floor(y / step) * step, y)


def ann(layers, params, statistics, x):
    """Logits of the ANN, from its own parameters."""
    for name, layer in named(layers):
        own, means = params.get(name, {}), statistics.get(name, {})
        if kind(layer) in JOINED:
            x = JOINED[kind(layer)]([
                ann(stack, own.get(branch, {}), means.get(branch, {}), x)
                for branch, stack in parts(layer).items()
            ])  # fmt: skip
        elif kind(layer) in FOLDED:
            x = FOLDED[kind(layer)](layer, own, means, x)
        elif kind(layer) == "Activation":
            x = activate(layer, own, means, x)
        else:
            x = LINEAR[kind(layer)](layer, own, x, 1.0) + own.get("bias", 0.0)
    return x


def activate(layer, params, statistics, z):
    if layer.step:
        return stepped(z, layer.step)
    theta = layer.theta
    if layer.learn in ("layer", "channel"):
        theta = np.exp(params["log_theta"])
    if layer.learn == "rate":
        theta = statistics["largest"] / (1 + np.exp(-params["share"])) + 1e-6
    y = bounded(z, theta, layer.alpha)
    return y / theta if layer.learn == "rate" else y


def propagate(layers, params, x, fire, elapsed=1.0, prefix=""):
    """Currents through converted parameters; fire(path, numbers, current) is the neurons."""
    for name, layer in named(layers):
        own, path = params.get(name, {}), prefix + name
        if kind(layer) in JOINED:
            outputs = []
            for branch, stack in parts(layer).items():
                y = propagate(stack, own.get(branch, {}), x, fire, elapsed, f"{path}/{branch}/")
                outputs.append(y * repeated(own.get(f"{branch}_weight", 1.0), y))
            x = JOINED[kind(layer)](outputs)
            x = x * repeated(own.get("weight", 1.0), x)
        elif kind(layer) == "Activation":
            x = fire(path, own, x)
        elif kind(layer) not in FOLDED:
            x = LINEAR[kind(layer)](layer, own, x, elapsed) + elapsed * own.get("bias", 0.0)
    return x


def rates(network, params, x, levels=None, most=np.inf):
    """Output of the converted network with each neuron replaced by its rate at large T.

    A neuron sends at most `most` spikes in a timestep; steps of a StepReLU are then left out.
    """
    specs = _specs(network.layers)

    def fire(path, numbers, current):
        z, alpha = current / numbers["positive"], numbers["positive"] / numbers["negative"]
        if specs[path].step and np.isinf(most):
            return stepped(z, 1.0)
        return bounded(z, np.minimum(numbers["bound"], most), alpha, levels)

    return propagate(network.layers, params["layers"], params["gain"] * x, fire)


def _specs(layers, prefix=""):
    """All layers by path."""
    found = {}
    for name, layer in named(layers):
        found[prefix + name] = layer
        for branch, stack in (parts(layer) if kind(layer) in JOINED else {}).items():
            found |= _specs(stack, f"{prefix}{name}/{branch}/")
    return found


def spikes_of_error(network, params, x):
    """Error of the summed output if every neuron's count is one spike off, `[K]`."""

    def weights(tree):
        return {
            name: weights(leaf) if isinstance(leaf, dict) else np.abs(leaf)
            for name, leaf in tree.items()
            if name not in ("bias", "border") and leaf is not None
        }

    return propagate(
        network.layers, weights(params["layers"]), np.zeros_like(x[:1], np.float64),
        lambda path, numbers, current: 1 + current / numbers["positive"],
    )[0]  # fmt: skip


def membrane(n, state, current):
    """Potential before the reset."""
    before = state.get("v", n["initial"] * n["positive"])
    return (1.0 if n["leak"] is None else n["leak"]) * before + current


def double_threshold(n, state, current):
    m = membrane(n, state, current)
    spikes = (m >= n["positive"]) * 1.0 - (m <= -n["negative"])
    reset = np.where(spikes > 0, n["positive"], np.where(spikes < 0, -n["negative"], 0.0))
    return spikes, {"v": m - reset}


def double_threshold_hard(n, state, current):
    m = membrane(n, state, current)
    spikes = (m >= n["positive"]) * 1.0 - (m <= -n["negative"])
    return spikes, {"v": np.where(spikes == 0, m, 0.0)}


def integrate_and_fire(n, state, current):
    m = membrane(n, state, current)
    spikes = (m >= n["positive"]) * 1.0
    return spikes, {"v": m - spikes * n["positive"]}


def floored_hard(n, state, current):
    m = membrane(n, state, current)
    spikes = (m >= n["positive"]) * 1.0
    return spikes, {"v": np.where(spikes > 0, 0.0, np.maximum(m, 0.0))}


def signed_memory(n, state, current):
    m, sent = membrane(n, state, current), state.get("sent", 0.0)
    spikes = (m >= n["positive"]) * 1.0 - ((m <= -n["positive"]) & (sent > 0))
    return spikes, {"v": m - spikes * n["positive"], "sent": sent + spikes}


def augmented(n, state, current):
    m = membrane(n, state, current)
    up, down = np.maximum(m // n["positive"], 0), np.maximum(-m // n["negative"], 0)
    lost = np.where(down > 0, down, 1) * np.where(down > 0, n["negative"], 0.0)
    return up - down, {"v": m - up * n["positive"] + lost}


def exact_charge(n, state, current):
    """One spike towards the count that the charge is worth, rounded."""
    sent, charge = state.get("sent", np.zeros_like(current)), state.get("charge", 0.0)
    if n["leak"] is not None:
        sent_charge = np.where(sent >= 0, sent * n["positive"], 0.0)
        some = sent < 0
        sent_charge = sent_charge + np.where(some, sent, 1) * np.where(some, n["negative"], 0.0)
        charge = charge - (1 - n["leak"]) * (charge - sent_charge)
    charge = charge + current
    size = np.where(charge >= 0, charge / n["positive"], -charge / n["negative"])
    wanted = np.where(charge >= 0, 1, -1) * np.floor(size + n["initial"])
    spikes = np.sign(np.clip(wanted, -n["most"], n["most"]) - sent)
    return spikes, {"charge": charge, "sent": sent + spikes}


NEURON_STEPS = {
    "exact-charge": exact_charge, "double-threshold": double_threshold,
    "integrate-and-fire": integrate_and_fire, "signed-memory": signed_memory,
    "residual-mask": double_threshold, "offset": double_threshold, "augmented": augmented,
    "double-threshold-hard": double_threshold_hard, "floored-hard": floored_hard,
}  # fmt: skip


def spikes(network, params, frames, neuron, shown_steps=0):
    """Spikes `[T, B, ...]` by path, and the currents of the output `[T, B, K]`.

    Args:
      frames: `[T, B, H, W, C]`, before the gain; with `shown_steps` the input ends after as many.
    """
    states, found, outputs, shown = defaultdict(dict), defaultdict(list), [], 1.0
    # v_n = inf stands for a very large number, so that 0 * inf does not occur

    def fire(path, numbers, current):
        most = np.floor(numbers["bound"] * shown_steps + 0.5) if shown_steps else np.inf
        sent, states[path] = NEURON_STEPS[neuron](
            {**numbers, "most": most}, states[path], current + shown * numbers["shift"]
        )
        found[path].append(sent)
        return sent

    for t, frame in enumerate(frames):
        shown = float(not shown_steps or t < shown_steps)
        outputs.append(
            propagate(network.layers, params["layers"], shown * frame, fire, elapsed=shown)
        )
    return {path: np.stack(sent) for path, sent in found.items()}, np.stack(outputs)


def incidence(layer, params, shape):
    """Matrix of synapses `[inputs, outputs]` of a linear layer, 1 where a weight is not 0.

    Every nonzero weight is replaced by 1, so that none cancel; a pooling sums its windows.
    """
    ones = {name: np.asarray(np.asarray(leaf) != 0, np.float64) for name, leaf in params.items()}
    ones = {name: leaf for name, leaf in ones.items() if name not in ("bias", "border")}
    basis = np.eye(math.prod(shape)).reshape(-1, *shape)
    reached = LINEAR[kind(layer)](layer, ones, basis, 1.0)
    return (reached.reshape(len(basis), -1) != 0).astype(int)


class Wires(NamedTuple):
    """Synapses of one layer of weights, or of a branch that ends without.

    source: path of neurons, "input", or None for currents; merged: number of synapses of each
    sender; own: number of synapses of each input of the weights; dense: synapses if no weight
    were 0; layer: the weights or None.
    """

    source: str | None
    merged: np.ndarray
    own: np.ndarray
    dense: int
    layer: object


def synapses(layers, params, shape):
    """Synapses by path of their weights, from the matrices of `incidence`."""
    found = {}
    _follow(layers, params, ("input", shape, shape, np.eye(math.prod(shape), dtype=int)), "", found)
    return found


def _follow(layers, params, signal, prefix, found):
    """Follow a signal: its source, the source's shape, its own shape, and the ways between."""
    source, start, shape, ways = signal
    for name, layer in named(layers):
        own, path = params.get(name, {}), prefix + name
        if kind(layer) == "Activation":
            source, start, ways = path, shape, np.eye(math.prod(shape), dtype=int)
        elif kind(layer) in JOINED:
            shapes = []
            for branch, stack in parts(layer).items():
                into, inner = f"{path}/{branch}", own.get(branch, {})
                end = _follow(stack, inner, (source, start, shape, ways), f"{into}/", found)
                shapes.append(end[2])
                if f"{branch}_weight" in own:
                    each = np.ones(end[2], int)
                    merged = (end[3] @ each.ravel()).reshape(end[1])
                    found[into] = Wires(end[0], merged, each, 0, None)
            shape = JOINED[kind(layer)]([np.zeros((1, *each)) for each in shapes]).shape[1:]
            source, start, ways = None, shape, np.eye(math.prod(shape), dtype=int)
        elif kind(layer) not in FOLDED:
            matrix = incidence(layer, own, shape)
            after = LINEAR[kind(layer)](layer, own, np.zeros((1, *shape)), 1.0).shape[1:]
            if own:
                every = {name: np.ones_like(leaf) for name, leaf in own.items()}
                merged = (ways @ matrix.sum(1)).reshape(start)
                dense = int(incidence(layer, every, shape).sum())
                found[path] = Wires(source, merged, matrix.sum(1).reshape(shape), dense, layer)
                source, start, ways = None, after, np.eye(math.prod(after), dtype=int)
            else:
                ways = ways @ matrix
            shape = after
    return source, start, shape, ways
