"""Integer networks in NumPy's int64, to hold the package against: an image is its bytes.

Charges are counted in halves, because v(0) may be half a threshold. Nothing here comes from the
package but the specifications of the layers and the whole numbers.
"""

import numpy as np
from numpy_networks import JOINED, kind, named, pads, parts, windows

NEVER = 2**40
"""A threshold that no charge reaches, for v_n = inf."""


def whole(leaf):
    """An array in int64, which holds whole numbers only."""
    leaf = np.where(np.isinf(leaf), NEVER, np.asarray(leaf, np.float64))
    assert np.all(leaf == np.round(leaf)), leaf
    return leaf.astype(np.int64)


def conv(layer, own, x):
    (above, below), (left, right) = pads(layer, x.shape[1:])
    batch, height, width, channels = x.shape
    padded = np.empty((batch, above + height + below, left + width + right, channels), np.int64)
    padded[...] = whole(own.get("border", 0))
    padded[:, above : above + height, left : left + width] = x
    outputs = []
    for inputs, kernel in zip(
        np.split(padded, layer.groups, -1),
        np.split(whole(own["kernel"]), layer.groups, -1),
        strict=True,
    ):
        taps = windows(inputs, layer.kernel_size, layer.strides, layer.dilation)
        outputs.append(sum(view @ kernel[tap] for tap, view in taps))
    return np.concatenate(outputs, -1)


LINEAR = {
    "Conv": conv,
    "Dense": lambda layer, own, x: x @ whole(own["kernel"]),
    "Scale": lambda layer, own, x: x * whole(own["scale"]),
    "AvgPool": lambda layer, own, x: sum(
        view for _, view in windows(x, layer.window, layer.strides or layer.window)
    ),
    "Flatten": lambda layer, own, x: x.reshape(len(x), -1),
    "Transpose": lambda layer, own, x: x.transpose(0, *(axis + 1 for axis in layer.axes)),
}


def repeated(own, name, x):
    """Whole factors of the channels of `x`, 1 without any."""
    return np.resize(whole(own.get(name, 1)), x.shape[-1])


def propagate(layers, params, x, fire, prefix=""):
    """Currents of one timestep; fire(path, numbers, current) is the neurons."""
    for name, layer in named(layers):
        own, path = params.get(name, {}), prefix + name
        if kind(layer) in JOINED:
            outputs = []
            for branch, stack in parts(layer).items():
                y = propagate(stack, own.get(branch, {}), x, fire, f"{path}/{branch}/")
                outputs.append(y * repeated(own, f"{branch}_weight", y))
            x = JOINED[kind(layer)](outputs)
            x = x * repeated(own, "weight", x)
        elif kind(layer) == "Activation":
            x = fire(path, own, x)
        elif kind(layer) in LINEAR:
            x = LINEAR[kind(layer)](layer, own, x) + whole(own.get("bias", 0))
    return x


def exact_charge(up, down, start, state, current):
    """One spike towards the count that twice the charge is worth, rounded."""
    charge, sent = state if state else (0, np.zeros_like(current))
    charge = charge + 2 * current
    threshold = np.where(charge >= 0, up, down)
    wanted = np.sign(charge) * ((np.abs(charge) + start * threshold) // (2 * threshold))
    spikes = np.sign(wanted - sent)
    return spikes, (charge, sent + spikes)


def double_threshold(up, down, start, state, current):
    """Soft reset of twice the potential at both thresholds."""
    potential = (state[0] if state else start * up) + 2 * current
    spikes = (potential >= 2 * up) * 1 - (potential <= -2 * down)
    return spikes, (potential - 2 * np.where(spikes < 0, -down, spikes * up),)


def integrate_and_fire(up, down, start, state, current):
    return double_threshold(up, np.full_like(down, NEVER), start, state, current)


NEURONS = {
    "exact-charge": exact_charge, "double-threshold": double_threshold,
    "integrate-and-fire": integrate_and_fire,
}  # fmt: skip


def simulate(network, params, frames, neuron="exact-charge"):
    """Spikes `[T, B, ...]` by path and currents of the output `[T, B, K]`, from bytes."""
    states, found, outputs = {}, {}, []

    def fire(path, n, current):
        up, down, start = whole(n["positive"]), whole(n["negative"]), whole(2 * n["initial"])
        spikes, states[path] = NEURONS[neuron](
            up, down, start, states.get(path), current + whole(n["shift"])
        )
        found.setdefault(path, []).append(spikes)
        return spikes

    for frame in frames:
        x = np.asarray(frame, np.int64)
        outputs.append(propagate(network.layers, params["layers"], x, fire))
    return {path: np.stack(spikes) for path, spikes in found.items()}, np.stack(outputs)
