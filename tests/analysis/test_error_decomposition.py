"""The parts of one neuron's error, worked by hand."""

import numpy as np
import pytest
from examples import random_variables

from snnjax import convert
from snnjax.analysis.error_decomposition import SpikeTotals, decompose
from snnjax.networks import architecture as arch
from snnjax.snn.neurons import DOUBLE_THRESHOLD


def test_opposite_spikes_leave_charge_behind():
    """With v_n = 2 v_p a negative spike removes twice the charge that a positive one does."""
    active = arch.Activation(0.5, 1.0)
    network = arch.Network("one", (arch.Flatten(), arch.Dense(1), active, arch.Dense(1)))
    params = convert(network, random_variables(network, (1, 1, 1)))["layers"]["02_activation"]
    totals = SpikeTotals(*(np.full((1, 1), x, np.float32) for x in (3.0, 1.0, 1.5)))
    activation = np.full((1, 1), 0.375)
    parts = decompose(active, params, activation, totals, 4, DOUBLE_THRESHOLD)
    # 3 positive and 1 negative spikes: charge 3 - 2 = 1, worth one spike; the net count is two.
    assert float(parts["mixed_signs"][0, 0]) == pytest.approx((2 - 1) / 4)
    # The mean current of 0.375 gives 0.5 + 1.5 = two spikes in four steps, and one was sent.
    assert float(parts["unevenness"][0, 0]) == pytest.approx((1 - 2) / 4)
