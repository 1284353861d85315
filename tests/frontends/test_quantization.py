"""Quantized operators against ONNX Runtime, where ONNX's own tests leave something out: forms, and its own domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from exact_integers import saturates
from execution import execute
from models import model, tensor
from onnx import TensorProto, compose, helper
from onnx_runtime import reference_outputs
from tilewright.errors import ModelError, UnsupportedError

Array = np.ndarray[Any, Any]
MICROSOFT = "com.microsoft"
_RNG = np.random.default_rng(7)


def integers(dtype: str, *shape: int) -> Array:
    """Whole numbers over all of their range."""
    limits = np.iinfo(dtype)
    return _RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def floats(*shape: int) -> Array:
    return _RNG.standard_normal(shape).astype(np.float32)


def scale(*shape: int) -> Array:
    return (_RNG.uniform(0.01, 0.05, shape)).astype(np.float32)


def of(
    op_type: str,
    inputs: Sequence[Array | None],
    *,
    domain: str = "",
    opset: int = 21,
    outputs: int = 1,
    more: Mapping[str, int] | None = None,
    **how: Any,
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A model of one node: scales, zero points and scalars are weights, the rest are inputs.

    Args:
        more: attributes that have the names of these parameters.
    """
    names = ["" if value is None else f"i{index}" for index, value in enumerate(inputs)]
    node = helper.make_node(op_type, names, [f"o{index}" for index in range(outputs)], domain=domain, **how)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in (more or {}).items())
    given = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    run_time = {name: value for name, value in given.items() if value.ndim > 1}
    made = model(
        [node],
        [tensor(name, value.shape, helper.np_dtype_to_tensor_dtype(value.dtype)) for name, value in run_time.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output],
        {name: value for name, value in given.items() if name not in run_time},
        opset,
        domains=[domain] if domain else [],
    )
    return made, run_time


