"""integer_products of two activations: bit for bit the sums of numpy, and attention of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import build, evaluate, op, operators
from tilewright.ir_passes import IntegerProducts
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.attention import attention, has_integers, is_attention, is_of_sums
from tilewright.ir_passes.dialect.quantize import dequantize, quantize
from tilewright.ir_passes.dialect.quantized_arithmetic import dequantized, quantized
from tvm import relax

RNG = np.random.default_rng(0)
SA, SB = np.float32(0.03), np.float32(0.007)
LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}


def integers(dtype: str, *shape: int) -> np.ndarray[Any, Any]:
    low, high = LIMITS[dtype]
    return RNG.integers(low, high, shape, endpoint=True).astype(dtype)


def factor(emit: Any, q: Any, scale: np.float32, zero: int) -> Any:
    return emit(dequantize(q, constant(scale), relax.const(zero, "int32")))


def products(module: Any) -> list[tuple[str, ...]]:
    """The dtypes of operands and results of products."""
    return [
        tuple(str(each.ty.dtype) for each in (*value.args, value))
        for block in module["main"].body.blocks
        for value in (binding.value for binding in block.bindings)
        if getattr(getattr(value, "op", None), "name", "") == "relax.matmul"
    ]


@pytest.mark.parametrize("left", [("uint8", 0), ("uint8", 131), ("int8", -7)])
@pytest.mark.parametrize("right", [("int8", 0), ("int8", 3), ("uint8", 128), ("uint8", 255)])
def test_any_zero_points(left: tuple[str, int], right: tuple[str, int]) -> None:
    shapes = {"a": ((2, 3, 7, 20), left[0]), "b": ((3, 20, 9), right[0])}

    def body(emit: Any, a: Any, b: Any) -> Any:
        return emit(op.matmul(factor(emit, a, SA, left[1]), factor(emit, b, SB, right[1])))

    after = IntegerProducts()(build(shapes, body)).module
    a, b = integers(left[0], 2, 3, 7, 20), integers(right[0], 3, 20, 9)
    sums = np.matmul(a.astype("int32") - left[1], b.astype("int32") - right[1])

    assert products(after) == [("uint8", "int8", "int32")]
    assert operators(after).count("sum") == (left != ("uint8", 0)) + (right not in (("int8", 0), ("uint8", 128)))
    expected = dequantized(sums, SA * SB, np.zeros((), "int32"), "float32")
    np.testing.assert_array_equal(evaluate(after, [a, b])[0], expected)


def test_zero_points_that_are_not_known() -> None:
    shapes = {"a": ((5, 20), "uint8"), "z": ((), "int32"), "b": ((20, 9), "int8"), "y": ((1,), "int32")}

    def body(emit: Any, a: Any, z: Any, b: Any, y: Any) -> Any:
        wide = [emit(op.subtract(emit(op.astype(each, "int32")), zero)) for each, zero in ((a, z), (b, y))]
        return emit(op.matmul(*wide))

    after = IntegerProducts("int8")(build(shapes, body)).module
    a, b = integers("uint8", 5, 20), integers("int8", 20, 9)

    assert products(after) == [("int8", "int8", "int32")]
    inputs = [a, np.asarray(250, "int32"), b, np.asarray([-9], "int32")]
    np.testing.assert_array_equal(evaluate(after, inputs)[0], (a.astype("int32") - 250) @ (b.astype("int32") + 9))


def test_weights_that_need_nine_bits() -> None:
    w = integers("uint8", 20, 9)

    def body(emit: Any, a: Any) -> Any:
        return emit(op.matmul(factor(emit, a, SA, 0), emit(dequantize(constant(w), constant(SB), relax.const(3)))))

    after = IntegerProducts()(build({"a": ((5, 20), "uint8")}, body)).module
    a = integers("uint8", 5, 20)
    sums = a.astype("int32") @ (w.astype("int32") - 3)
    np.testing.assert_array_equal(evaluate(after, [a])[0], sums.astype("float32") * (SA * SB))


@pytest.mark.parametrize("depth", [33_025, 33_026])
def test_sums_that_could_be_beyond_int32_stay_floats(depth: int) -> None:
    shapes = {"a": ((1, depth), "uint8"), "b": ((depth, 2), "int8")}
    before = build(shapes, lambda emit, a, b: emit(op.matmul(factor(emit, a, SA, 0), factor(emit, b, SB, 0))))
    assert IntegerProducts()(before).modified == (255 * 255 * depth < 2**31)


def test_what_is_quantized_for_the_second_operand_alone_is_so_at_once() -> None:
    def body(emit: Any, a: Any, x: Any) -> Any:
        whole = emit(quantize(x, constant(SB), relax.const(130, "int32"), "uint8", 2, 255))
        turned = emit(op.permute_dims(whole, (1, 0)))
        return emit(op.matmul(factor(emit, a, SA, 0), factor(emit, turned, SB, 130)))

    after = IntegerProducts()(build({"a": ((5, 20), "uint8"), "x": (9, 20)}, body)).module
    a, x = integers("uint8", 5, 20), RNG.standard_normal((9, 20)).astype("float32")
    b = quantized(x, SB, np.asarray(2), "int8", -126, 127)

    assert "bitwise_xor" not in operators(after)
    sums = a.astype("int32") @ (b.astype("int32").T - 2)
    np.testing.assert_array_equal(evaluate(after, [a, x])[0], sums.astype("float32") * (SA * SB))


@pytest.mark.parametrize(
    ("zero", "gains", "heads"), [(0, True, 3), (131, True, 3), (131, False, 3), (131, True, 6), (0, True, 6)]
)
def test_attention(zero: int, gains: bool, heads: int) -> None:
    """Of keys and values with three heads, each for one or for several of the queries."""
    queries = (2, 7, heads, 20)
    shapes = {"q": (queries, "uint8"), "k": ((2, 9, 3, 20), "int8"), "v": (2, 9, 3, 5), "mask": (1, 1, 7, 9)}

    def body(emit: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
        operands = [factor(emit, q, SA, zero), factor(emit, k, SB, 0), v, mask]
        return emit(attention(operands, scale=0.25, nan_is_zero=False))

    before = build(shapes, body)
    asked = []
    found = IntegerProducts(attends=lambda call: asked.append(call) or gains)(before)

    assert found.modified == gains and [has_integers(each) for each in asked] == [True]
    if not gains:
        return
    bindings = [binding.value for block in found.module["main"].body.blocks for binding in block.bindings]
    made = next(each for each in bindings if is_attention(each))
    assert has_integers(made) and [is_of_sums(each) for each in made.args[3:]] == ([True] if zero else []) + [False]
    inputs = [integers("uint8", *queries), integers("int8", 2, 9, 3, 20)]
    inputs += [RNG.standard_normal(shape).astype("float32") for shape in ((2, 9, 3, 5), (1, 1, 7, 9))]
    expected, actual = evaluate(before, inputs)[0], evaluate(found.module, inputs)[0]
    np.testing.assert_allclose(actual, expected, atol=2e-6 * np.abs(expected).max())


def test_attention_to_keys_with_a_zero_point_stays() -> None:
    shapes = {"q": ((2, 7, 3, 20), "uint8"), "k": ((2, 9, 3, 20), "int8"), "v": (2, 9, 3, 5)}

    def body(emit: Any, q: Any, k: Any, v: Any) -> Any:
        return emit(attention([factor(emit, q, SA, 3), factor(emit, k, SB, 1), v], scale=0.25, nan_is_zero=False))

    assert not IntegerProducts(attends=lambda call: True)(build(shapes, body)).modified
