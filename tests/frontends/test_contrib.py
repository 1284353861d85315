"""Operators of com.microsoft, compared with ONNX Runtime, which defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from execution import execute
from onnx import helper
from onnx_runtime import reference_outputs
from tilewright.errors import UnsupportedError

_RNG = np.random.default_rng(5)
Array = np.ndarray[Any, Any]


def _floats(*shape: int) -> Array:
    return _RNG.standard_normal(shape).astype(np.float32)


def _ints(*values: Any) -> Array:
    return np.asarray(values, np.int32)


_WIDTH = _floats(2, 5, 24)
_ROWS, _BIAS = np.abs(_floats(24)) + 0.5, _floats(24)
_QKV = [_floats(2, 5, 24), _floats(2, 7, 24), _floats(2, 7, 24)]
_CACHE = [_floats(2, 3, 4, 8), _floats(2, 3, 4, 8)]
_ANGLES = _floats(16, 4)
_IMAGE = _floats(2, 3, 8, 9)
_PAIRS = (_floats(2, 4, 3), _floats(2, 4, 5))

# Operator, its inputs in order (None: left out), how many outputs, attributes.
_USES: dict[str, tuple[str, list[Array | None], int, dict[str, Any]]] = {
    "gelu": ("Gelu", [_WIDTH], 1, {}),
    "bias_gelu": ("BiasGelu", [_WIDTH, _BIAS], 1, {}),
    "fast_gelu": ("FastGelu", [_WIDTH, _BIAS], 1, {}),
    "quick_gelu": ("QuickGelu", [_WIDTH], 1, {"alpha": 1.5}),
    "matmul": ("FusedMatMul", [*_PAIRS], 1, {"transA": 1, "alpha": 0.5}),
    "matmul_both": ("FusedMatMul", [_PAIRS[0], _floats(2, 5, 4)], 1, {"transA": 1, "transB": 1}),
    "gemm": ("FusedGemm", [_floats(3, 4), _floats(4, 5), _floats(5)], 1, {"activation": "Relu"}),
    "conv": ("FusedConv", [_IMAGE, _floats(4, 3, 3, 3), _floats(4)], 1, {"activation": "Relu", "pads": [1, 1, 1, 1]}),
    "conv_sum": (
        "FusedConv",
        [_IMAGE, _floats(4, 3, 3, 3), _floats(4), _floats(2, 4, 6, 7)],
        1,
        {"activation": "LeakyRelu", "activation_params": [0.2]},
    ),
    "conv_clip": (
        "FusedConv",
        [_IMAGE, _floats(4, 3, 3, 3)],
        1,
        {"activation": "Clip", "activation_params": [-0.5, 1.0]},
    ),
    "skip": ("SkipLayerNormalization", [_WIDTH, _floats(2, 5, 24), _ROWS, _BIAS, _BIAS], 1, {"epsilon": 1e-5}),
    "skip_sum": ("SkipLayerNormalization", [_WIDTH, _floats(5, 24), _ROWS, _BIAS], 4, {}),
    "skip_rms": ("SkipSimplifiedLayerNormalization", [_WIDTH, _floats(2, 5, 24), _ROWS, _BIAS], 4, {"epsilon": 1e-5}),
    "embed": (
        "EmbedLayerNormalization",
        [
            _ints([1, 4, 3], [0, 2, 2]),
            _ints([0, 1, 1], [0, 0, 1]),
            _floats(6, 8),
            _floats(5, 8),
            _floats(2, 8),
            np.ones(8, np.float32),
            _floats(8),
            _ints([1, 1, 0], [1, 1, 1]),
        ],
        2,
        {"epsilon": 1e-5},
    ),
    "attention": ("Attention", [_WIDTH, _floats(24, 72) / 5, _floats(72)], 1, {"num_heads": 3}),
    "attention_lengths": (
        "Attention",
        [_WIDTH, _floats(24, 72) / 5, _floats(72), _ints(3, 5)],
        1,
        {"num_heads": 3, "unidirectional": 1},
    ),
    "attention_mask": (
        "Attention",
        [_WIDTH, _floats(24, 72) / 5, _floats(72), _ints([1, 1, 0, 1, 1], [1, 0, 0, 1, 1])],
        1,
        {"num_heads": 3},
    ),
    "attention_past": (
        "Attention",
        [_WIDTH, _floats(24, 72) / 5, _floats(72), None, _floats(2, 2, 3, 4, 8)],
        2,
        {"num_heads": 3, "unidirectional": 1},
    ),
    "heads": ("MultiHeadAttention", [*_QKV], 1, {"num_heads": 3}),
    "heads_bias": (
        "MultiHeadAttention",
        [*_QKV, _floats(72), _ints([1] * 7, [1, 1, 1, 1, 0, 0, 0]), _floats(2, 3, 5, 7)],
        1,
        {"num_heads": 3, "scale": 0.3},
    ),
    "heads_cache": (
        "MultiHeadAttention",
        [_WIDTH, _floats(2, 5, 24), _floats(2, 5, 24), None, None, None, *_CACHE],
        3,
        {"num_heads": 3, "unidirectional": 1},
    ),
    "rotary": ("RotaryEmbedding", [_WIDTH, np.arange(10).reshape(2, 5), _ANGLES, _floats(16, 4)], 1, {}),
    "rotary_from": (
        "RotaryEmbedding",
        [_floats(2, 3, 5, 8), np.asarray([4]), _ANGLES, _floats(16, 4)],
        1,
        {"interleaved": 1},
    ),
}


def _model(use: tuple[str, list[Array | None], int, dict[str, Any]]) -> tuple[onnx.ModelProto, dict[str, Array]]:
    op_type, inputs, outputs, attributes = use
    given = {f"i{index}": value for index, value in enumerate(inputs) if value is not None}
    names = ["" if value is None else f"i{index}" for index, value in enumerate(inputs)]
    wanted = {1: ["o0"], 2: ["o0", "o1"], 3: ["o0", "o1", "o2"], 4: ["o0", "", "", "o3"]}[outputs]
    node = helper.make_node(op_type, names, wanted, domain="com.microsoft", **attributes)
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    kinds = {"EmbedLayerNormalization": {"o1": onnx.TensorProto.INT32}}.get(op_type, {})
    results = [helper.make_tensor_value_info(name, kinds.get(name, 1), None) for name in wanted if name]
    graph = helper.make_graph([node], "contrib", values, results)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), given


def _check(use: tuple[str, list[Array | None], int, dict[str, Any]], bindings: tuple[str, ...] = ()) -> None:
    model, given = _model(use)
    for result, reference in zip(
        execute(model, given, bindings=bindings), reference_outputs(model, given), strict=True
    ):
        assert (result.shape, result.dtype) == (reference.shape, reference.dtype)
        np.testing.assert_allclose(result, reference, rtol=2e-4, atol=2e-5)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", _USES)
def test_agrees_with_onnx_runtime(name: str) -> None:
    _check(_USES[name])


@pytest.mark.parametrize("packed", [False, True])
def test_group_query_attention_of_a_prompt(packed: bool) -> None:
    q, k, v = _floats(2, 5, 64), _floats(2, 5, 32), _floats(2, 5, 32)
    tensors = [np.concatenate([q, k, v], 2), None, None] if packed else [q, k, v]
    rest = [None, None, _ints(4, 4), np.asarray(5, np.int32), _floats(16, 8), _floats(16, 8)]
    _check(("GroupQueryAttention", [*tensors, *rest], 3, {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1}), ("i6",))


def test_group_query_attention_of_one_more_token() -> None:
    tensors = [_floats(2, 1, 64), _floats(2, 1, 32), _floats(2, 1, 32), _floats(2, 2, 6, 16), _floats(2, 2, 6, 16)]
    rest = [_ints(6, 6), np.asarray(7, np.int32), _floats(16, 8), _floats(16, 8)]
    attributes = {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1, "local_window_size": 4}
    _check(("GroupQueryAttention", [*tensors, *rest], 3, attributes), ("i6",))


@pytest.mark.parametrize("length", [2, 9])
def test_which_of_other_keys_come_before_a_query_is_not_guessed(length: int) -> None:
    inputs: list[Array | None] = [_floats(2, length, 24), *_QKV[1:]]
    model, _ = _model(("MultiHeadAttention", inputs, 1, {"num_heads": 3, "unidirectional": 1}))
    with pytest.raises(UnsupportedError, match="unidirectional attention to another number of keys"):
        tilewright.compile(model, threads=1)
