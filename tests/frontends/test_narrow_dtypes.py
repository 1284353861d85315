"""Tensors of int4, float8 and the like: converted as ml_dtypes does, every float16 that there is; moved as bytes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from execution import execute
from models import model, tensor
from onnx import TensorProto, helper, numpy_helper

_FLOATS = {
    name: (getattr(TensorProto, onnx_name), np.dtype(getattr(ml_dtypes, name)))
    for name, onnx_name in (
        ("float8_e4m3fn", "FLOAT8E4M3FN"),
        ("float8_e4m3fnuz", "FLOAT8E4M3FNUZ"),
        ("float8_e5m2", "FLOAT8E5M2"),
        ("float8_e5m2fnuz", "FLOAT8E5M2FNUZ"),
        ("float4_e2m1fn", "FLOAT4E2M1"),
    )
}


def test_every_float16_is_rounded_as_by_ml_dtypes() -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    nodes = [
        helper.make_node("Cast", ["x"], [f"{name}_{saturate}"], to=kind, saturate=saturate)
        for name, (kind, _) in _FLOATS.items()
        for saturate in (0, 1)
    ]
    outputs = [tensor(node.output[0], x.shape, _FLOATS[node.output[0][:-2]][0]) for node in nodes]
    proto = model(nodes, [tensor("x", x.shape, TensorProto.FLOAT16)], outputs, opset=25)

    results = execute(proto, {"x": x})

    for node, result in zip(nodes, results, strict=True):
        dtype, saturate = _FLOATS[node.output[0][:-2]][1], node.output[0].endswith("1")
        with np.errstate(all="ignore"):
            expected = numpy_helper.saturate_cast(x, dtype) if saturate else x.astype(dtype)
        numbers = ~np.isnan(x)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result.view(np.uint8)[numbers], expected.view(np.uint8)[numbers])
        wide = result[~numbers].astype(np.float32)
        np.testing.assert_array_equal(wide, expected[~numbers].astype(np.float32))


def test_float32_and_float64_are_rounded_once() -> None:
    rng = np.random.default_rng(3)
    exact = np.concatenate([rng.standard_normal(5000) * 10.0 ** rng.integers(-9, 6, 5000), [0.0, -0.0, np.inf]])
    for kind, given in ((TensorProto.FLOAT, np.float32), (TensorProto.DOUBLE, np.float64)):
        x = exact.astype(given)
        nodes = [helper.make_node("Cast", ["x"], [name], to=to, saturate=0) for name, (to, _) in _FLOATS.items()]
        outputs = [tensor(name, x.shape, to) for name, (to, _) in _FLOATS.items()]
        results = execute(model(nodes, [tensor("x", x.shape, kind)], outputs, opset=25), {"x": x})
        for result, (_, dtype) in zip(results, _FLOATS.values(), strict=True):
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(result.view(np.uint8), x.astype(dtype).view(np.uint8))


def test_they_move_as_bytes() -> None:
    codes = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 16
    x = codes.view(ml_dtypes.int4)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
        helper.make_node("Reshape", ["t", "shape"], ["y"]),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
    ]
    proto = model(
        nodes,
        [tensor("x", x.shape, TensorProto.INT4)],
        [tensor("y", None, TensorProto.INT4), tensor("z", None)],
        {"shape": np.asarray([4, 6])},
        opset=25,
    )

    y, z = execute(proto, {"x": x})

    expected = x.transpose(2, 0, 1).reshape(4, 6)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(z, expected.astype(np.float32))
