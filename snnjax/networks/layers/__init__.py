"""Layers of networks, one file for each kind; `base` defines what a layer implements."""

from snnjax.networks.layers.activation import Activation
from snnjax.networks.layers.average_pool import AvgPool
from snnjax.networks.layers.base import (
    KINDS,
    Block,
    DoesNotFit,
    FixedSynapse,
    Folded,
    ForwardMode,
    Layer,
    Synapse,
    Weights,
)
from snnjax.networks.layers.batch_norm import BatchNorm
from snnjax.networks.layers.concat import Concat
from snnjax.networks.layers.conv import Conv
from snnjax.networks.layers.dense import Dense
from snnjax.networks.layers.flatten import Flatten
from snnjax.networks.layers.normalise import Normalise
from snnjax.networks.layers.residual import Residual
from snnjax.networks.layers.scale import Scale
from snnjax.networks.layers.transpose import Transpose

__all__ = [
    "KINDS",
    "Activation",
    "AvgPool",
    "BatchNorm",
    "Block",
    "Concat",
    "Conv",
    "Dense",
    "DoesNotFit",
    "FixedSynapse",
    "Flatten",
    "Folded",
    "ForwardMode",
    "Layer",
    "Normalise",
    "Residual",
    "Scale",
    "Synapse",
    "Transpose",
    "Weights",
]