# Name -> the node's inputs and attributes; results are integers of ONNX's definition, the same to the last unit.
_EXACT: Mapping[str, tuple[str, Sequence[Array | None], dict[str, Any]]] = {
    "per tensor": ("QuantizeLinear", [floats(2, 24, 5), scale(), integers("int8")], {}),
    "per channel": ("QuantizeLinear", [floats(2, 24, 5), scale(24), integers("uint8", 24)], {}),
    "last axis": ("QuantizeLinear", [floats(2, 24, 5), scale(5), integers("uint8", 5)], {"axis": -1}),
    "blocks that do not divide": ("QuantizeLinear", [floats(3, 7), scale(3, 3), None], {"axis": 1, "block_size": 3}),
    "blocks that divide": (
        "QuantizeLinear",
        [floats(2, 6, 5), scale(2, 2, 5), integers("uint8", 2, 2, 5)],
        {"axis": 1, "block_size": 3},
    ),
    "without zero point": ("QuantizeLinear", [floats(3, 7), scale()], {}),
    "int16": ("QuantizeLinear", [floats(3, 7) * 1e3, scale(), integers("int16")], {}),
    "halves": ("QuantizeLinear", [np.arange(-40, 40, dtype="f4").reshape(8, 10) / 4, np.float32(0.5)], {}),
    "extremes": (
        "QuantizeLinear",
        [np.float32([[-np.inf, np.inf, 1e38, -1e38, 1e-40, -0.0]]), np.float32(1e-3), np.int8(-7)],
        {},
    ),
    "product of signed": (
        "QLinearMatMul",
        [
            integers("int8", 5, 24),
            scale(),
            np.int8(3),
            integers("int8", 24, 9),
            scale(9),
            np.zeros(9, "i1"),
            np.float32(9.0),
            np.int8(-4),
        ],
        {},
    ),
    "matmul of unsigned": ("MatMulInteger", [integers("uint8", 2, 5, 24), integers("int8", 24, 9), np.uint8(7)], {}),
    "convolution": (
        "QLinearConv",
        [
            integers("uint8", 2, 6, 9, 7),
            scale(),
            np.uint8(131),
            integers("int8", 8, 3, 3, 3),
            scale(8),
            np.zeros(8, "i1"),
            np.float32(4.0),
            np.uint8(9),
            integers("int16", 8).astype("i4"),
        ],
        {"pads": [1, 0, 1, 2], "strides": [2, 1], "group": 2},
    ),
    "convolution in int32": (
        "ConvInteger",
        [integers("uint8", 1, 3, 8, 8), integers("uint8", 5, 3, 3, 3), np.uint8(4), np.uint8(128)],
        {"pads": [1, 1, 1, 1]},
    ),
    "dynamic": ("DynamicQuantizeLinear", [floats(3, 50)], {"outputs": 3}),
    "dynamic, of zeros": ("DynamicQuantizeLinear", [np.zeros((2, 3), "f4")], {"outputs": 3}),
    "dynamic, of positive": ("DynamicQuantizeLinear", [np.abs(floats(2, 9)) + 1], {"outputs": 3}),
    "gemm": (
        "QGemm",
        [
            integers("uint8", 4, 24),
            scale(),
            np.uint8(100),
            integers("int8", 9, 24),
            scale(9),
            np.zeros(9, "i1"),
            integers("int16", 9).astype("i4"),
            np.float32(5.0),
            np.uint8(12),
        ],
        {"domain": MICROSOFT, "transB": 1},
    ),
}
# In float between: within a unit of ONNX Runtime's, which computes in others steps.
_FLOAT: Mapping[str, tuple[str, Sequence[Array | None], dict[str, Any]]] = {
    "dequantize": ("DequantizeLinear", [integers("int8", 4, 6), scale(6), integers("int8", 6)], {}),
    "dequantize int32": ("DequantizeLinear", [integers("int32", 4, 6), scale()], {}),
    "dequantize blocks": (
        "DequantizeLinear",
        [integers("uint8", 4, 6), scale(2, 6), integers("uint8", 2, 6)],
        {"axis": 0, "block_size": 2},
    ),
    "add": (
        "QLinearAdd",
        [
            integers("uint8", 3, 24),
            scale(),
            np.uint8(9),
            integers("uint8", 24),
            scale(),
            np.uint8(200),
            np.float32(0.1),
            np.uint8(120),
        ],
        {"domain": MICROSOFT},
    ),
    "mul": (
        "QLinearMul",
        [
            integers("int8", 3, 24),
            scale(),
            np.int8(9),
            integers("int8", 3, 24),
            scale(),
            np.int8(-20),
            np.float32(0.1),
            np.int8(12),
        ],
        {"domain": MICROSOFT},
    ),
    "concat": (
        "QLinearConcat",
        [
            np.float32(0.05),
            np.uint8(3),
            integers("uint8", 2, 3),
            np.float32(0.02),
            np.uint8(9),
            integers("uint8", 2, 5),
            np.float32(0.05),
            np.uint8(3),
        ],
        {"domain": MICROSOFT, "axis": 1},
    ),
    "global pool": (
        "QLinearGlobalAveragePool",
        [integers("uint8", 2, 3, 5, 5), scale(), np.uint8(128), np.float32(0.01), np.uint8(100)],
        {"domain": MICROSOFT},
    ),
    "sigmoid": (
        "QLinearSigmoid",
        [integers("uint8", 2, 30), scale(), np.uint8(128), np.float32(1 / 256), np.uint8(0)],
        {"domain": MICROSOFT},
    ),
    "leaky relu": (
        "QLinearLeakyRelu",
        [integers("int8", 2, 30), scale(), np.int8(5), np.float32(0.03), np.int8(1)],
        {"domain": MICROSOFT, "alpha": 0.1},
    ),
    "softmax": (
        "QLinearSoftmax",
        [integers("uint8", 2, 30), scale(), np.uint8(128), np.float32(1 / 256), np.uint8(0)],
        {"domain": MICROSOFT, "axis": -1, "more": {"opset": 13}},
    ),
    "integers to floats": (
        "MatMulIntegerToFloat",
        [integers("uint8", 3, 24), integers("int8", 24, 7), scale(), scale(7), np.uint8(100), None, floats(7)],
        {"domain": MICROSOFT},
    ),
    "attention": (
        "QAttention",
        [
            *(integers("uint8", 2, 5, 24), integers("int8", 24, 72), floats(72), scale() / 10, scale(72) / 10, None),
            *(np.uint8(120), np.zeros(72, "i1")),
        ],
        {"domain": MICROSOFT, "num_heads": 4},
    ),
    "dynamic product": (
        "DynamicQuantizeMatMul",
        [floats(3, 24), integers("int8", 24, 7), scale(), np.int8(0), floats(7)],
        {"domain": MICROSOFT},
    ),
}


