"""One of ONNX's tests compiled, run through the C ABI and compared: what came of it, and why.

For other machines it is compiled alone.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tilewright
from onnx_cases import Case
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions
from tilewright.errors import ModelError, ShapeError, TilewrightError, UnsupportedError

PASSES = "passes"
REFUSED = "refused"
# What must not happen: a wrong result, an error of another kind, an end of the process, no end at all.
DIFFERS, FAILS, CRASHES, HANGS = "differs", "fails", "crashes", "hangs"
# What ONNX's test expects is not what its specification says.
DISPUTED = "disputed"
_DISPUTES = {
    # The specification divides by length_resized - 1, "the length of the resized tensor", as PyTorch and ONNX Runtime
    # do; these two data sets by scale * length_original - 1, which is another number where sizes are rounded down.
    f"node/resize_downsample_scales_{mode}_align_corners": (
        "coordinates of align_corners by the length of the result, as ONNX Runtime and PyTorch have them"
    )
    for mode in ("linear", "cubic")
}

_LONGEST_REASON = 160
_ADDRESSES = re.compile(r"node '[^']*' ")


@dataclass(frozen=True)
class Outcome:
    """What a test came to.

    Attributes:
        kind: one of the words above.
        reason: why it was refused or what went wrong; names of nodes left out.
        bound: the inputs that had to be fixed when the model was compiled.
    """

    kind: str
    reason: str = ""
    bound: tuple[str, ...] = ()


def outcome_of(case: Case) -> Outcome:
    """Runs a test: first with nothing fixed at import, then with the inputs that decide shapes."""
    outcome = _attempt(case, (), run_case)
    if outcome.kind == REFUSED and case.static:
        return _attempt(case, case.static, run_case)
    return outcome


def outcome_of_compiling(case: Case, bound: Sequence[str], target: str, emit: str) -> Outcome:
    """Compiles a test for a target, with some inputs fixed as they were where it passed; nothing is run."""

    def compiled(case: Case, bound: Sequence[str]) -> None:
        given, _ = case.data_sets[0]
        with tempfile.TemporaryDirectory() as folder:
            options = CompileOptions(
                target=target, emit=emit, name="net", jobs=1, **_sizes(_arrays(case, given), bound)
            )
            build(case.model, Path(folder) / "net", options)

    return _attempt(case, tuple(bound), compiled)


def run_case(case: Case, bound: Sequence[str] = ()) -> None:
    """Compiles a test's model, runs each of its data sets, and compares shapes, dtypes and values.

    Raises:
        AssertionError: an output differs.
        TilewrightError: the model is refused.
    """
    compiled = None
    for given, expected in case.data_sets:
        arrays = _arrays(case, given)
        if compiled is None or bound:
            compiled = tilewright.compile(case.model, **_sizes(arrays, bound), threads=1, jobs=1)
        known = {spec.name for spec in compiled.inputs}
        results = list(compiled.run({name: value for name, value in arrays.items() if name in known}).values())
        assert len(results) == len(expected), f"{len(results)} outputs, not {len(expected)}"
        for result, reference in zip(results, expected, strict=True):
            if case.random:  # what was drawn is another matter
                assert (result.shape, result.dtype) == (reference.shape, reference.dtype)
            else:
                compare(result, reference, case.test.rtol, case.test.atol)


def _arrays(case: Case, given: Sequence[Any]) -> dict[str, Any]:
    """The inputs of a data set by name. A sequence has no shape; its model is refused before it is run."""
    values = zip([value.name for value in case.model.graph.input], given, strict=False)
    return {name: value for name, value in values if not isinstance(value, list)}


def _sizes(arrays: Mapping[str, Any], bound: Sequence[str]) -> dict[str, Any]:
    """What a compile is told of the inputs."""
    return {
        "shapes": {name: value.shape for name, value in arrays.items() if name not in bound},
        "bindings": {name: arrays[name] for name in bound},
    }


def compare(result: Any, reference: Any, rtol: float, atol: float) -> None:
    """As ONNX's own runner compares: shapes and dtypes exactly, values within the test's tolerance.

    Raises:
        AssertionError: they differ.
    """
    assert result.shape == reference.shape, f"shape {result.shape}, not {reference.shape}"
    assert result.dtype == reference.dtype, f"dtype {result.dtype}, not {reference.dtype}"
    if reference.dtype.kind not in "biuc":
        # Two units in the last place of half precisions; one of float32 in the largest value, where sums cancel.
        rtol = max(rtol, {"bfloat16": 2**-6, "float16": 2**-9}.get(reference.dtype.name, 0.0))
        result, reference = result.astype(np.float64), reference.astype(np.float64)
        atol = max(atol, 2**-23 * np.abs(reference[np.isfinite(reference)]).max(initial=0.0))
    np.testing.assert_allclose(result, reference, rtol=rtol, atol=atol)


def _attempt(case: Case, bound: tuple[str, ...], attempt: Callable[[Case, Sequence[str]], None]) -> Outcome:
    try:
        attempt(case, bound)
    except (UnsupportedError, ModelError, ShapeError) as error:
        return Outcome(REFUSED, _reason(error), bound)
    except AssertionError as error:
        if case.key in _DISPUTES:
            return Outcome(DISPUTED, _DISPUTES[case.key], bound)
        return Outcome(DIFFERS, _one_line(str(error)), bound)
    except Exception as error:
        return Outcome(FAILS, _one_line(f"{type(error).__name__}: {error}"), bound)
    return Outcome(PASSES, "", bound)


def _reason(error: TilewrightError) -> str:
    """What is wrong, without the names that only this model has."""
    lines = [_ADDRESSES.sub("", detail) for detail in error.details] if "nodes" in error.what else []
    lines = lines or ([_ADDRESSES.sub("", detail) for detail in error.details] if "node with" in error.what else [])
    return _one_line("; ".join(dict.fromkeys(lines)) or error.what)


def _one_line(text: str) -> str:
    short = " ".join(text.split())
    return short if len(short) <= _LONGEST_REASON else f"{short[:_LONGEST_REASON]} ..."
