"""fold_scale: attention's scale disappears into the projections."""

from __future__ import annotations

from typing import Any

import numpy as np
from relax_models import assert_same_numbers, build, op, operators, weights
from tilewright.ir_passes import FoldScale
from tilewright.ir_passes.core.constants import constant
from tvm import relax

_X = {"x": (1, 6, 8)}


def _head(emit: Any, x: Any, axes: list[int], seed: int, bias: bool = True) -> Any:
    y = emit(op.matmul(x, weights(8, 8, seed=seed)))
    if bias:
        y = emit(op.add(y, weights(8, seed=seed)))
    return emit(op.permute_dims(emit(op.reshape(y, (1, 6, 2, 4))), axes))


def test_the_scale_of_scores_goes_into_the_query() -> None:
    def body(emit: Any, x: Any) -> Any:
        scores = emit(op.matmul(_head(emit, x, [0, 2, 1, 3], 1), _head(emit, x, [0, 2, 3, 1], 2)))
        return emit(op.nn.softmax(emit(op.divide(scores, relax.const(2.0, "float32"))), -1))

    module = build(_X, body)
    after = FoldScale()(module).module
    assert "divide" not in operators(after) and "multiply" not in operators(after)
    assert_same_numbers(module, after)


def test_scales_on_both_sides() -> None:
    def body(emit: Any, x: Any) -> Any:
        root = relax.const(0.7071, "float32")
        q = emit(op.multiply(_head(emit, x, [0, 2, 1, 3], 1), root))
        k = emit(op.multiply(_head(emit, x, [0, 2, 3, 1], 2, bias=False), root))
        return emit(op.matmul(q, k))

    module = build(_X, body)
    after = FoldScale()(module).module
    assert "multiply" not in operators(after)
    assert_same_numbers(module, after)


def test_a_projection_that_others_read_keeps_its_scale() -> None:
    def body(emit: Any, x: Any) -> Any:
        q = emit(op.matmul(x, weights(8, 8)))
        return emit(op.multiply(q, relax.const(0.5, "float32"))), q

    assert not FoldScale()(build(_X, body)).modified


def test_tensors_that_are_kept_keep_their_scale() -> None:
    def body(emit: Any, x: Any) -> Any:
        q = emit(op.add(emit(op.matmul(x, weights(8, 8)), "q"), weights(8)), "q")
        k = emit(op.permute_dims(emit(op.matmul(x, weights(8, 8, seed=1)), "k"), (0, 2, 1)), "turned")
        scores = emit(op.matmul(q, k), "scores")
        return emit(op.multiply(scores, relax.const(0.5, "float32")), "scale")

    module = build(_X, body)
    assert not FoldScale(frozenset({"q", "k", "turned"}))(module).modified
    # What a name is gone from may change: the scale goes into the keys.
    after = FoldScale(frozenset({"q"}))(module).module
    assert "multiply" not in operators(after)
    assert_same_numbers(module, after)


def test_scores_of_inputs_keep_their_scale() -> None:
    def body(emit: Any, x: Any, y: Any) -> Any:
        return emit(op.multiply(emit(op.matmul(x, y)), relax.const(0.5, "float32")))

    assert not FoldScale()(build({"x": (4, 8), "y": (8, 4)}, body)).modified


def test_half_precision_is_not_scaled_before_a_sum_of_products() -> None:
    """The query times 1000 may leave the range that the scores times 1000 keep."""

    def body(emit: Any, x: Any, y: Any) -> Any:
        query = emit(op.matmul(x, weights(8, 8, dtype="float16")))
        return emit(op.multiply(emit(op.matmul(query, y)), relax.const(1000.0, "float16")))

    assert not FoldScale()(build({"x": ((4, 8), "float16"), "y": ((8, 4), "float16")}, body)).modified


def test_weights_that_would_leave_their_range_keep_the_scale_outside() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.matmul(x, constant(np.full((8, 8), 200, np.float16))))
        return emit(op.multiply(emit(op.reshape(y, (8, 4))), relax.const(1000.0, "float16")))

    assert not FoldScale()(build({"x": ((4, 8), "float16")}, body)).modified
