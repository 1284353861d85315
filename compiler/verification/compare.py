"""Compares outputs with reference outputs, and says when a comparison shows nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..precision import RTOL_OF_PRECISION

Array = npt.NDArray[Any]

DEFAULT_RTOL = RTOL_OF_PRECISION["fp32"]
# Below this the numbers say more of underflow than of the model; above it a model's outputs usually lie.
_NEAR_ZERO = 1e-6
_SAME = 1e-6  # a spread of less than this share of the largest value counts as one value


@dataclass(frozen=True)
class Comparison:
    """One output against its reference.

    Attributes:
        output: its name.
        max_error: largest absolute difference; of integers and booleans the number of elements that differ.
        max_reference: largest absolute value of the reference.
        limit: what `max_error` may be at most.
        passed: whether it is, and shapes, NaNs and infinities agree too.
        problem: what is wrong besides the size of the error; empty when nothing is.
        warning: why passing would show little; empty when it shows something.
        worst_index: where the largest difference is.
        top1: of rows along the last axis the share whose largest element is at the same place; None without such rows.
    """

    output: str
    max_error: float
    max_reference: float
    limit: float
    passed: bool
    problem: str = ""
    warning: str = ""
    worst_index: tuple[int, ...] = ()
    top1: float | None = None

    @property
    def relative_error(self) -> float:
        """`max_error` over `max_reference`."""
        if self.max_error == 0:
            return 0.0
        return self.max_error / self.max_reference if self.max_reference else math.inf

    def to_json(self) -> dict[str, object]:
        """The fields as JSON takes them: no NaN, no infinity."""
        numbers = {
            "max_error": self.max_error,
            "max_reference": self.max_reference,
            "relative_error": self.relative_error,
            "limit": self.limit,
        }
        return {
            "output": self.output,
            "passed": self.passed,
            **{key: number if math.isfinite(number) else None for key, number in numbers.items()},
            "problem": self.problem or None,
            "warning": self.warning or None,
            "worst_index": list(self.worst_index),
            "top1": self.top1,
        }


def compare_all(results: Mapping[str, Array], references: Mapping[str, Array], rtol: float) -> list[Comparison]:
    """Compares every output of `references` by name."""
    return [compare(name, results[name], reference, rtol) for name, reference in references.items()]


def compare(name: str, result: Array, reference: Array, rtol: float = DEFAULT_RTOL) -> Comparison:
    """One output: max |result - reference| <= rtol * max |reference|; integers and booleans must be equal.

    NaNs must stand at the same places, and infinities with the same sign; the other elements are then compared.
    """
    if result.shape != reference.shape:
        problem = f"its shape is {_shape(result)}, the reference has {_shape(reference)}"
        return Comparison(name, math.inf, 0.0, 0.0, False, problem)
    if result.dtype.kind in "iub" or reference.dtype.kind in "iub":
        return _compare_exactly(name, result, reference)
    return _compare_floats(name, result.astype(np.float64), reference.astype(np.float64), rtol)


def _compare_exactly(name: str, result: Array, reference: Array) -> Comparison:
    differ = np.asarray(result != reference)
    count = int(np.count_nonzero(differ))
    largest = float(np.abs(reference.astype(np.float64)).max(initial=0.0))
    problem = "" if result.dtype == reference.dtype else f"its dtype is {result.dtype}, not {reference.dtype}"
    if count:
        problem = problem or f"{count} of {result.size} elements differ"
    worst = _index(differ) if count else ()
    same = reference.size > 1 and bool(np.all(reference == reference.reshape(-1)[0]))
    warning = "all elements of the reference are the same" if same else ""
    return Comparison(name, float(count), largest, 0.0, not problem, problem, warning, worst)


def _compare_floats(name: str, result: Array, reference: Array, rtol: float) -> Comparison:
    finite = np.isfinite(reference)
    special = ~finite | ~np.isfinite(result)
    agree = (np.isnan(result) & np.isnan(reference)) | (result == reference)
    wrong = special & ~agree
    values = np.abs(reference[finite])
    largest = float(values.max(initial=0.0))
    limit = rtol * largest
    with np.errstate(invalid="ignore"):
        errors = np.where(special, 0.0, np.abs(result - reference))
    error = float(errors.max(initial=0.0))
    problem = ""
    if wrong.any():
        count = int(np.count_nonzero(wrong))
        problem = f"{count} of {result.size} elements are NaN or infinite in one and not in the other"
    worst = _index(wrong) if problem else (_index(errors) if error else ())
    warning = _emptiness(reference, values, largest)
    passed = not problem and error <= limit
    return Comparison(name, error, largest, limit, passed, problem, warning, worst, _top1(result, reference))


def _top1(result: Array, reference: Array) -> float | None:
    if reference.ndim == 0 or reference.shape[-1] < 2 or reference.size == 0:
        return None
    return float(np.mean(result.argmax(-1) == reference.argmax(-1)))


def _emptiness(reference: Array, finite_values: Array, largest: float) -> str:
    """Why agreement with this reference would show little."""
    if reference.size == 0:
        return "the output has no elements"
    if finite_values.size == 0:
        return "the reference holds nothing but NaN and infinities"
    if largest < _NEAR_ZERO:
        return f"the reference is near zero (largest value {largest:.1e})"
    finite = reference[np.isfinite(reference)]
    if finite.size > 1 and float(finite.max() - finite.min()) < _SAME * largest:
        return "all elements of the reference are the same"
    return ""


def _index(weights: Array) -> tuple[int, ...]:
    return tuple(int(position) for position in np.unravel_index(int(np.argmax(weights)), weights.shape))


def _shape(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "a scalar"
