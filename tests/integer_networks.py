"""The integer network in a file of `snnjax npz export`, in NumPy's int64, and nothing else."""

import numpy as np


def windows(x, size, strides, gaps=(1, 1)):
    """Views of `x` `[B, H, W, C]` at every tap of a window, with the tap."""
    for tap in np.ndindex(*size):
        first = np.multiply(tap, gaps)
        behind = np.array(x.shape[1:3]) - np.multiply(np.subtract(size, tap) - 1, gaps)
        yield tap, x[:, first[0] : behind[0] : strides[0], first[1] : behind[1] : strides[1]]


def conv(own, x):
    border, groups = own.get("border", 0), int(own["groups"])
    x = np.pad(x - border, ((0, 0), *own["pads"], (0, 0))) + border
    parts = zip(np.split(x, groups, -1), np.split(own["weights"], groups, -1), strict=True)
    return np.concatenate([
        sum(y @ w[tap] for tap, y in windows(part, w.shape[:2], own["strides"], own["dilation"]))
        for part, w in parts
    ], -1)  # fmt: skip


def exact_charge(own, state, current):
    """One spike towards the count that twice the charge is worth, rounded."""
    charge, sent = state or (0, 0)
    charge = charge + 2 * current
    threshold = np.where(charge >= 0, own["positive"], own["negative"])
    count = np.sign(charge) * ((np.abs(charge) + own["initial"] * threshold) // (2 * threshold))
    spikes = np.sign(count - sent)
    return spikes, (charge, sent + spikes)


def double_threshold(own, state, current):
    """Soft reset of twice the potential at both thresholds."""
    up, down = own["positive"], own["negative"]
    potential = (state[0] if state else own["initial"] * up) + 2 * current
    spikes = (potential >= 2 * up) * 1 - (potential <= -2 * down)
    return spikes, (potential - 2 * np.where(spikes < 0, -down, spikes * up),)


NEURONS = {
    "exact-charge": exact_charge, "double-threshold": double_threshold,
    "integrate-and-fire": lambda own, *now: double_threshold(own | {"negative": 2**40}, *now),
}  # fmt: skip
KINDS = {
    "conv": conv, "dense": lambda own, x: x @ own["weights"],
    "scale": lambda own, x: x * own["weights"],
    "sum_pool": lambda own, x: sum(y for _, y in windows(x, own["window"], own["strides"])),
    "flatten": lambda own, x: x.reshape(len(x), -1),
    "transpose": lambda own, x: x.transpose(0, *(own["axes"] + 1)),
    "add": lambda own, x, y: x + y, "concat": lambda own, *inputs: np.concatenate(inputs, -1),
}  # fmt: skip


def simulate(file, frames):
    """Spikes `[T, B, ...]` by layer and values `[T, B, K]`, from a frame of bytes a timestep."""
    states, spikes, total, values = {}, {}, 0, []
    layers = {name: {} for name in file["layers"]}
    for name, key in (path.rsplit("/", 1) for path in file if "/" in path):
        array = file[f"{name}/{key}"]
        layers[name][key] = array if array.dtype.kind == "U" else array.astype(np.int64)
    for t, frame in enumerate(frames, 1):
        outputs = {"input": np.asarray(frame, np.int64)}
        for (name, own), kind in zip(layers.items(), file["kinds"], strict=True):
            x = [outputs[source] for source in own["inputs"]]
            if kind == "neurons":
                fire = NEURONS[str(file["neuron"])]
                x, states[name] = fire(own, states.get(name), x[0] + own["shift"])
                spikes.setdefault(name, []).append(x)
            else:
                x = KINDS[kind](own, *x) + own.get("bias", 0)
            outputs[name] = x
        total = total + x
        values.append(np.float32(total) / np.float32(t) * file["logit"])
    return {name: np.stack(sent) for name, sent in spikes.items()}, np.stack(values)
