"""ONNX's own node tests, each expected to pass, to be refused or to differ for a written reason; and their table."""

from __future__ import annotations

from collections import Counter

import pytest
from conformance import Case, all_cases, run_case
from expectations import expected_of
from support_table import TABLE, render
from tilewright.errors import ModelError, ShapeError, UnsupportedError

_QUICK_CASES_AN_OPERATOR = 2


def _parameters() -> list[object]:
    """Every case; beyond the first few of an operator and outcome they are slow."""
    seen: Counter[tuple[str, str]] = Counter()
    parameters = []
    for case in all_cases().values():
        key = (case.op_type, expected_of(case).outcome)
        seen[key] += 1
        marks = [pytest.mark.slow] if seen[key] > _QUICK_CASES_AN_OPERATOR else []
        parameters.append(pytest.param(case, id=case.name, marks=marks))
    return parameters


@pytest.mark.parametrize("case", _parameters())
def test_node(case: Case) -> None:
    expectation = expected_of(case)
    if expectation.outcome == "passes":
        run_case(case)
    elif expectation.outcome == "differs":
        with pytest.raises(AssertionError):
            run_case(case)
    else:
        with pytest.raises((UnsupportedError, ModelError, ShapeError)):
            run_case(case)


def test_support_table_is_current(request: pytest.FixtureRequest) -> None:
    text = render()
    if request.config.getoption("--update-support-table", default=False):
        TABLE.write_text(text, encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == text
