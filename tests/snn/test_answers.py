"""One rule for ties."""

import jax
import numpy as np
import pytest

from snnjax.snn.answers import classify, find_ties


@pytest.mark.parametrize(
    ("values", "answer", "tied"),
    [
        pytest.param([0.0, 2.0, 1.0], 1, False, id="the-largest"),
        pytest.param([1.0, 2.0, 2.0], 1, True, id="the-first-of-a-tie"),
        pytest.param([2.0, 1.0, 1.0], 0, False, id="only-the-largest-can-tie"),
        pytest.param([0.0, 0.0, 0.0], 0, True, id="a-silent-network"),
        pytest.param([-1.0], 0, False, id="one-class"),
    ],
)
def test_a3_of_a_tie_the_first_class_is_the_answer_and_it_is_reported(values, answer, tied):
    batch = np.array([[values, values]], np.float32)
    np.testing.assert_array_equal(classify(batch), [[answer, answer]])
    np.testing.assert_array_equal(find_ties(batch), [[tied, tied]])


@pytest.mark.parametrize("rule", [classify, find_ties])
@pytest.mark.parametrize("classes", [1, 3])
def test_a_value_that_is_nan_has_no_class(rule, classes):
    values = np.zeros((2, classes))
    values[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"values hold NaN, first at \[1, 0\]; want numbers"):
        rule(values)
    assert jax.jit(rule)(values).shape == (2,)
