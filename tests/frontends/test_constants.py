"""Constants mean what inputs mean: every operator, in every form it has had, with its inputs as constants.

The other tests of operators give inputs when a model runs. Here all are known when it is imported, so that whatever
evaluates constants there or in a pass (`evaluation.py`, `constant_operators.py`) gives the numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import islice

import numpy as np
import pytest
from batches import Part, opsets_of, run
from onnx import defs
from onnx_cases import all_cases
from operator_forms import node_test_parts, operator_forms, written_parts
from record import passing

_BATCH, _PARTS = 60, 3
# A form that ONNX Runtime does not run, and no node test is of.
_UNTESTED = {("GlobalLpPool", 22), ("RoiAlign", 10)}
# Operators of graphs, sequences and optionals, which are no constants: test_control_flow.py and test_sequences.py.
# Random numbers, and what no test of ONNX's is of: test_sampling.py.
_ELSEWHERE = (
    *("Loop", "Optional", "OptionalGetElement", "OptionalHasElement", "ConcatFromSequence", "SequenceAt"),
    *("SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap"),
    *("SplitToSequence", "Bernoulli", "MaxRoiPool", "Multinomial", "RandomNormal", "RandomNormalLike"),
    *("RandomUniform", "RandomUniformLike"),
)


@cache
def _node_tests() -> tuple[Part, ...]:
    """Every node test that passes, in order of the operators."""
    parts = []
    for case in all_cases().values():
        if case.key in passing() and not case.random:
            given, expected = case.data_sets[0]
            inputs = dict(zip((value.name for value in case.model.graph.input), given, strict=False))
            parts.append(Part(case.name, case.model, inputs, expected, case.test.rtol, max(case.test.atol, 1e-6)))
    return tuple(parts)


@cache
def _forms() -> tuple[tuple[str, int, Part], ...]:
    return (*written_parts(), *node_test_parts())


def _batches(parts: Iterable[Part]) -> Iterable[list[Part]]:
    groups: dict[object, list[Part]] = defaultdict(list)
    for part in parts:
        groups[opsets_of(part)].append(part)
    for group in groups.values():
        for start in range(0, len(group), _BATCH):
            yield group[start : start + _BATCH]


def _check(parts: Iterable[Part]) -> None:
    wrong = []
    for batch in _batches(parts):
        for part, outputs in zip(batch, run(batch), strict=True):
            for output, reference in zip(outputs, part.expected, strict=True):
                try:
                    _compare(output, reference, part)
                except AssertionError as error:
                    wrong.append(f"{part.name}: {error}")
    assert not wrong, "\n".join(wrong)


def _compare(output: np.ndarray[object, object], reference: np.ndarray[object, object], part: Part) -> None:
    assert (output.shape, output.dtype) == (reference.shape, reference.dtype)
    if reference.dtype.kind in "biu":
        np.testing.assert_array_equal(output, reference)
        return
    # Half precision carries 11 bits, bfloat16 8.
    near = {"bfloat16": 1e-2, "float16": 2e-3}.get(reference.dtype.name, 0.0)
    np.testing.assert_allclose(
        output.astype(np.float64),
        reference.astype(np.float64),
        rtol=max(part.rtol, near),
        atol=max(part.atol, near),
        equal_nan=True,
    )


def test_one_node_test_of_every_operator() -> None:
    first = {all_cases()[part.name].op_type: part for part in reversed(_node_tests())}
    _check(first.values())


@pytest.mark.slow
def test_node_tests_of_onnx() -> None:
    _check(_node_tests())


@pytest.mark.parametrize("place", range(_PARTS))
@pytest.mark.sweep(_PARTS)
def test_forms_that_are_not_today_s(place: int) -> None:
    _check(part for _, _, part in islice(written_parts(), place, None, _PARTS))


@pytest.mark.slow
def test_every_form() -> None:
    _check(part for _, _, part in node_test_parts())


def test_no_form_is_left_out() -> None:
    tested = {(op_type, version) for op_type, version, _ in _forms()}
    for case in all_cases().values():
        if case.key in passing() and not case.domain:
            tested.add((case.op_type, defs.get_schema(case.op_type, case.opset).since_version))
    missing = {(name, version) for name, versions in operator_forms().items() for version in versions} - tested
    assert {each for each in missing if each[0] not in _ELSEWHERE} == _UNTESTED
