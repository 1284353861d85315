"""ONNX's own node tests: which there are, what they cover, and how one is run and judged."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.backend.test.loader
from execution import execute
from onnx import numpy_helper
from tilewright.frontends.onnx.registry import find_converter

# Inputs that decide shapes. The tests pass them at run time, real models hold them as constants, and so do we.
STATIC_INPUTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1, 2),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **dict.fromkeys(
        [
            f"Reduce{kind}"
            for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
        ],
        (1,),
    ),
}
_DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Case:
    """One node test: its model, its name without the leading `test_`, and the operator it is about."""

    name: str
    op_type: str
    domain: str
    opset: int
    test: Any

    @property
    def native(self) -> bool:
        """Whether every operator in it has a converter of ours."""
        return all(
            find_converter("" if node.domain in _DEFAULT_DOMAINS else node.domain, node.op_type, self.opset)
            for node in self.test.model.graph.node
        )


@cache
def all_cases() -> dict[str, Case]:
    """Every node test that is about one operator, by name; the ones that spell out function bodies are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = onnx.backend.test.loader.load_model_tests(kind="node")
    cases = {}
    for test in tests:
        name = test.name.removeprefix("test_")
        if "_expanded" in name:
            continue
        nodes = [node for node in test.model.graph.node if node.op_type != "Constant"] or test.model.graph.node
        versions = {entry.domain: entry.version for entry in test.model.opset_import}
        domain = "" if nodes[0].domain in _DEFAULT_DOMAINS else nodes[0].domain
        cases[name] = Case(name, nodes[0].op_type, domain, versions.get(domain, 1), test)
    return cases


def run_case(case: Case) -> None:
    """Compiles a case's model, runs each of its data sets, and compares shapes, dtypes and values.

    Raises:
        AssertionError: an output differs.
        TilewrightError: the model is refused.
    """
    model = case.test.model
    names = [value.name for value in model.graph.input]
    for given, expected in case.test.data_sets:
        tensors = zip(names, given, strict=False)  # a sequence is a list; its model is refused before it is run
        inputs = {name: array_of(value) for name, value in tensors if not isinstance(value, list)}
        outputs = execute(model, inputs, bindings=_bindings(model, names))
        assert len(outputs) == len(expected)
        for output, reference in zip(outputs, expected, strict=True):
            _compare(output, array_of(reference), case)


def _bindings(model: onnx.ModelProto, names: list[str]) -> list[str]:
    fixed = set()
    for node in model.graph.node:
        for index in STATIC_INPUTS.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] in names:
                fixed.add(node.input[index])
    return sorted(fixed)


def array_of(value: Any) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _compare(output: np.ndarray[Any, Any], reference: np.ndarray[Any, Any], case: Case) -> None:
    assert output.shape == reference.shape
    assert output.dtype == reference.dtype
    if reference.dtype.kind in "biu":
        np.testing.assert_array_equal(output, reference)
        return
    # Half precision carries 11 bits (bfloat16 8), so its results are compared to a few units in the last place.
    eps = 1e-2 if reference.dtype.name == "bfloat16" else 2e-3 if reference.dtype.name == "float16" else 0.0
    np.testing.assert_allclose(
        output.astype(np.float64),
        reference.astype(np.float64),
        rtol=max(case.test.rtol, eps),
        atol=max(case.test.atol, eps, 1e-6),
        equal_nan=True,
    )
