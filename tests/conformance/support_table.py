"""docs/onnx-support.md: operator by opset by dtype, from what was seen of ONNX's own tests (`record.tsv`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx_cases import SUITES, Case, all_tests
from outcomes import PASSES, REFUSED, Outcome
from tilewright.frontends.onnx import limits
from tilewright.frontends.onnx.registry import registered_operators

TABLE = Path(__file__).parents[2] / "docs" / "onnx-support.md"
_DTYPES = {"FLOAT": "float32", "DOUBLE": "float64", "UNDEFINED": ""}


def render(outcomes: Mapping[str, Outcome]) -> str:
    """The whole document."""
    tests = all_tests()
    groups: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for key, case in tests.items():
        if case.suite == "node" and key in outcomes:
            groups[case.domain, case.op_type].append(case)
    converters = {(entry.domain, entry.op_type) for entry in registered_operators()}
    rows = [_row(operator, groups[operator], outcomes, operator in converters) for operator in sorted(groups)]
    untested = defaultdict(list)
    for domain, op_type in sorted(converters - set(groups)):
        untested[domain or "ai.onnx"].append(op_type)
    others = [key for key, outcome in outcomes.items() if outcome.kind not in (PASSES, REFUSED)]
    return "\n".join(
        [
            "# ONNX operators",
            "",
            "What came of each of ONNX's own backend tests, compiled, run through the C interface, and compared at the",
            f"tests' own tolerances; onnx {onnx.__version__}, opset {onnx.defs.onnx_opset_version()}. Written by",
            "`make conformance`, which runs them all; `make test` runs a tenth and compares with what stands here.",
            "",
            "| Suite | Tests | Pass | Refused at import, with the reason | Anything else |",
            "|---|---|---|---|---|",
            *(_suite(suite, outcomes) for suite in SUITES),
            "",
            *(["Anything else:", "", *(f"- {key}: {outcomes[key].reason}" for key in others), ""] if others else []),
            "Of operators that draw random numbers, shapes and dtypes alone are compared. *Fixed* are inputs that have",
            "to be known when the model is compiled, as they decide shapes: the tests bind them to their values.",
            "*Definition* means that the operator is imported as the function of simpler ones that ONNX defines it by.",
            "Dtypes are those of the first input. All forms since opset 7 are compared with ONNX Runtime by",
            "`tests/frontends/test_constants.py`.",
            "",
            "| Operator | Imported by | Form of opset | Pass | Dtypes that pass | Fixed | Refused |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "Operators without tests of ONNX's, which have some of ours: "
            + "; ".join(f"{domain}: {', '.join(names)}" for domain, names in untested.items())
            + ".",
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


def _suite(suite: str, outcomes: Mapping[str, Outcome]) -> str:
    kinds = Counter(outcome.kind for key, outcome in outcomes.items() if key.startswith(f"{suite}/"))
    passed, refused = kinds[PASSES], kinds[REFUSED]
    return f"| {suite} | {kinds.total()} | {passed} | {refused} | {kinds.total() - passed - refused} |"


def _row(operator: tuple[str, str], cases: Sequence[Case], outcomes: Mapping[str, Outcome], native: bool) -> str:
    domain, op_type = operator
    good = [case for case in cases if outcomes[case.key].kind == PASSES]
    forms = sorted({_form(case) for case in cases})
    dtypes = sorted({_dtype(case) for case in good} - {""})
    bound = sorted({name for case in good for name in outcomes[case.key].bound})
    reasons = Counter(outcomes[case.key].reason for case in cases if outcomes[case.key].kind != PASSES)
    name = f"{domain}.{op_type}" if domain else op_type
    how = "converter" if native else "definition" if good else ""
    why = "; ".join(f"{count}: {reason}".replace("|", "/") for reason, count in sorted(reasons.items()))
    passed = f"{len(good)} / {len(cases)}"
    columns = [name, how, ", ".join(map(str, forms)), passed, ", ".join(dtypes), ", ".join(bound), why]
    return f"| {' | '.join(columns)} |"


def _form(case: Case) -> int:
    """The opset since which the operator is as the test has it."""
    try:
        return int(onnx.defs.get_schema(case.op_type, case.opset, case.domain).since_version)
    except onnx.defs.SchemaError:
        return case.opset


def _dtype(case: Case) -> str:
    value = next(iter([*case.model.graph.input, *case.model.graph.output]))
    name = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    return _DTYPES.get(name, name.lower())
