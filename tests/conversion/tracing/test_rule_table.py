"""The table of rules: one for each primitive."""

import pytest

from snnjax import trace  # registers all rules
from snnjax.conversion.tracing import rule_table


def test_a_primitive_has_one_rule_and_no_reason_to_be_refused():
    assert trace is not None
    assert not set(rule_table.RULES) & set(rule_table.REFUSED)
    with pytest.raises(ValueError, match="add has the rule added already"):
        rule_table.rule("add")(lambda operation, equation, operands: operands)
