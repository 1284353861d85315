"""Sound models to damage: random graphs, and one of each thing that graphs are seldom made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from generate import Sample, generate
from onnx import TensorProto, helper, numpy_helper

_TINY = Path(__file__).parents[1] / "models"
_DIGITS = Path(__file__).parents[2] / "examples" / "models" / "digits_cnn.onnx"
EXTERNAL = "weights.bin"  # beside the model, which may ask for it


def specimen(rng: np.random.Generator) -> Sample:
    """A sound model; of those that are not generated, inputs are not known, and everything is data."""
    kind = rng.random()
    if kind < 0.6:
        return generate(int(rng.integers(1 << 20)))
    if kind < 0.7:
        return _of(onnx.load(_DIGITS))
    makers = (_with_branches, _with_function, _with_sparse, _with_external, _symbolic)
    return _of(makers[int(rng.integers(len(makers)))]())


def _of(model: onnx.ModelProto) -> Sample:
    graph = model.graph
    made = (name for node in graph.node for name in node.output)
    return Sample(model, {}, frozenset({*(each.name for each in (*graph.input, *graph.initializer)), *made}))


def external_weights() -> bytes:
    """What `EXTERNAL` holds."""
    return np.arange(12, dtype=np.float32).tobytes()


def _model(nodes: list[onnx.NodeProto], **more: list[object]) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 4]) for name in "xy")
    functions = more.pop("functions", [])
    graph = helper.make_graph(nodes, "specimen", [x], [y], **more)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)


def _with_branches() -> onnx.ModelProto:
    result = helper.make_tensor_value_info("r", TensorProto.FLOAT, [3, 4])
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["r"])], op, [], [result]) for op in ("Relu", "Neg")]
    condition = numpy_helper.from_array(np.asarray(True), "condition")
    node = helper.make_node("If", ["condition"], ["y"], then_branch=branches[0], else_branch=branches[1])
    return _model([node], initializer=[condition])


def _with_function() -> onnx.ModelProto:
    body = [helper.make_node("Mul", ["a", "a"], ["b"]), helper.make_node("Relu", ["b"], ["c"])]
    function = helper.make_function("own", "Twice", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    return _model([helper.make_node("Twice", ["x"], ["y"], domain="own")], functions=[function])


def _with_sparse() -> onnx.ModelProto:
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    places = helper.make_tensor("w_places", TensorProto.INT64, [2], [1, 7])
    sparse = helper.make_sparse_tensor(values, places, [3, 4])
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], sparse_initializer=[sparse])


def _with_external() -> onnx.ModelProto:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", EXTERNAL), ("offset", "0"), ("length", "48")):
        tensor.external_data.add(key=key, value=value)
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], initializer=[tensor])


def _symbolic() -> onnx.ModelProto:
    model = _model([helper.make_node("Relu", ["x"], ["y"])])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    return model
