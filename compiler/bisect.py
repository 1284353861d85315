"""Finds the first operator whose result differs: the model is compiled again with its inner values as outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from .compare import Comparison, compare
from .peers import open_peer
from .random_inputs import random_inputs

Array = npt.NDArray[Any]
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Divergence:
    """The first node, in the model's order, with a result that differs from ONNX Runtime's.

    Attributes:
        node, operator: its name and ONNX operator.
        comparison: of the output that differs.
    """

    node: str
    operator: str
    comparison: Comparison


def bisect(
    model: str | Path,
    *,
    inputs: Mapping[str, Array],
    shapes: Mapping[str, Sequence[int]],
    compile_options: Mapping[str, Any],
    rtol: float,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Divergence | None:
    """Compares every value of a model with ONNX Runtime's; None when all agree.

    All inner values become outputs of one compile. That turns off the fusion across them: when every value agrees here
    and the library still differs, the fault is in the fusion of what is named last.

    Args:
        inputs: values by name; what is not given is random, as `verify`'s first run.
        shapes, compile_options: as the library was compiled.
        rtol: as `verify`'s.
    """
    from .api import compile

    proto = onnx.shape_inference.infer_shapes(onnx.load(str(model)), data_prop=True)
    exposed = _expose(proto)
    progress("compile with every value as output", 0, 0)
    compiled = compile(exposed, shapes=shapes, progress=progress, **compile_options)
    values = {**random_inputs(compiled.inputs, seed, _bounds(exposed)), **inputs}
    progress("compare", 0, 0)
    results = compiled.run(values)
    references = open_peer("onnxruntime", exposed.SerializeToString(), 0).run(values)
    for node in exposed.graph.node:
        for output in node.output:
            if output in results:
                found = compare(output, results[output], references[output], rtol)
                if not found.passed and _matters(references[output], found, rtol):
                    return Divergence(node.name or output, node.op_type, found)
    return None


def _matters(reference: Array, found: Comparison, rtol: float) -> bool:
    """Whether a difference is more than rounding: integers made by rounding floats may differ by one anywhere."""
    if reference.dtype.kind in "iu" and found.max_error <= rtol * reference.size:
        return False
    return bool(np.isfinite(reference).any()) if reference.dtype.kind == "f" else True


def _bounds(model: onnx.ModelProto) -> dict[str, int]:
    from .verify import index_bounds, reference_source

    return index_bounds(reference_source(model)[0])


def _expose(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model with every typed inner tensor as an output."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outputs = {value.name for value in copy.graph.output}
    initializers = {value.name for value in copy.graph.initializer}
    known = {value.name: value for value in copy.graph.value_info}
    for node in copy.graph.node:
        for name in node.output:
            value = known.get(name)
            if value is None or name in outputs or name in initializers or node.op_type == "Constant":
                continue
            if value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type in _FLOATS:
                copy.graph.output.append(value)
                outputs.add(name)
    return copy
