"""Tests of early exit: answers, exit timesteps, and the choice of the exit threshold."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

import snnjax
from snnjax.conversion.conversion import convert
from snnjax.conversion.spiking.calibration import largest
from snnjax.snn import early_exit
from snnjax.snn.early_exit import choose_margin, simulate_until, trade_off
from snnjax.snn.encoding import CONSTANT, RATE
from snnjax.snn.neurons import DOUBLE_THRESHOLD, EXACT_CHARGE, NEURONS
from snnjax.snn.readout import ACCUMULATE, COUNT
from snnjax.snn.simulation import simulate

SHAPE, STEPS = (4, 4, 1), 8
NETWORK = dense_network()
IMAGES = random_images(40, SHAPE)
PLAIN = {"num_steps": STEPS}
WAYS = [
    PLAIN,
    {**PLAIN, "encoding": RATE, "neuron": DOUBLE_THRESHOLD, "readout": COUNT, "first": 3},
    {**PLAIN, "neuron": NEURONS["residual-mask"], "pre_steps": 2},
    {**PLAIN, "shown_steps": 4},
]


@pytest.fixture(scope="module")
def params():
    """Parameters rounded so that every sum is exact, in any order."""
    variables = random_variables(NETWORK, SHAPE)
    dyadic = jax.tree.map(lambda leaf: jnp.round(leaf * 16) / 16, variables)
    return convert(NETWORK, dyadic, output_scale=4.0)


@pytest.mark.parametrize("how", WAYS, ids=["plain", "drawn", "pre-steps", "settling"])
@pytest.mark.parametrize("margin", [0.0, "middle", np.inf])
def test_answers_equal_the_simulation_at_the_exit(params, how, margin):
    how = {"key": jax.random.key(1), **how}
    whole = simulate(NETWORK, params, IMAGES, **how)
    before, seen = how.get("pre_steps", 0), np.asarray(early_exit.margins(whole.values))
    margin = np.median(seen[before:]) if margin == "middle" else margin
    answer = simulate_until(NETWORK, params, IMAGES, margin=margin, **how)
    clear = seen >= margin
    clear[:before], clear[-1] = False, True
    np.testing.assert_array_equal(answer.steps, clear.argmax(0) + 1)
    each = np.arange(len(IMAGES))
    np.testing.assert_allclose(answer.values, whole.values[answer.steps - 1, each], rtol=1e-6)
    np.testing.assert_array_equal(answer.spikes, whole.spikes[answer.steps - 1, each])
    if margin == 0:
        assert (answer.steps == before + 1).all()
    elif margin == np.inf:
        assert (answer.steps == STEPS).all()
    else:
        assert len(set(answer.steps.tolist())) > 2


def logits_and_more(w, x):
    hidden = jnp.tanh(x.reshape(len(x), -1) @ w)
    return {"logits": hidden @ w[:, :3], "size": hidden @ w[:, 0]}


def logits(w, x):
    return logits_and_more(w, x)["logits"]


@cache
def spiking_of(apply):
    drawn = np.random.default_rng(0).integers(-8, 9, (16, 16))
    return snnjax.spike(apply, np.float32(drawn / 16), IMAGES, levels=STEPS, rule=largest)


def test_answers_of_a_function_equal_the_simulation_at_the_exit():
    spiking, each = spiking_of(logits), np.arange(len(IMAGES))
    whole = simulate(spiking, IMAGES, num_steps=STEPS)
    seen = np.asarray(early_exit.margins(whole.values))
    for margin in (0.0, float(np.median(seen)), np.inf):
        answer = simulate_until(spiking, IMAGES, margin=margin, num_steps=STEPS)
        clear = np.concatenate([seen[:-1] >= margin, np.ones_like(seen[:1], bool)])
        np.testing.assert_array_equal(answer.steps, clear.argmax(0) + 1)
        np.testing.assert_allclose(answer.values, whole.values[answer.steps - 1, each], rtol=1e-6)
        np.testing.assert_array_equal(answer.spikes, whole.spikes[answer.steps - 1, each])
        assert len(set(answer.steps.tolist())) > 2 or margin in (0, np.inf)


@pytest.mark.parametrize(
    ("apply", "options", "message"),
    [
        (logits_and_more, {}, r"'size': \(40,\).*want one array of logits \[B, K\]"),
        (logits, {"pre_steps": 1}, "pre_steps has no effect on a function"),
        (logits, {"shown_steps": 2}, "shown_steps has no effect on a function"),
        (logits, {"readout": COUNT}, "readout has no effect on a function"),
        (logits, {"num_steps": 0}, "num_steps is 0"),
        (logits, {"margin": -1.0}, "margin is -1"),
    ],
)
def test_functions_without_logits_and_options_of_networks_are_refused(apply, options, message):
    spiking = spiking_of(apply)
    with pytest.raises(ValueError, match=message):
        simulate_until(spiking, IMAGES, **({"margin": 1.0, "num_steps": 2} | options))


def test_the_loop_ends_when_all_images_have_stopped(params):
    """A callback in the neuron counts the timesteps."""
    ran = []

    def next_count(numbers, sent, charge):
        jax.debug.callback(lambda: ran.append(1))
        return EXACT_CHARGE.next_count(numbers, sent, charge)

    counted = EXACT_CHARGE._replace(next_count=next_count)
    how = {"num_steps": STEPS, "neuron": counted}
    for margin in (0.0, 0.2, np.inf):
        ran.clear()
        steps = simulate_until(NETWORK, params, IMAGES[:2], margin=margin, **how).steps
        jax.effects_barrier()
        assert len(ran) == 2 * int(steps.max())  # two layers of neurons


def test_all_margins_share_one_compilation(params):
    before = early_exit._simulate_until._cache_size()
    for margin in (0.125, 0.25, 0.5):
        simulate_until(NETWORK, params, IMAGES[:3], margin=margin, num_steps=5)
    assert early_exit._simulate_until._cache_size() == before + 1
    several = jax.vmap(
        lambda m: simulate_until(NETWORK, params, IMAGES[:3], margin=m, num_steps=5).steps
    )(jnp.array([0.0, np.inf]))
    np.testing.assert_array_equal(several, [[1] * 3, [5] * 3])


# Margins of four images of class 0 at three timesteps, negative where the answer is wrong.
BY_HAND = np.array([
    [+1.0, +2.0, +3.0],  # always right
    [-0.5, +0.5, +1.0],  # right from t = 2 on, where its margin is as large as at t = 1
    [+2.0, -1.0, -4.0],  # wrong from t = 2 on
    [-3.0, -3.5, +5.0],  # right at T only
], np.float32)  # fmt: skip
VALUES = np.stack([BY_HAND, np.zeros_like(BY_HAND)], -1).transpose(1, 0, 2)
LABELS = np.zeros(4, int)


def test_trade_off_worked_by_hand():
    curve = trade_off(VALUES, LABELS)
    next_to = np.nextafter(np.float32([0.5, 1, 2, 3, 3.5]), np.float32(np.inf))
    np.testing.assert_array_equal(curve.thresholds, [0, *next_to])
    np.testing.assert_array_equal(curve.accuracy, [0.5, 0.75, 0.75, 0.5, 0.5, 0.75])
    np.testing.assert_array_equal(curve.steps, np.array([4, 6, 7, 10, 11, 12]) / 4)


@pytest.mark.parametrize(
    ("tolerance", "margin", "accuracy", "steps"),
    [
        (0.0, 3.5, 0.75, 3.0),  # a lower threshold is as good, but one in between is not
        (0.25, 0.0, 0.5, 1.0),
        (0.24, 3.5, 0.75, 3.0),
    ],
)
def test_chosen_margin_worked_by_hand(tolerance, margin, accuracy, steps):
    found = choose_margin(VALUES, LABELS, tolerance=tolerance)
    assert found.margin == pytest.approx(margin, abs=1e-6)
    assert found[1:] == (accuracy, steps, 0.75)
    with_rest = choose_margin(
        np.concatenate([np.zeros_like(VALUES[:2]), VALUES]), LABELS, tolerance=tolerance, before=2
    )
    assert with_rest == found._replace(steps=steps + 2)


@pytest.mark.parametrize("readout", [ACCUMULATE, COUNT], ids=["membrane", "count"])
def test_trade_off_equals_simulations_with_each_threshold(params, readout):
    how = {"num_steps": STEPS, "readout": readout, "encoding": CONSTANT}
    labels = np.random.default_rng(0).integers(0, 3, len(IMAGES))
    curve = trade_off(simulate(NETWORK, params, IMAGES, **how).values, labels)
    assert len(curve.thresholds) > 20
    for place in (0, 5, 12, len(curve.thresholds) - 1):
        answer = simulate_until(
            NETWORK, params, IMAGES, margin=float(curve.thresholds[place]), **how
        )
        assert np.mean(answer.values.argmax(-1) == labels) == curve.accuracy[place]
        assert np.mean(answer.steps) == pytest.approx(curve.steps[place])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: simulate_until(NETWORK, p, IMAGES, margin=-0.1, num_steps=2),
            "margin is -0.1; want a",
        ),
        (lambda p: simulate_until(NETWORK, p, IMAGES, margin=np.nan, num_steps=2), "margin is nan"),
        (lambda p: simulate_until(NETWORK, p, IMAGES, margin=1.0, num_steps=0), "num_steps is 0"),
        (
            lambda p: simulate_until(NETWORK, p, IMAGES, margin=1.0, num_steps=2, encoding=RATE),
            "pass key",
        ),
        (
            lambda p: choose_margin(VALUES, LABELS, tolerance=-0.01),
            r"tolerance is -0.01; want a share",
        ),
        (lambda p: choose_margin(VALUES, LABELS, tolerance=1.0), "tolerance is 1.0"),
        (lambda p: choose_margin(VALUES, LABELS[:3], tolerance=0.1), "want .* no empty axis"),
        (lambda p: trade_off(VALUES, LABELS, before=3), "after 3 pre-steps"),
        (lambda p: trade_off(VALUES * np.nan, LABELS), "values hold NaN"),
        (lambda p: choose_margin(VALUES, LABELS + 9, tolerance=0.1), "labels .* want classes from"),
    ],
)
def test_bad_input_is_refused(params, call, message):
    with pytest.raises(ValueError, match=message):
        call(params)
