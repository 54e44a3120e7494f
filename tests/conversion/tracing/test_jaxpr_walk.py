"""The walk through a jaxpr, with rules that know no layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functions_of_images import WEIGHTS, assert_refused, dense, images, last

from snnjax import trace
from snnjax.conversion.tracing.jaxpr_walk import Known, Operation, refuse, walk
from snnjax.networks import architecture as arch


def visited(function, *arguments):
    """The outputs of a walk, and the operations that went to the rule."""
    seen = []

    def rule(operation, equation, operands):
        seen.append(operation)
        return ["signal"] * len(equation.outvars)

    closed = jax.make_jaxpr(function)(jnp.ones(3), jnp.ones(3))
    return walk(closed, arguments, rule), seen


def test_what_depends_on_known_values_alone_is_computed_with_their_sources():
    def function(a, b):
        return jnp.exp(a) * 2, b - a

    a = Known(jnp.zeros(3), frozenset({"a"}))
    (known, signal), seen = visited(function, a, "signal")
    np.testing.assert_array_equal(known.value, 2 * np.ones(3))
    assert known.sources == {"a"}
    assert signal == "signal"
    assert [operation.primitive for operation in seen] == ["sub"]


def test_calls_are_entered():
    @jax.custom_jvp
    def own(x):
        return jnp.sin(x)

    own.defjvp(lambda primals, tangents: (own(*primals), tangents[0]))

    def function(a, b):
        return jax.checkpoint(jax.jit(lambda x: own(x) + a))(b)

    _, seen = visited(function, Known(jnp.ones(3)), "signal")
    assert [operation.primitive for operation in seen] == ["sin", "add"]


def test_an_operation_has_the_users_line_and_the_function_that_the_user_called():
    _, seen = visited(lambda a, b: jax.nn.gelu(b), Known(jnp.ones(3)), "signal")
    assert {operation.function for operation in seen} == {"gelu"}
    assert "tanh" in {operation.primitive for operation in seen}
    assert all("test_jaxpr_walk.py:" in operation.line for operation in seen)
    assert seen[0].line.rpartition(":")[2].isdigit()


def test_a_refusal_names_operation_function_line_and_reason():
    with pytest.raises(ValueError, match=r"^exp, in own, at a\.py:3 cannot be converted: why$"):
        refuse(Operation("exp", "own", "a.py:3"), "why")
    with pytest.raises(ValueError, match=r"^exp at an unknown line cannot be converted: why$"):
        refuse(Operation("exp"), "why")


def looped(p, x):
    return last(p, jax.lax.while_loop(lambda h: h.sum() > 1e6, jax.nn.relu, dense(p, x)))


def chosen(p, x):
    return jax.lax.cond(x.sum() > 0, last, lambda p, x: 2 * last(p, x), p, x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (looped, "while.*write the layers out"),
        (chosen, "cond.*compute one branch only|reduce_sum"),
    ],
)
def test_loops_and_choices_are_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)


def with_scan(p, x):
    def step(h, w):
        return jax.nn.relu(h @ w), h[:, :1]

    h, first = jax.lax.scan(step, dense(p, x), jnp.stack([p["in"], 2 * p["in"]]), reverse=True)
    return last(p, h) + first[1] @ p["out"][:1]


def with_fori_loop(p, x):
    return last(p, jax.lax.fori_loop(0, 2, lambda i, h: jax.nn.relu(h @ p["in"] - i), dense(p, x)))


def with_known_while_and_cond(p, x):
    def body(state):
        count, h = state
        return count - p["in"][0, 0], jax.nn.relu(h @ p["in"])

    _, h = jax.lax.while_loop(lambda state: state[0] > 0, body, (2.0, dense(p, x)))
    return jax.lax.cond(p["out"][0, 0] > 0, last, lambda p, h: h[:, :3], p, h)


@pytest.mark.parametrize("function", [with_scan, with_fori_loop, with_known_while_and_cond])
def test_d_a_loop_whose_length_is_known_is_written_out(function):
    weights = jax.tree.map(lambda w: 0.1 * w, WEIGHTS)
    if function is with_known_while_and_cond:
        weights = WEIGHTS
    network = trace(function, weights, images(4, 4, 1)).network
    assert len(arch.activations(network)) == 2


def test_d_an_operation_in_a_loop_is_refused_by_its_own_line():
    def step(h, _):
        return jnp.tanh(h), None

    def apply(p, x):
        return last(p, jax.lax.scan(step, dense(p, x), None, 3)[0])

    line = step.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=rf"tanh at .*test_jaxpr_walk.py:{line} "):
        trace(apply, WEIGHTS, images(4, 4, 1))


def test_what_no_output_depends_on_is_not_read():
    def apply(p, x):
        jnp.sort(x)
        return last(p, x)

    assert trace(apply, WEIGHTS, images(4, 4, 1)).network.layers
