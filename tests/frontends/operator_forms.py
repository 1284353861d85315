"""Every form that an operator has had since opset 7, as small models, with what ONNX Runtime makes of each.

Most come from ONNX's own node tests, which are of the newest forms, put back into older ones as far as those allow it.
Forms that took as attributes what is an input today, and uses that ONNX's tests leave out, are written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from batches import Array, Part
from onnx import helper
from onnx_cases import all_cases
from onnx_runtime import reference_outputs
from record import passing
from tilewright.frontends.onnx.registry import registered_operators

_OLDEST = 7  # ONNX Runtime knows none before
_CASES_A_FORM = 2
# ONNX Runtime does not give what ONNX's test expects.
_DISPUTED = frozenset({"maxunpool_export_with_output_shape"})
_RNG = np.random.default_rng(7)
_X = _RNG.standard_normal((2, 4, 5, 6)).astype(np.float32)
_ROW = _X[0, 0, 0]

Form = tuple[str, tuple[int, ...], tuple[Array | None, ...], int, dict[str, Any]]


def operator_forms() -> dict[str, list[int]]:
    """The versions of each operator with a converter that are in effect at some opset from 7 on."""
    supported = {entry.op_type for entry in registered_operators() if not entry.domain}
    versions: dict[str, set[int]] = {name: set() for name in supported}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain and schema.name in versions and not schema.deprecated:
            versions[schema.name].add(schema.since_version)
    forms = {}
    for name, known in versions.items():
        oldest = max((version for version in known if version <= _OLDEST), default=0)
        forms[name] = sorted(version for version in known if version >= oldest)
    return forms


def _floats(*shape: int) -> Array:
    return _RNG.standard_normal(shape).astype(np.float32)


def _ints(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _written() -> Iterator[Form]:
    def form(op_type: str, opsets: tuple[int, ...], *inputs: Array | None, outputs: int = 1, **attributes: Any) -> Form:
        given = tuple(None if value is None else np.asarray(value) for value in inputs)
        return op_type, opsets, given, outputs, attributes

    channels = [_floats(4), _floats(4), _floats(4), np.abs(_floats(4)) + np.float32(0.5)]
    yield form("BatchNormalization", (7, 8, 9, 12, 13, 14, 15), _X, *channels, epsilon=1e-3)
    for axis in (0, 1, 2, -1):
        for op_type in ("Softmax", "LogSoftmax", "Hardmax"):
            yield form(op_type, (8, 11, 12, 13), _X, axis=axis)
        yield form("LpNormalization", (8,), _X, axis=axis, p=1)
        yield form("ArgMax", (8, 11, 12, 13), _X, axis=axis, keepdims=0)
        yield form("Concat", (8, 11, 13), _X, _X, axis=axis)
        yield form("Gather", (8, 11, 13), _X, _ints(0, -1), axis=axis)
    for axis in (0, 1, 3):
        yield form("Flatten", (8, 9, 11, 13), _X, axis=axis)
    yield form("Clip", (7, 10), _X, min=-0.5, max=0.5)
    yield form("Clip", (7,), _X, max=0.5)
    pads = [0, 0, 1, 2, 0, 0, 0, 1]
    yield form("Pad", (7, 10), _X, pads=pads, value=1.5)
    yield form("Pad", (7,), _X, pads=pads, mode="reflect")
    yield form("Slice", (7, 9), _X, starts=[1, -2], ends=[100, -1], axes=[2, 3])
    yield form("Slice", (10, 11, 13), _X, _ints(1, -2), _ints(100, -1), _ints(2, 3))
    yield form("Squeeze", (7, 11), _X[:1, :1], axes=[0, 1])
    yield form("Squeeze", (11, 13), _X[:1, :1])
    yield form("Unsqueeze", (7, 11), _X, axes=[0, 3])
    yield form("Unsqueeze", (11,), _X, axes=[-1])
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"):
        x = np.abs(_X) if kind == "LogSum" else _X
        yield form(f"Reduce{kind}", (7, 11, 12) if kind == "Sum" else (7, 11, 13), x, axes=[1, 3], keepdims=0)
        yield form(f"Reduce{kind}", (11,), x, keepdims=0)
    yield form("TopK", (7, 9), _X, outputs=2, axis=1, k=2)
    yield form("TopK", (10, 11), _X, _ints(2), outputs=2, axis=1)
    yield form("Upsample", (7,), _X, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest")
    yield form("Upsample", (9,), _X, np.array([1, 1, 1.5, 2.5], np.float32), mode="linear")
    yield form("Dropout", (7, 9, 10, 11), _X, ratio=0.5)
    windows = {"kernel_shape": [3, 2], "strides": [2, 2]}
    for op_type, opsets in (("AveragePool", (7, 10, 11, 19)), ("MaxPool", (7, 8, 10, 12))):
        yield form(op_type, opsets, _X, pads=[1, 0, 1, 1], **windows)
        yield form(op_type, opsets, _X, auto_pad="SAME_LOWER", **windows)
        yield form(op_type, opsets, _X, auto_pad="SAME_UPPER", **windows)
        yield form(op_type, opsets[2:], _X, ceil_mode=1, **windows)
    yield form("MaxPool", (10, 12), _X, dilations=[1, 2], **windows)
    yield form("LpPool", (7, 11), _X, p=3, **windows)
    yield form("GlobalLpPool", (7,), _X, p=3)
    kernel = _floats(3, 4, 3, 3)
    yield form("Conv", (7, 11, 13), _X, kernel, _floats(3), pads=[1, 0, 1, 2], strides=[2, 1], dilations=[1, 2])
    yield form("Conv", (11,), _X, _floats(4, 2, 3, 3), group=2, auto_pad="SAME_LOWER", strides=[2, 2])
    spread = _floats(4, 3, 3, 3)
    yield form("ConvTranspose", (7, 11), _X, spread, _floats(3), strides=[2, 2], output_padding=[1, 0])
    yield form("ConvTranspose", (11,), _X, _floats(4, 2, 3, 3), group=2, strides=[2, 2], auto_pad="SAME_UPPER")
    yield form("ConvTranspose", (11,), _X, spread, strides=[2, 2], output_shape=[10, 13])
    yield form("ConvTranspose", (11,), _X, spread, dilations=[2, 2])
    yield form("InstanceNormalization", (7, 13), _X, _floats(4), _floats(4))
    yield form("LRN", (7, 13), _X, size=3)
    yield form("LayerNormalization", (17,), _X, _floats(5, 6), _floats(5, 6), axis=2)
    yield form("GroupNormalization", (21,), _X, _floats(4), _floats(4), num_groups=2)
    yield form("Gemm", (7, 9, 11, 13), _floats(3, 4), _floats(5, 4), _floats(5), transB=1, alpha=0.5, beta=2.0)
    yield form("MatMul", (7, 13), _X, _floats(6, 3))
    scales = np.array([1, 1, 1.5, 0.5], np.float32)
    nothing = np.zeros(0, np.float32)
    for mode in ("nearest", "linear"):
        yield form("Resize", (10,), _X, scales, mode=mode)
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            how = {"mode": mode, "coordinate_transformation_mode": coordinates}
            yield form("Resize", (11,), _X, nothing, nothing, _ints(2, 4, 8, 3), **how)
            yield form("Resize", (13,), _X, None, None, _ints(2, 4, 8, 3), **how)
            yield form("Resize", (11, 13), _X, nothing, np.array([1, 1, 2, 0.5], np.float32), **how)
    yield form("DepthToSpace", (7, 11), _X, blocksize=2)
    yield form("DepthToSpace", (11,), _X, blocksize=2, mode="CRD")
    yield form("SpaceToDepth", (7, 13), _X[..., :4, :], blocksize=2)
    yield form("Split", (7, 11), _X, outputs=2, axis=1, split=[1, 3])
    yield form("Split", (7, 11), _X, outputs=2, axis=1)
    yield form("Tile", (7, 13), _X, _ints(1, 2, 1, 2))
    yield form("OneHot", (9, 11), _ints(0, 2), _ints(4), np.array([1, 5], np.float32), axis=0)
    yield form("CumSum", (11, 14), _X, _ints(1).reshape(()), exclusive=1, reverse=1)
    places = np.zeros((2, 1, 5, 6), np.int64)
    yield form("Scatter", (9,), _X, places, _floats(2, 1, 5, 6), axis=1)
    yield form("ScatterElements", (11, 13, 16), _X, places, _floats(2, 1, 5, 6), axis=1)
    yield form("ScatterND", (11, 13), _X, _ints(1).reshape(1, 1), _floats(1, 4, 5, 6))
    yield form("GatherND", (11, 12), _X, _ints(1, 2).reshape(1, 2))
    yield form("Mod", (10, 13), _X, np.array([1.5], np.float32), fmod=1)
    yield form("Mod", (10, 13), _ints(7, -7, 7, -7), _ints(3, 3, -3, -3))
    yield form("Div", (7, 13, 14), _ints(7, -7, 7, -7), _ints(3, 3, -3, -3))
    yield form("Pow", (12, 13, 15), np.array([-2.0, 3.0], np.float32), _ints(3, -2))
    yield form("Cast", (7, 9, 13), _X * 3, to=onnx.TensorProto.INT32)
    yield form("Round", (11,), np.array([-1.5, -0.5, 0.5, 1.5, 2.5], np.float32))
    yield form("Compress", (9, 11), _X, np.array([1, 0, 1, 1], bool), axis=1)
    yield form("Compress", (9, 11), _X, np.array([1, 0, 1, 1], bool))
    yield form("NonZero", (9, 13), np.maximum(_X, 0))
    yield form("Unique", (11,), np.array([3, 1, 2, 3, 1], np.float32), outputs=4)
    yield form("Unique", (11,), np.array([3, 1, 2, 3, 1], np.float32), outputs=4, sorted=0)
    yield form("Unique", (11,), np.array([[2, 1, 2], [0, 1, 0]], np.int64), outputs=4, axis=1)
    extremes = np.array([[-1e20, -1.25, 0.35], [0.25, 12.75, 1e20]], np.float32)
    for zero in (np.uint8(128), np.int8(-3)):
        yield form("QuantizeLinear", (10, 13, 19, 21, 23), extremes, np.float32(0.1), np.asarray(zero))
    weights = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    yield form("DequantizeLinear", (10, 13, 19, 21, 23), weights, np.float32(0.1), np.asarray(np.int8(3)))
    for axis, count in ((0, 4), (1, 3), (-2, 4)):
        each = np.arange(1, count + 1, dtype=np.float32) / 10
        yield form("DequantizeLinear", (13, 19, 21), weights, each, np.arange(count).astype(np.int8), axis=axis)
        yield form("QuantizeLinear", (13, 19, 21), _floats(4, 3), each, np.arange(count).astype(np.int8), axis=axis)
    yield form("DequantizeLinear", (21,), weights, _floats(2, 3), axis=0, block_size=2)
    sizes = [np.asarray(size) for size in (_ints(4)[0], _ints(16)[0], _ints(8000)[0], np.float32(0), np.float32(4000))]
    yield form("MelWeightMatrix", (17,), *sizes)


def written_parts() -> Iterator[tuple[str, int, Part]]:
    """Operator, version of its form and model, of those that are written above."""
    for op_type, opsets, inputs, outputs, attributes in _written():
        for opset in opsets:
            given = {f"i{index}": value for index, value in enumerate(inputs) if value is not None}
            names = [f"o{index}" for index in range(outputs)]
            places = ["" if value is None else f"i{index}" for index, value in enumerate(inputs)]
            node = helper.make_node(op_type, places, names, **attributes)
            values = [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in given.items()
            ]
            results = [onnx.ValueInfoProto(name=name) for name in names]
            model = helper.make_model(
                helper.make_graph([node], "form", values, results),
                opset_imports=[helper.make_opsetid("", opset)],
                ir_version=10,
            )
            yield _part(op_type, model, given, opset, f"{op_type}-{opset} {attributes}")


def node_test_parts() -> Iterator[tuple[str, int, Part]]:
    """Operator, version of its form and model, of ONNX's node tests in every form that takes them."""
    forms = operator_forms()
    for op_type, versions in forms.items():
        cases = [
            case
            for case in all_cases().values()
            if case.op_type == op_type and not case.domain and case.key in passing() and not case.random
        ]
        for version in versions:
            found = 0
            for case in cases:
                if found == _CASES_A_FORM:
                    break
                if len(case.test.model.graph.node) > 1 or case.opset == version:  # the newest run as they are
                    continue
                if case.name in _DISPUTED:
                    continue
                model = onnx.ModelProto()
                model.CopyFrom(case.test.model)
                del model.opset_import[:]
                opset = max(version, _OLDEST)
                model.opset_import.append(helper.make_opsetid("", opset))
                model.ir_version = 10
                values = case.data_sets[0][0]
                given = dict(zip((value.name for value in model.graph.input), values, strict=False))
                try:
                    onnx.checker.check_model(model)
                    yield _part(op_type, model, given, opset, f"{op_type}-{opset} {case.name}")
                    found += 1
                except Exception:  # the form does not take this use, or ONNX Runtime lacks it
                    continue


def _part(
    op_type: str, model: onnx.ModelProto, given: dict[str, Array], opset: int, name: str
) -> tuple[str, int, Part]:
    expected = reference_outputs(model, given)
    version = onnx.defs.get_schema(op_type, opset).since_version
    for value, array in zip(model.graph.output, expected, strict=True):
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    return op_type, version, Part(name, model, given, expected)
