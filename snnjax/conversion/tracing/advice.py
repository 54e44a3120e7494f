"""Reasons to refuse library functions and modules by name, each with its cure.

A rule sees one operation of a function, such as the maximum inside a softmax. Its own reason would
be about that operation; the reasons here are about the function that the user called.
"""

from __future__ import annotations

__all__ = ["reason_for"]

NORMALISES = (
    "it normalises by statistics of the activations themselves, which change with every image; use"
    " batch normalisation with use_running_average=True, and train again"
)
CURVE = "neurons follow sthLeakyReLU, LeakyReLU, ReLU and clip only; use one of these"
GATE = (
    "it multiplies two activations, which spikes cannot; leave the gate out, or use a ReLU of one"
    " product in its place, and train again"
)
REASONS = {
    ("softmax", "log_softmax", "logsumexp"): (
        "behind the last weights, return the logits, which have the same answer; anywhere else,"
        f" {CURVE} in its place, and train again"
    ),
    ("BatchNorm",): (
        "it is in training mode; pass use_running_average=True, or in NNX call model.eval() before"
    ),
    ("LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm", "standardize", "norm"): NORMALISES,
    ("Dropout",): "dropout is left on; pass deterministic=True, or in NNX call model.eval() before",
    ("MultiHeadDotProductAttention", "MultiHeadAttention", "dot_product_attention"): (
        "attention multiplies two activations, which spikes cannot; use convolutions or Dense"
        " layers over positions in its place, and train again"
    ),
    ("glu",): GATE,
    ("hard_silu", "hard_swish"): (
        "it multiplies x by a clip of x, and spikes cannot multiply two activations; use"
        " jax.nn.relu6 or a ReLU in its place, and train again"
    ),
    ("silu", "swish", "gelu", "elu", "celu", "selu", "softplus", "mish", "soft_sign"): (
        f"{CURVE} in its place, such as a ReLU, and train again"
    ),
    ("sigmoid", "logistic"): (
        f"{CURVE} in its place, and train again; where it is a gate, as in squeeze-and-excitation,"
        " leave the gate out, since spikes cannot multiply two activations"
    ),
    ("Embed", "Embedding"): (
        "it looks up a table by the images; take the function of the embedded tokens, and give it"
        " these as its images"
    ),
}
"""Reason by the names of functions and classes of JAX, Flax and Equinox."""

BY_NAME = {name: reason for names, reason in REASONS.items() for name in names}


def reason_for(function: str, module: str) -> str | None:
    """Return the reason to refuse a function of a library, or None for any other function.

    Args:
      function: name of the public function or class that the user called, "" if none is known.
      module: path of the module in the user's program, "" if none is known.
    """
    last = module.rpartition("/")[2].rpartition(".")[2].partition("_")[0]
    return BY_NAME.get(function) or BY_NAME.get(last)
