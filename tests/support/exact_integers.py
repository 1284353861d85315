"""ONNX Runtime where a processor has no exact products of uint8 and int8.

Without VNNI it multiplies them by vpmaddubsw, which saturates sums of two products at 16 bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

_PRECISE = "session.x64quantprecision"  # its own name for weights that become uint8, whose products are exact


@cache
def saturates() -> bool:
    """Whether ONNX Runtime's products of uint8 and int8 are cut off on this processor."""
    a = helper.make_tensor_value_info("a", TensorProto.UINT8, [4, 16])
    b = helper.make_tensor_value_info("b", TensorProto.INT8, [16, 32])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [4, 32])
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "product", [a, b], [y])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {"a": np.full((4, 16), 255, np.uint8), "b": np.full((16, 32), 127, np.int8)}
    return bool((session.run(None, given)[0] != 16 * 255 * 127).any())


def exact_session(model: bytes) -> onnxruntime.InferenceSession:
    """A session that multiplies integers exactly: its optimizer makes what would saturate uint8."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(_PRECISE, "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
