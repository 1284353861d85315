"""What is expected of each of ONNX's node tests: to pass, or to be refused or to differ for a reason written here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch

import onnx
from conformance import Case
from tilewright.frontends.onnx.dtypes import SUPPORTED_DTYPES
from tilewright.frontends.onnx.registry import find_converter

_DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Expectation:
    """`passes`; `refused`: importing raises an error of ours; or `differs`: ONNX's data are not what we compute."""

    outcome: str
    reason: str = ""


PASSES = Expectation("passes")

# Operators whose definition (a function of others) needs one that is not supported.
_BODIES = {
    "Bernoulli": "needs random numbers at run time",
}
_KNOWN: dict[str, Expectation] = {
    # The specification divides by length_resized - 1, "the length of the resized tensor", as PyTorch and ONNX Runtime
    # do; these two data sets by scale * length_original - 1, which is another number where sizes are rounded down.
    "resize_downsample_scales_*_align_corners": Expectation(
        "differs", "coordinates of align_corners by the length of the result, as ONNX Runtime and PyTorch have them"
    ),
    "training_dropout_*": Expectation("refused", "dropout at training time draws random numbers"),
    "training_dropout": Expectation("refused", "dropout at training time draws random numbers"),
}


def expected_of(case: Case) -> Expectation:
    """What running a case should do."""
    for pattern, expectation in _KNOWN.items():
        if fnmatch(case.name, pattern) and not ("zero_ratio" in case.name and pattern.endswith("*")):
            return expectation
    foreign = sorted(set(_foreign_types([*case.test.model.graph.input, *case.test.model.graph.output])))
    if foreign:
        return Expectation("refused", f"{', '.join(foreign)} are not supported")
    if case.op_type in _BODIES and case.domain == "":
        return Expectation("refused", _BODIES[case.op_type])
    missing = sorted({node.op_type for node in case.test.model.graph.node if not _importable(node, case.opset)})
    if missing:
        return Expectation("refused", f"{', '.join(missing)} has no converter")
    return PASSES


def _foreign_types(values: Iterable[onnx.ValueInfoProto]) -> Iterable[str]:
    for value in values:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            yield f"{str(kind).removesuffix('_type')}s"
        elif value.type.tensor_type.elem_type not in SUPPORTED_DTYPES:
            yield f"{onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)} tensors"


def _importable(node: onnx.NodeProto, opset: int) -> bool:
    domain = "" if node.domain in _DEFAULT_DOMAINS else node.domain
    if find_converter(domain, node.op_type, opset):
        return True
    if not onnx.defs.has(node.op_type, domain):
        return False
    schema = onnx.defs.get_schema(node.op_type, opset, domain)
    return bool(schema.has_function or schema.has_context_dependent_function)
