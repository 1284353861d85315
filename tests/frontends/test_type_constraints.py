"""Dtypes that an operator's definition does not take make a model invalid; all that it takes goes on."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from execution import execute
from onnx import TensorProto, helper, numpy_helper
from tilewright import frontends
from tilewright.errors import ModelError


def of(
    op_type: str, dtype: int, shape: list[int], opset: int = 20, inputs: int = 1, **attributes: object
) -> onnx.ModelProto:
    names = [f"x{index}" for index in range(inputs)]
    values = [helper.make_tensor_value_info(name, dtype, shape) for name in names]
    result = helper.make_tensor_value_info("y", dtype, [None] * len(shape))
    node = helper.make_node(op_type, names, ["y"], **attributes)
    graph = helper.make_graph([node], "g", values, [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize(
    "op_type", ["Elu", "Selu", "Softplus", "Mish", "HardSwish", "HardSigmoid", "Reciprocal", "Exp"]
)
def test_functions_of_floats_take_no_integers(op_type: str) -> None:
    with pytest.raises(ModelError, match=rf"of int32; {op_type} of opset 20 takes .*float") as raised:
        frontends.load(frontends.open(of(op_type, TensorProto.INT32, [2, 3])))
    assert op_type in str(raised.value.where)


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT8, TensorProto.INT64])
def test_pools_of_integers(op_type: str, dtype: int) -> None:
    with pytest.raises(ModelError, match=op_type):
        frontends.load(frontends.open(of(op_type, dtype, [1, 2, 3, 3])))


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"])
def test_arithmetic_takes_no_booleans(op_type: str) -> None:
    with pytest.raises(ModelError, match="of bool"):
        frontends.load(frontends.open(of(op_type, TensorProto.BOOL, [2, 3], inputs=2)))


@pytest.mark.parametrize("opset", [13, 14])  # from which on the definition takes integers
def test_what_a_later_version_takes_is_computed(opset: int) -> None:
    x = np.array([[-3, 0, 5]], np.int32)
    (y,) = execute(of("Relu", TensorProto.INT32, [1, 3], opset=opset), {"x0": x})
    assert y.tolist() == [[0, 0, 5]]


@pytest.mark.parametrize(("dtype", "digits"), [(TensorProto.FLOAT16, 1e-3), (TensorProto.DOUBLE, 1e-12)])
def test_floats_of_other_widths_are_computed(dtype: int, digits: float) -> None:
    x = np.array([[-3, -0.5, 0, 5]], onnx.helper.tensor_dtype_to_np_dtype(dtype))
    (y,) = execute(of("Celu", dtype, [1, 4]), {"x0": x})
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y, np.where(x > 0, x, np.expm1(x.astype("f8"))), rtol=digits, atol=digits)


def test_operands_of_one_type_variable() -> None:
    made = of("Add", TensorProto.FLOAT, [2], inputs=2)
    made.graph.input[1].type.tensor_type.elem_type = TensorProto.INT32
    with pytest.raises(ModelError, match="'B' is of int32, another that has to be of the same dtype is of float32"):
        frontends.load(frontends.open(made))


@pytest.mark.parametrize("opset", [18, 20])
def test_an_operator_that_was_replaced_is_computed(opset: int) -> None:
    rng = np.random.default_rng(0)
    x, scale, bias = rng.standard_normal((2, 6, 3, 3)).astype("f4"), np.float32([1, 2, 3]), np.float32([0, -1, 1])
    node = helper.make_node("GroupNormalization", ["x0", "s", "b"], ["y"], num_groups=3)
    made = of("Identity", TensorProto.FLOAT, [2, 6, 3, 3], opset=opset)
    made.graph.node[0].CopyFrom(node)
    made.graph.initializer.extend([numpy_helper.from_array(scale, "s"), numpy_helper.from_array(bias, "b")])
    (y,) = execute(made, {"x0": x})
    rows = x.reshape(2, 3, -1).astype("f8")
    normal = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    expected = (normal * scale[:, None] + bias[:, None]).reshape(x.shape)
    np.testing.assert_allclose(y, expected, rtol=0, atol=5e-6)


def test_a_quantized_constant_is_computed() -> None:
    x = np.float32([-1, 0, 2, 3.5, 0.25])
    made = of("Identity", TensorProto.UINT8, [5])
    made.graph.node[0].CopyFrom(helper.make_node("DynamicQuantizeLinear", ["w"], ["q", "scale", "zero"]))
    made.graph.node.append(helper.make_node("Add", ["q", "x0"], ["y"]))
    made.graph.initializer.append(numpy_helper.from_array(x, "w"))
    (y,) = execute(made, {"x0": np.uint8([0, 0, 0, 0, 1])})
    scale = 4.5 / 255
    expected = np.rint(x / scale) + np.rint(1 / scale) + np.float32([0, 0, 0, 0, 1])
    assert y.tolist() == expected.tolist()