@cache
def outputs_of(name: str) -> tuple[list[Array], list[Array]]:
    """Ours, and ONNX Runtime's; all rows are one model, at the cost of one."""
    return _all_outputs()[name]


@cache
def _all_outputs() -> dict[str, tuple[list[Array], list[Array]]]:
    whole = onnx.ModelProto(ir_version=10)
    whole.opset_import.extend([helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)])
    whole.graph.name = "rows"
    given, expected = {}, {}
    for index, (name, (op_type, inputs, how)) in enumerate({**_EXACT, **_FLOAT}.items()):
        made, run_time = of(op_type, inputs, **how)
        expected[name] = reference_outputs(made, run_time)
        graph = compose.add_prefix(made, f"r{index}_").graph
        for field in ("node", "input", "output", "initializer"):
            getattr(whole.graph, field).extend(getattr(graph, field))
        given.update({f"r{index}_{key}": value for key, value in run_time.items()})
    ours = iter(execute(whole, given))
    return {name: ([next(ours) for _ in theirs], theirs) for name, theirs in expected.items()}


# Those whose products ONNX Runtime cuts off where it has no exact ones.
_CUT_OFF = {"matmul of unsigned", "convolution", "gemm", "integers to floats", "attention", "dynamic product"}


def _check_reference(name: str) -> None:
    if name in _CUT_OFF and saturates():
        pytest.skip("ONNX Runtime's products of uint8 and int8 saturate on this processor")


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", _EXACT)
def test_integers_are_onnx_runtimes(name: str) -> None:
    _check_reference(name)
    for ours, theirs in zip(*outputs_of(name), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", _FLOAT)
def test_floats_between_integers(name: str) -> None:
    _check_reference(name)
    for ours, theirs in zip(*outputs_of(name), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        within = 1 if ours.dtype.kind in "iu" else 1e-5 * np.abs(theirs).max()
        np.testing.assert_allclose(ours.astype("f8"), theirs.astype("f8"), rtol=0, atol=within)


def test_weights_of_four_bits() -> None:
    """int4 and uint4 in blocks, as constants: what kernels read is wider."""
    packed = helper.make_tensor("w", TensorProto.INT4, (6, 4), _RNG.integers(-8, 8, 24))
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=0, block_size=3),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    made = model(nodes, [tensor("x", (2, 6))], [tensor("y", (2, 4))], {"s": scale(2, 4)}, 21)
    made.graph.initializer.extend([packed, helper.make_tensor("z", TensorProto.INT4, (2, 4), _RNG.integers(-8, 8, 8))])
    x = floats(2, 6)
    (expected,) = reference_outputs(made, {"x": x})
    np.testing.assert_allclose(execute(made, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


def test_activations_of_four_bits() -> None:
    """What is between a pair of quantize and dequantize may have four bits; it is saturated to them."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    made = model(nodes, [tensor("x", (3, 40))], [tensor("y", (3, 40))], {"s": np.float32(0.25)}, 21)
    made.graph.initializer.append(helper.make_tensor("z", TensorProto.UINT4, (), [5]))
    x = 3 * floats(3, 40)
    expected = (np.clip(np.rint(x / np.float32(0.25)) + 5, 0, 15) - 5) * np.float32(0.25)
    np.testing.assert_array_equal(execute(made, {"x": x})[0], expected.astype("f4"))


def test_refused() -> None:
    with pytest.raises(UnsupportedError, match="float8_e4m3fn"):
        node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=TensorProto.FLOAT8E4M3FN)
        output = tensor("y", (2, 3), TensorProto.FLOAT8E4M3FN)
        tilewright.compile(model([node], [tensor("x", (2, 3))], [output], {"s": np.float32(1)}, 21))
    with pytest.raises(ModelError, match="does not fit axis 1"):
        made, _ = of("QuantizeLinear", [floats(2, 4), scale(3)])
        tilewright.compile(made)
