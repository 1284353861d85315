"""fuse_attention, and the operator it makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, evaluate, op, operators, weights
from tilewright.ir_passes import Canonicalize, FuseAttention
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.attention import attention
from tvm import relax

Q, K, V = (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 6)  # (batch, heads, tokens, depth)
HEADS_INSIDE, KEYS_INSIDE = (0, 2, 1, 3), (0, 3, 1, 2)
INPUTS = {"q": Q, "k": K, "v": V, "mask": (2, 1, 5, 7)}


def scores(emit: Any, q: Any, k: Any, scale: Any = None, mask: Any = None, mask_first: bool = False) -> Any:
    product = emit(op.matmul(q, emit(op.permute_dims(k, (0, 1, 3, 2)))))
    if scale is not None:
        product = emit(scale(product))
    if mask is None:
        return product
    return emit(op.add(mask, product) if mask_first else op.add(product, mask))


def fused(emit: Any, q: Any, k: Any, v: Any, *mask: Any, scale: float = 1.0, nan_is_zero: bool = False) -> Any:
    transposed = emit(op.permute_dims(k, (0, 1, 3, 2)))
    operands = [
        emit(op.permute_dims(q, HEADS_INSIDE)),
        emit(op.permute_dims(transposed, KEYS_INSIDE)),
        emit(op.permute_dims(v, HEADS_INSIDE)),
        *mask,
    ]
    return emit(op.permute_dims(emit(attention(operands, scale=scale, nan_is_zero=nan_is_zero)), HEADS_INSIDE))


@pytest.mark.sweep(3)
@pytest.mark.parametrize("mask_first", [False, True])
@pytest.mark.parametrize(
    ("scale", "value"),
    [
        (None, 1.0),
        (lambda x: op.multiply(x, constant(np.float32(0.25))), 0.25),
        (lambda x: op.divide(x, constant(np.float32(8))), 0.125),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_scale_and_mask(scale: Any, value: float, masked: bool, mask_first: bool) -> None:
    def before(emit: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
        probabilities = emit(op.nn.softmax(scores(emit, q, k, scale, mask if masked else None, mask_first), -1))
        return emit(op.matmul(probabilities, v))

    module = build(INPUTS, before)
    after = FuseAttention()(module).module
    expected = build(INPUTS, lambda emit, q, k, v, mask: fused(emit, q, k, v, *([mask] if masked else []), scale=value))
    assert_same_ir(after, expected)
    assert_same_numbers(module, after, tolerance=2e-6)


def test_rows_that_are_masked_throughout() -> None:
    """Probabilities that are NaN count as 0, as exporters write `scaled_dot_product_attention`."""

    def before(emit: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
        p = emit(op.nn.softmax(scores(emit, q, k, None, mask), -1))
        p = emit(op.where(emit(op.isnan(p)), constant(np.float32(0)), p))
        return emit(op.matmul(p, v))

    module = build(INPUTS, before)
    after = FuseAttention()(module).module
    assert_same_ir(after, build(INPUTS, lambda emit, q, k, v, mask: fused(emit, q, k, v, mask, nan_is_zero=True)))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape).astype("float32") for shape in INPUTS.values()]
    inputs[3][0, 0, 2] = -np.inf
    (want,), (got,) = evaluate(module, inputs), evaluate(after, inputs)
    assert (want[0, :, 2] == 0).all() and np.abs(want).max() > 0.5
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_rows_without_a_key_are_zeros() -> None:
    """The definition of ONNX's Attention finds them by their masks."""

    def before(emit: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
        p = emit(op.nn.softmax(scores(emit, q, k, None, mask), -1))
        empty = emit(op.less(emit(op.max(mask, -1, True)), constant(np.float32(-1e30))))
        return emit(op.matmul(emit(op.where(empty, constant(np.float32(0)), p)), v))

    module = build(INPUTS, before)
    after = FuseAttention()(module).module
    assert {"tilewright.attention", "where", "max"} < set(operators(after)) and "matmul" not in operators(after)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape).astype("float32") for shape in INPUTS.values()]
    inputs[3][0, 0, 2] = -np.inf
    (want,), (got,) = evaluate(module, inputs), evaluate(after, inputs)
    assert (want[0, :, 2] == 0).all() and np.abs(want).max() > 0.5
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_transposes_of_the_model_go() -> None:
    """Queries, keys and values that were (batch, tokens, heads, depth) are read as they are."""

    def body(emit: Any, q: Any, k: Any, v: Any) -> Any:
        q, k, v = (emit(op.permute_dims(each, HEADS_INSIDE)) for each in (q, k, v))
        # As exported: heads and batch become one axis, and two again.
        merged = emit(op.reshape(k, (6, 7, 8)))
        split = emit(op.reshape(emit(op.permute_dims(merged, (0, 2, 1))), (2, 3, 8, 7)))
        probabilities = emit(op.nn.softmax(emit(op.matmul(q, split)), -1))
        return emit(op.permute_dims(emit(op.matmul(probabilities, v)), HEADS_INSIDE))

    module = build({"q": (2, 5, 3, 8), "k": (2, 7, 3, 8), "v": (2, 7, 3, 6)}, body)
    after = Canonicalize()(FuseAttention()(Canonicalize()(module).module).module).module
    assert operators(after) == ["tilewright.attention"]
    assert_same_numbers(module, after, tolerance=2e-6)


