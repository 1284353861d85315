"""share_heads: repeated heads of keys and values are read where they are."""

from __future__ import annotations

from typing import Any

import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, op
from tilewright.ir_passes import Canonicalize, FuseAttention, ShareHeads
from tilewright.ir_passes.dialect.attention import attention

Q, K, V = (2, 6, 5, 8), (2, 2, 7, 8), (2, 2, 7, 4)  # (batch, heads, tokens, depth)
INPUTS = {"q": Q, "k": K, "v": V}
INSIDE = (0, 2, 1, 3)


def attended(emit: Any, q: Any, k: Any, v: Any) -> Any:
    scores = emit(op.matmul(q, emit(op.permute_dims(k, (0, 1, 3, 2)))))
    return emit(op.matmul(emit(op.nn.softmax(scores, -1)), v))


def repeated(emit: Any, q: Any, k: Any, v: Any) -> Any:
    return attended(emit, q, emit(op.repeat(k, 3, 1)), emit(op.repeat(v, 3, 1)))


def test_repeated_heads_are_shared() -> None:
    fused = Canonicalize()(FuseAttention()(build(INPUTS, repeated)).module).module

    result = ShareHeads()(fused)

    assert result.modified
    assert "repeat" not in result.module.script()
    assert_same_numbers(fused, result.module, tolerance=1e-6)


def test_direct() -> None:
    def before(emit: Any, q: Any, k: Any, v: Any) -> Any:
        moved = [emit(op.permute_dims(emit(op.repeat(each, 3, 1)), INSIDE)) for each in (k, v)]
        return emit(attention([emit(op.permute_dims(q, INSIDE)), *moved], scale=0.5, nan_is_zero=False))

    def after(emit: Any, q: Any, k: Any, v: Any) -> Any:
        own = emit(op.permute_dims(q, INSIDE))
        moved = [emit(op.permute_dims(each, INSIDE)) for each in (k, v)]
        return emit(attention([own, *moved], scale=0.5, nan_is_zero=False))

    assert_same_ir(ShareHeads()(build(INPUTS, before)).module, build(INPUTS, after))


@pytest.mark.parametrize("only", ["k", "v"])
def test_both_have_to_be_repeated(only: str) -> None:
    def one(emit: Any, q: Any, k: Any, v: Any) -> Any:
        k, v = (emit(op.repeat(each, 3, 1)) if name == only else each for name, each in (("k", k), ("v", v)))
        return attended(emit, q, k, v)

    whole = {"q": Q, "k": K if only == "k" else (2, 6, 7, 8), "v": V if only == "v" else (2, 6, 7, 4)}
    assert not ShareHeads()(Canonicalize()(FuseAttention()(build(whole, one)).module).module).modified
