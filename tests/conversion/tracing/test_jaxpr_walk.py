"""The walk through a jaxpr, with rules that know no layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functions_of_images import assert_refused, dense, last

from snnjax.conversion.tracing.jaxpr_walk import Known, Operation, refuse, walk


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


def recurrent(p, x):
    return last(p, jax.lax.scan(lambda h, _: (jax.nn.relu(h), None), dense(p, x), None, 3)[0])


def chosen(p, x):
    return jax.lax.cond(x.sum() > 0, last, lambda p, x: 2 * last(p, x), p, x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (looped, "while.*write the layers out"),
        (recurrent, "scan.*write the layers out"),
        (chosen, "cond.*compute one branch only|reduce_sum"),
    ],
)
def test_loops_and_choices_are_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)
