"""docs/onnx-support.md: the operators, from the same table and expectations that the node tests are judged by."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import onnx
from conformance import Case, all_cases
from expectations import PASSES, expected_of
from tilewright.frontends.onnx import limits
from tilewright.frontends.onnx.alternatives import advice
from tilewright.frontends.onnx.registry import registered_operators

TABLE = Path(__file__).parents[2] / "docs" / "onnx-support.md"
_COMMAND = "pytest -m 'slow or not slow' tests/frontends/test_onnx_node_tests.py --update-support-table"
_ELSEWHERE = ("ai.onnx.ml", "ai.onnx.preview.training")


def render() -> str:
    """The whole document."""
    cases: dict[str, list[Case]] = defaultdict(list)
    for case in all_cases().values():
        if case.domain not in _ELSEWHERE:
            cases[case.op_type].append(case)
    native = defaultdict(list)
    for entry in registered_operators():
        native[entry.op_type].append(entry.since)
    rows, absent, passed, total = [], [], 0, 0
    for op_type in sorted({*cases, *native}):
        own = cases[op_type]
        good = [case for case in own if expected_of(case) == PASSES]
        passed, total = passed + len(good), total + len(own)
        if own and not good:
            absent.append(_absent_row(op_type, own))
        else:
            rows.append(_row(op_type, own, good, op_type in native))
    newest = onnx.defs.onnx_opset_version()
    return "\n".join(
        [
            "# ONNX operators",
            "",
            f"Operators of the ONNX standard up to opset {newest}, and how many of ONNX's own node tests they pass.",
            f"{passed} of {total} tests pass in all. *Definition* means that the operator is imported as the function",
            "of simpler operators that ONNX defines it by. Inputs that decide shapes (of Reshape, Slice, ...) must be",
            "known at compile time; the tests bind them. This file is written by the tests:",
            "",
            f"    {_COMMAND}",
            "",
            "| Operator | Imported by | Opsets tested | Passed | Notes |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## Not supported",
            "",
            "| Operator | Tests | What to do instead |",
            "|---|---|---|",
            *absent,
            "",
            "## Limits",
            "",
            "What a model declares beyond these is refused, before anything of that size is made:",
            "",
            f"- a tensor: {limits.LARGEST_TENSOR:,} elements, {limits.LARGEST_RANK} dimensions",
            f"- a model: {limits.LARGEST_GRAPH:,} nodes, those of its functions counted at every call",
            f"- functions in functions, graphs in graphs: {limits.DEEPEST_NESTING} deep",
            f"- a range, a matrix of ones, the positions of an interpolation: {limits.LARGEST_TABLE:,} elements",
            f"- a sparse tensor, which is stored densely: {limits.EVALUATED_ELEMENTS:,} elements",
            "",
        ]
    )


def _row(op_type: str, own: list[Case], good: list[Case], native: bool) -> str:
    reasons: dict[str, int] = defaultdict(int)
    for case in own:
        if case not in good:
            reasons[expected_of(case).reason] += 1
    notes = "; ".join(f"{count}: {reason}" for reason, count in sorted(reasons.items()))
    opsets = sorted({case.opset for case in own})
    spans = ", ".join(str(opset) for opset in opsets) or "in unit tests"
    how = "converter" if native else "definition"
    return f"| {op_type} | {how} | {spans} | {len(good)} / {len(own)} | {notes} |"


def _absent_row(op_type: str, own: list[Case]) -> str:
    return f"| {op_type} | {len(own)} | {advice('', op_type) or expected_of(own[0]).reason} |"
