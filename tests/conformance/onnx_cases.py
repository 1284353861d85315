"""ONNX's own backend tests: which there are, what each is about, and what it gives and expects."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test.loader
from onnx import numpy_helper

SUITES = ("node", "simple", "pytorch-converted", "pytorch-operator")
_DEFAULT_DOMAINS = ("", "ai.onnx")
_EXPANDED = re.compile(r"_expanded(_ver\d+)?$")

# Inputs that decide shapes. The tests pass them at run time, real models hold them as constants, and so do we.
STATIC_INPUTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2,),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
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


@dataclass(frozen=True)
class Case:
    """One test: its suite, its name without the leading `test_`, and the operator it is about.

    Attributes:
        expanded: the operator is spelled out as the function that ONNX defines it by.
        static: the inputs that decide shapes, by name.
        test: ONNX's own record of it.
    """

    suite: str
    name: str
    op_type: str
    domain: str
    opset: int
    expanded: bool
    static: tuple[str, ...]
    test: Any

    @property
    def key(self) -> str:
        """Its name among all suites."""
        return f"{self.suite}/{self.name}"

    @property
    def random(self) -> bool:
        """Whether its outputs are drawn, so that shapes and dtypes alone can be expected."""
        return self.op_type == "Bernoulli" or (self.name.startswith("training_dropout") and "zero" not in self.name)

    @property
    def model(self) -> onnx.ModelProto:
        return _model(self.test)

    @property
    def data_sets(self) -> Sequence[tuple[Sequence[Any], Sequence[Any]]]:
        """Inputs and expected outputs of each run; arrays, or lists of them for sequences."""
        if self.test.data_sets is not None:
            return [tuple([array_of(each) for each in values] for values in pair) for pair in self.test.data_sets]
        folders = sorted(Path(self.test.model_dir).glob("test_data_set_*"))
        values = (self.model.graph.input, self.model.graph.output)
        return [(_stored(folder, "input", values[0]), _stored(folder, "output", values[1])) for folder in folders]


@cache
def all_tests() -> dict[str, Case]:
    """Every test of the four suites by key: those of nodes, of their definitions spelled out, of small models."""
    cases: dict[str, Case] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for suite in SUITES:
            tests = onnx.backend.test.loader.load_model_tests(kind=suite)
            for test in sorted(tests, key=lambda test: ("_expanded" in test.name, str(test.name))):
                case = _case(suite, test, cases)
                cases[case.key] = case
    return cases


@cache
def all_cases() -> dict[str, Case]:
    """The node tests that are about one operator, by name."""
    return {case.name: case for case in all_tests().values() if case.suite == "node" and not case.expanded}


def _case(suite: str, test: Any, earlier: dict[str, Case]) -> Case:
    name = test.name.removeprefix("test_")
    match = _EXPANDED.search(name) if suite == "node" else None
    if match and (base := earlier.get(f"node/{name[: match.start()]}")):
        given = {value.name for value in test.model.graph.input}
        static = tuple(name for name in base.static if name in given)
        return Case(suite, name, base.op_type, base.domain, base.opset, True, static, test)
    model = _model(test)
    nodes = [node for node in model.graph.node if node.op_type != "Constant"] or list(model.graph.node)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    domain = "" if nodes[0].domain in _DEFAULT_DOMAINS else nodes[0].domain
    return Case(suite, name, nodes[0].op_type, domain, versions.get(domain, 1), False, _static_inputs(model), test)


@cache
def _loaded(folder: str) -> onnx.ModelProto:
    return onnx.load(str(Path(folder) / "model.onnx"))


def _model(test: Any) -> onnx.ModelProto:
    return test.model if test.model is not None else _loaded(test.model_dir)


def _static_inputs(model: onnx.ModelProto) -> tuple[str, ...]:
    names = {value.name for value in model.graph.input}
    fixed = {
        node.input[index]
        for node in model.graph.node
        for index in STATIC_INPUTS.get(node.op_type, ())
        if index < len(node.input) and node.input[index] in names
    }
    return tuple(sorted(fixed))


def array_of(value: Any) -> Any:
    """A value of a test as an array, or a list of arrays."""
    if isinstance(value, list):
        return [array_of(each) for each in value]
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _stored(folder: Path, kind: str, values: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    """The tensors of a data set on disk, in order."""
    found = []
    for index in range(len(list(folder.glob(f"{kind}_*.pb")))):
        data = (folder / f"{kind}_{index}.pb").read_bytes()
        if values[index].type.HasField("sequence_type"):
            found.append(numpy_helper.to_list(onnx.SequenceProto.FromString(data)))
        else:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(data)))
    return found
