"""How much a network makes of roundings: its error when nothing but its weights is rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

Array = np.ndarray[Any, Any]


def error_of_rounded_weights(path: Path, precision: str, inputs: dict[str, Array]) -> float:
    """The largest error of any output, relative to the largest element, as ONNX Runtime computes in float32."""
    proto = onnx.load(path)
    expected = _outputs(proto, inputs)
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(_rounded(array, precision), tensor.name))
    pairs = zip(_outputs(proto, inputs), expected, strict=True)
    return max(float(np.abs(got - right).max() / np.abs(right).max()) for got, right in pairs)


def _rounded(array: Array, precision: str) -> Array:
    if precision == "tf32":  # 10 of the 23 bits of a fraction
        return ((array.view(np.int32) + (1 << 12)) & ~((1 << 13) - 1)).view(np.float32)
    return array.astype({"fp16": np.float16, "bf16": ml_dtypes.bfloat16}[precision]).astype(np.float32)


def _outputs(proto: onnx.ModelProto, inputs: dict[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, inputs)
    return results
