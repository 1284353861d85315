"""fold_constants: what numpy computes is what TVM would have computed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, op, operators, weights
from tilewright.ir_passes import FoldConstants
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize
from tvm import relax

_W = weights(3, 4)
_I = constant(np.array([[5, -7, 9, 2]] * 3, np.int32))
_POSITIVE = constant(np.abs(np.random.default_rng(0).standard_normal((3, 4))).astype(np.float32) + 0.1)

_CASES: dict[str, Callable[..., Any]] = {
    "permute_dims": lambda emit: emit(op.permute_dims(emit(op.permute_dims(_W, [1, 0])), [1, 0])),
    "slice": lambda emit: emit(op.strided_slice(_W, [0, 1], [0, 1], [3, 4], [1, 2])),
    "slice from the end": lambda emit: emit(op.strided_slice(_W, [1], [-1], [-5], [-1])),
    "concat": lambda emit: emit(op.concat([_W, _POSITIVE], 1)),
    "take": lambda emit: emit(op.take(_W, constant(np.array([2, 0, 0], np.int64)), 0)),
    "split": lambda emit: emit(relax.TupleGetItem(emit(op.split(_W, 2, 1)), 1)),
    "tile": lambda emit: emit(op.tile(_W, (2, 1))),
    "repeat": lambda emit: emit(op.repeat(_W, 2, 1)),
    "mean": lambda emit: emit(op.mean(_W, [1], True)),
    "matmul": lambda emit: emit(op.matmul(_W, emit(op.permute_dims(_W, [1, 0])))),
    "divide": lambda emit: emit(op.divide(_W, _POSITIVE)),
    "where": lambda emit: emit(op.where(emit(op.greater(_W, _POSITIVE)), _W, _POSITIVE)),
    "sigmoid": lambda emit: emit(op.sigmoid(_W)),
    "rsqrt": lambda emit: emit(op.rsqrt(_POSITIVE)),
    "cast": lambda emit: emit(op.astype(_I, "float32")),
    "broadcast": lambda emit: emit(op.broadcast_to(_W, (2, 3, 4))),
    "full": lambda emit: emit(op.add(emit(op.full((3, 4), relax.const(2.5, "float32"))), _W)),
}


@pytest.mark.parametrize("body", _CASES.values(), ids=_CASES.keys())
def test_values(body: Callable[..., Any]) -> None:
    def model(emit: Any, x: Any) -> Any:
        return emit(op.multiply(x, body(emit)))

    shape = tuple(int(d) for d in build({}, lambda emit: body(emit))["main"].ret_ty.fields[0].shape.values)
    module = build({"x": shape}, model)
    after = FoldConstants()(module).module
    assert operators(after) == ["multiply"]
    assert_same_numbers(module, after, tolerance=1e-6)


def test_integers_are_divided_towards_zero() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.add(x, emit(op.divide(_I, constant(np.array([3, 3, -4, -3], np.int32))))))

    module = build({"x": ((3, 4), "int32")}, body)
    assert_same_numbers(module, FoldConstants()(module).module, tolerance=0)


def test_what_has_no_row_is_computed_by_its_kernel() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.multiply(x, emit(op.nn.softmax(_W, 1))))

    assert not FoldConstants()(build({"x": (3, 4)}, body)).modified


def test_what_onnx_leaves_open_is_computed_by_its_kernel() -> None:
    far = constant(np.array([1e10, -2.0, np.nan, 3.0], np.float32))

    def body(emit: Any, x: Any) -> Any:
        return emit(op.add(x, emit(op.astype(far, "int32"))))

    assert not FoldConstants()(build({"x": ((3, 4), "int32")}, body)).modified


def test_results_do_not_outgrow_their_operands() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.add(x, emit(op.broadcast_to(weights(1024), (256, 1024)))))

    assert not FoldConstants()(build({"x": (256, 1024)}, body)).modified


def test_equal_calls_share_one_constant() -> None:
    big = weights(256, 128)

    def body(emit: Any, x: Any) -> Any:
        turned = [emit(op.permute_dims(big, [1, 0])) for _ in range(2)]
        return [emit(op.add(x, each)) for each in turned]

    after = FoldConstants()(build({"x": (128, 256)}, body)).module
    first, second = (binding.value.args[1] for binding in after["main"].body.blocks[0].bindings[:2])
    assert first.same_as(second)


def test_large_weights_fold_quickly() -> None:
    big = weights(4096, 4096)
    module = build({"x": (1, 4096)}, lambda emit, x: emit(op.matmul(x, emit(op.permute_dims(big, [1, 0])))))
    start = time.perf_counter()
    FoldConstants()(module)
    assert time.perf_counter() - start < 5  # 64 MB; a slow machine takes 0.5 s


def test_dequantized_weights_stay_where_activations_are_dequantized() -> None:
    w, scale = np.arange(-12, 12, dtype="int8").reshape(6, 4), np.float32(0.5)
    parameters = constant(np.asarray(scale)), constant(np.asarray(2, "int32"))
    weights = dequantize(constant(w), *parameters)
    folded = constant((w.astype("float32") - 2) * scale)
    keep = FoldConstants(keep_quantized=True)

    before = build({"x": (3, 6)}, lambda emit, x: emit(op.matmul(x, emit(weights))))
    assert_same_ir(keep(before).module, build({"x": (3, 6)}, lambda emit, x: emit(op.matmul(x, folded))))

    def quantized(right: Any) -> Any:
        def body(emit: Any, q: Any) -> Any:
            return emit(op.matmul(emit(dequantize(q, *parameters)), right(emit)))

        return build({"q": ((3, 6), "uint8")}, body)

    pair = quantized(lambda emit: emit(weights))
    assert not keep(pair).modified
    assert_same_ir(FoldConstants()(pair).module, quantized(lambda emit: folded))