@pytest.mark.parametrize("which", ["softmax along another axis", "scores are read", "groups share keys", "float64"])
def test_what_stays(which: str) -> None:
    heads = {"q": Q, "k": (2, 1, 7, 8) if which == "groups share keys" else K, "v": V}
    dtype = "float64" if which == "float64" else "float32"

    def body(emit: Any, q: Any, k: Any, v: Any) -> Any:
        product = scores(emit, q, k)
        axis = 1 if which == "softmax along another axis" else -1
        result = emit(op.matmul(emit(op.nn.softmax(product, axis)), v))
        return (result, product) if which == "scores are read" else result

    module = build({name: (shape, dtype) for name, shape in heads.items()}, body)
    assert not FuseAttention()(module).modified


def _projected(emit: Any, x: Any, seed: int, tokens: int, batch: int = 4) -> Any:
    """(batch, tokens, 24) by weights, as (batch, 3 heads, tokens, 8)."""
    heads = emit(op.reshape(emit(op.matmul(x, weights(24, 24, seed=seed))), (batch, tokens, 3, 8)))
    return emit(op.permute_dims(heads, HEADS_INSIDE))


def _attend(emit: Any, scores_of: Any, x: Any, batch: int = 4, tokens: int = 6) -> Any:
    q, k, v = (_projected(emit, x, seed, tokens, batch) for seed in range(3))
    probabilities = emit(op.nn.softmax(scores_of(emit, q, emit(op.permute_dims(k, (0, 1, 3, 2)))), -1))
    return emit(op.reshape(emit(op.permute_dims(emit(op.matmul(probabilities, v)), HEADS_INSIDE)), (batch, tokens, 24)))


def _plus(emit: Any, x: Any, *shape: int, seed: int = 7) -> Any:
    return emit(op.add(x, weights(*shape, seed=seed)))


def _windows(emit: Any, q: Any, k: Any) -> Any:
    """A bias of positions, and a mask of windows in images of two windows, as in Swin."""
    product = _plus(emit, emit(op.matmul(q, k)), 3, 6, 6)
    images = _plus(emit, emit(op.reshape(product, (2, 2, 3, 6, 6))), 1, 2, 1, 6, 6, seed=8)
    return emit(op.reshape(images, (4, 3, 6, 6)))


def _padded_windows(emit: Any, q: Any, k: Any) -> Any:
    """A mask of images, the same for all of their windows."""
    images = _plus(emit, emit(op.reshape(emit(op.matmul(q, k)), (2, 2, 3, 6, 6))), 2, 1, 1, 1, 6)
    return emit(op.reshape(images, (4, 3, 6, 6)))


def _relative_shift(emit: Any, q: Any, k: Any) -> Any:
    """A second product, shifted, and one scale for the sum of both, as in Conformer."""
    far = emit(op.matmul(emit(op.add(q, weights(3, 1, 8))), weights(3, 8, 12)))
    near = emit(op.strided_slice(far, [3], [3], [9]))
    return emit(op.multiply(emit(op.add(emit(op.matmul(q, k)), near)), _c(0.3)))


def _c(value: float) -> Any:
    return constant(np.float32(value))


