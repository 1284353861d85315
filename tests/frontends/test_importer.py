"""What the import makes of a graph: names, folding, functions, reports."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from execution import execute
from models import model, perceptron, tensor
from onnx import TensorProto, helper, numpy_helper
from tilewright import frontends
from tilewright.errors import UnsupportedOperatorError
from tvm import relax


def _imported(proto: onnx.ModelProto) -> frontends.ImportedModel:
    return frontends.load(frontends.open(proto))


def _bindings(imported: frontends.ImportedModel) -> list[relax.Binding]:
    return [binding for block in imported.module["main"].body.blocks for binding in block.bindings]


def test_bindings_carry_the_names_of_nodes() -> None:
    names = [binding.var.name for binding in _bindings(_imported(perceptron()))]
    assert names[:-1] == ["product", "with_bias", "Relu_y"]


def test_the_form_after_import() -> None:
    imported = _imported(perceptron())
    main = imported.module["main"]
    assert [param.name for param in main.params] == ["x"]
    assert len(main.body.blocks) == 1
    assert isinstance(main.body.blocks[0], relax.DataflowBlock)
    assert isinstance(main.ret_ty, relax.TupleType)
    x = np.array([[1, 2, 3], [-1, 0, 2]], np.float32)
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    np.testing.assert_allclose(execute(perceptron(), {"x": x})[0], np.maximum(x @ w + b, 0), rtol=1e-5, atol=1e-6)


def test_all_unsupported_operators_are_reported_at_once() -> None:
    nodes = [
        helper.make_node("Folding", ["x"], ["a"], name="first", domain="nobody"),
        helper.make_node("Shape", ["a"], ["b"]),
        helper.make_node("FusedThing", ["x"], ["c"], name="second", domain="com.microsoft"),
        helper.make_node("Folding", ["c"], ["d"], name="third", domain="nobody"),
    ]
    outputs = [tensor("b", None, TensorProto.INT64), tensor("d", None, TensorProto.INT64)]
    with pytest.raises(UnsupportedOperatorError) as caught:
        _imported(model(nodes, [tensor("x", [2, 2])], outputs, domains=["com.microsoft", "nobody"]))
    assert "3 nodes" in caught.value.what
    assert [line.split(":")[0] for line in caught.value.details] == [
        "node 'first' (nobody.Folding)",
        "node 'second' (com.microsoft.FusedThing)",
        "node 'third' (nobody.Folding)",
    ]


def test_an_operator_on_constants_needs_no_converter() -> None:
    nodes = [helper.make_node("NonZero", ["c"], ["i"]), helper.make_node("Identity", ["i"], ["y"])]
    proto = model(nodes, [tensor("x", [1])], [tensor("y", None, TensorProto.INT64)], {"c": np.array([0, 3, 5])})
    output = execute(proto, {"x": np.zeros(1, np.float32)})[0]
    assert output.dtype == np.int64
    assert output.tolist() == [[1, 2]]


def test_a_constant_condition_chooses_a_branch() -> None:
    branches = {
        key: helper.make_graph([helper.make_node(op, ["x"], ["z"], name=op)], key, [], [tensor("z", [2])])
        for key, op in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }
    node = helper.make_node("If", ["c"], ["y"], **branches)
    proto = model([node], [tensor("x", [2])], [tensor("y", [2])], {"c": np.array(False)})
    assert execute(proto, {"x": np.array([-1, 2], np.float32)})[0].tolist() == [1, 2]


def test_functions_of_the_model_are_inlined() -> None:
    opsets = [helper.make_opsetid("", 18)]
    function = helper.make_function(
        "own",
        "Scaled",
        ["a"],
        ["b"],
        [helper.make_node("LeakyRelu", ["a"], ["b"])],
        opsets,
        attributes=["slope"],
    )
    attribute = function.node[0].attribute.add(name="alpha", ref_attr_name="slope")
    attribute.type = 1
    node = helper.make_node("Scaled", ["x"], ["y"], domain="own", slope=0.5)
    proto = model([node], [tensor("x", [2])], [tensor("y", [2])], functions=[function], domains=["own"])
    assert execute(proto, {"x": np.array([-2, 2], np.float32)})[0].tolist() == [-1, 2]


def test_constants_keep_64_bits() -> None:
    """relax.const would make them 32 bits wide by itself."""
    big = np.array([2**40, -(2**41)])
    proto = model(
        [helper.make_node("Add", ["x", "c"], ["y"])],
        [tensor("x", [2], TensorProto.INT64)],
        [tensor("y", [2], TensorProto.INT64)],
        {"c": big},
    )
    assert execute(proto, {"x": np.array([1, 2])})[0].tolist() == [2**40 + 1, -(2**41) + 2]


def test_shared_weights_are_one_constant() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    proto = model(nodes, [tensor("x", [2, 2])], [tensor("y", [2, 2])], {"w": np.eye(2, dtype=np.float32)})
    calls = [binding.value for binding in _bindings(_imported(proto)) if isinstance(binding.value, relax.Call)]
    assert calls[0].args[1].same_as(calls[1].args[1])


def test_batch_norm_of_constants_is_a_multiply_and_an_add() -> None:
    rng = np.random.default_rng(1)
    names = ("scale", "bias", "mean", "var")
    weights = {name: (rng.random(3) + 0.5).astype(np.float32) for name in names}
    node = helper.make_node("BatchNormalization", ["x", *names], ["y"])
    proto = model([node], [tensor("x", [2, 3, 4])], [tensor("y", None)], weights)
    calls = [binding.value for binding in _bindings(_imported(proto)) if isinstance(binding.value, relax.Call)]
    assert [call.op.name for call in calls] == ["relax.multiply", "relax.add"]
    assert [int(dim) for dim in calls[0].args[1].ty.shape] == [3, 1]
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    scale, bias, mean, var = (weights[name][:, None] for name in names)
    expected = (x - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(execute(proto, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


def test_quantized_weights_of_old_opsets_are_folded() -> None:
    weights = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    scale, zero_point = np.array([0.5, 0.25, 2.0], np.float32), np.array([1, 0, -1], np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["v"], "dequantize", axis=1),
        helper.make_node("MatMul", ["x", "v"], ["y"], "product"),
    ]
    initializers = [
        numpy_helper.from_array(array, name) for name, array in (("w", weights), ("scale", scale), ("zero", zero_point))
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    expected = x @ ((weights.astype(np.float32) - zero_point) * scale)
    (actual,) = execute(model, {"x": x})
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
