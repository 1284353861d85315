"""The criterion of `verify`, and its warnings when passing shows nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tilewright.compiler.verification.compare import compare

VALUES = np.linspace(-2, 4, 50, dtype=np.float32)


def test_the_largest_error_counts_against_the_largest_value() -> None:
    result = VALUES.copy()
    result[7] += 3.9e-4

    found = compare("y", result, VALUES, 1e-4)

    assert found.passed and found.worst_index == (7,)
    assert found.max_error == pytest.approx(3.9e-4, rel=1e-2)
    assert found.relative_error == pytest.approx(3.9e-4 / 4, rel=1e-2)
    result[7] += 0.2e-4
    assert not compare("y", result, VALUES, 1e-4).passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_must_be_so_in_both(value: float) -> None:
    odd = VALUES.copy()
    odd[3] = value

    assert compare("y", odd, odd, 1e-4).passed
    for pair in ((odd, VALUES), (VALUES, odd), (-odd, odd)):
        if not (math.isnan(value) and pair[0] is not VALUES and pair[1] is odd):
            assert not compare("y", *pair, 1e-4).passed
    assert "1 of 50" in compare("y", odd, VALUES, 1e-4).problem


def test_an_infinity_does_not_widen_the_tolerance() -> None:
    reference = VALUES.copy()
    reference[0] = math.inf
    result = reference.copy()
    result[1] += 0.01

    assert not compare("y", result, reference, 1e-4).passed


def test_integers_are_exact() -> None:
    reference = np.arange(6).reshape(2, 3)
    result = reference.copy()
    result[1, 2] += 1

    assert compare("y", reference, reference).passed
    found = compare("y", result, reference, 1.0)
    assert not found.passed and found.max_error == 1 and found.worst_index == (1, 2)
    assert not compare("y", reference.astype(np.int32), reference).passed
    assert not compare("y", np.array([True, False]), np.array([True, True])).passed


def test_shapes_must_agree() -> None:
    assert "shape" in compare("y", VALUES, VALUES.reshape(5, 10)).problem


@pytest.mark.parametrize(
    ("reference", "warning"),
    [
        (np.zeros(4, np.float32), "near zero"),
        (VALUES * 1e-28, "near zero"),
        (np.full(9, 3, np.float32), "the same"),
        (np.full(2, math.nan, np.float32), "NaN"),
        (np.ones(5, np.int64), "the same"),
        (np.zeros((0, 3), np.float32), "no elements"),
    ],
)
def test_empty_comparisons_are_said_to_be(reference: np.ndarray, warning: str) -> None:
    found = compare("y", reference, reference)

    assert found.passed
    assert warning in found.warning
    json.dumps(found.to_json(), allow_nan=False)


def test_a_sound_comparison_has_no_warning() -> None:
    assert compare("y", VALUES, VALUES).warning == ""