_SCORES = {
    "T5: a bias, no scale": lambda e, q, k: _plus(e, e(op.matmul(q, k)), 1, 3, 6, 6),
    "LeViT: a scale, then a bias": lambda e, q, k: _plus(e, e(op.multiply(e(op.matmul(q, k)), _c(0.25))), 3, 6, 6),
    "a scale after the mask": lambda e, q, k: e(op.divide(_plus(e, e(op.matmul(q, k)), 6, 6), _c(4))),
    "a mask taken off": lambda e, q, k: e(op.subtract(e(op.matmul(q, k)), weights(4, 1, 1, 6))),
    "scales on q and on k": lambda e, q, k: e(op.matmul(e(op.multiply(q, _c(0.5))), e(op.multiply(k, _c(0.3))))),
    "a scale by head": lambda e, q, k: _plus(e, e(op.multiply(e(op.matmul(q, k)), weights(3, 1, 1))), 6, 6),
    "Swin: windows": _windows,
    "windows of padded images": _padded_windows,
    "Conformer: a relative shift": _relative_shift,
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("form", _SCORES)
def test_scores_in_every_form(form: str) -> None:
    module = build({"x": (4, 6, 24)}, lambda emit, x: _attend(emit, _SCORES[form], x))
    after = Canonicalize()(FuseAttention()(module).module).module
    assert "nn.softmax" not in operators(after) and operators(after).count("tilewright.attention") == 1
    assert_same_numbers(module, after, tolerance=2e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_heads_that_were_merged_with_the_batch(batch: int) -> None:
    """Products of rank 3, the mask added in rank 4, as in CLIP's text model."""

    def body(emit: Any, x: Any) -> Any:
        q, k, v = (emit(op.reshape(_projected(emit, x, seed, 6, batch), (batch * 3, 6, 8))) for seed in range(3))
        product = emit(op.matmul(q, emit(op.permute_dims(k, (0, 2, 1)))))
        masked = _plus(emit, emit(op.reshape(product, (batch, 3, 6, 6))), 1, 1, 6, 6)
        probabilities = emit(op.nn.softmax(emit(op.reshape(masked, (batch * 3, 6, 6))), -1))
        result = emit(op.reshape(emit(op.matmul(probabilities, v)), (batch, 3, 6, 8)))
        return emit(op.reshape(emit(op.permute_dims(result, HEADS_INSIDE)), (batch, 6, 24)))

    module = build({"x": (batch, 6, 24)}, body)
    after = Canonicalize()(FuseAttention()(Canonicalize()(module).module).module).module
    assert "permute_dims" not in operators(after) and "tilewright.attention" in operators(after)
    assert_same_numbers(module, after, tolerance=2e-6)


def test_products_of_rank_3_without_heads() -> None:
    def body(emit: Any, q: Any, k: Any, v: Any) -> Any:
        return emit(op.matmul(emit(op.nn.softmax(_plus(emit, emit(op.matmul(q, k)), 5, 7), -1)), v))

    module = build({"q": (3, 5, 8), "k": (3, 8, 7), "v": (3, 7, 6)}, body)
    after = FuseAttention()(module).module
    assert "tilewright.attention" in operators(after)
    assert_same_numbers(module, after, tolerance=2e-6)


def test_five_axes() -> None:
    def body(emit: Any, q: Any, k: Any, v: Any) -> Any:
        product = _plus(emit, emit(op.matmul(q, emit(op.permute_dims(k, (0, 1, 2, 4, 3))))), 3, 1, 5, 7)
        return emit(op.matmul(emit(op.nn.softmax(product, -1)), v))

    module = build({"q": (2, 3, 4, 5, 8), "k": (2, 3, 4, 7, 8), "v": (2, 3, 4, 7, 6)}, body)
    after = FuseAttention()(module).module
    assert "tilewright.attention" in operators(after)
    assert_same_numbers(module, after, tolerance=2e-6)


def test_the_operator_has_a_type_and_a_definition() -> None:
    module = build(
        {"q": (2, 5, 3, 8), "k": (2, 7, 3, 8), "v": (2, 7, 3, 6)},
        lambda emit, q, k, v: emit(attention([q, k, v], scale=0.5, nan_is_zero=False)),
    )
    assert [int(extent) for extent in module["main"].ret_ty.fields[0].shape] == [2, 5, 3, 6]
    assert relax.analysis.well_formed(module) is None
