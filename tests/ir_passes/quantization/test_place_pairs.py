"""place_pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, build, evaluate, op, weights
from tilewright.ir_passes import FuseAttention, PlacePairs
from tilewright.ir_passes.core.constants import array_of, constant
from tilewright.ir_passes.core.sources import join
from tilewright.ir_passes.dialect.quantize import dequantize, quantize
from tilewright.ir_passes.quantization.pair_plan import Activation
from tilewright.ir_passes.quantization.weight_integers import WeightBits, weight_integers
from tilewright.ir_passes.quantization.worthwhile import Candidate, worthwhile
from tvm import relax

RNG = np.random.default_rng(0)
ZERO = relax.const(0, "int32")
BOTH = {"x": Activation(0.02, 3), "relu": Activation(0.03, -128)}


def pair(emit: Any, x: Any, name: str, scale: float, zero: int) -> Any:
    s, z = constant(np.float32(scale)), relax.const(zero, "int32")
    return emit(dequantize(emit(quantize(x, s, z, "int8"), name), s, z), name)


def quantized_weights(array: Any, column: int) -> tuple[Any, Any]:
    integers, scales = weight_integers(array_of(array), column, WeightBits())
    return dequantize(constant(integers), constant(scales.reshape(-1)), ZERO), scales.reshape(-1)


def dense(emit: Any, x: Any) -> Any:
    w, b, v = weights(16, 24), weights(24), weights(24, 8, seed=1)
    y = emit(op.nn.relu(emit(op.add(emit(op.matmul(x, w), "first"), b), "first")), "relu")
    return emit(op.matmul(y, v), "second")


def test_tensors_weights_and_biases_get_pairs() -> None:
    told: dict[str, str] = {}
    layers = {"first": WeightBits(), "second": WeightBits()}
    before = build({"x": (4, 16)}, dense)
    after = PlacePairs(BOTH, layers, tell=told.__setitem__)(before).module

    def body(emit: Any, x: Any) -> Any:
        w, b, v = weights(16, 24), array_of(weights(24)), weights(24, 8, seed=1)
        first, scales = quantized_weights(w, 1)
        second, _ = quantized_weights(v, 1)
        of_sums = np.float32(0.02) * scales
        bias = dequantize(constant(np.rint(b.astype("f8") / of_sums).astype("int32")), constant(of_sums), ZERO)
        sums = emit(op.matmul(pair(emit, x, "x", 0.02, 3), emit(first, "first")), "first")
        y = emit(op.nn.relu(emit(op.add(sums, emit(bias, "first")), "first")), "relu")
        return emit(op.matmul(pair(emit, y, "relu", 0.03, -128), emit(second, "second")), "second")

    assert_same_ir(after, build({"x": (4, 16)}, body))
    assert told == {"first": "", "second": ""}
    x = RNG.uniform(-2, 2, (4, 16)).astype("float32")
    exact, close = evaluate(before, [x])[0], evaluate(after, [x])[0]
    assert 0 < np.abs(close - exact).max() < 0.05 * np.abs(exact).max()


def test_nothing_without_entries() -> None:
    module = build({"x": (4, 16)}, dense)
    assert not PlacePairs()(module).modified
    assert not PlacePairs(BOTH, {})(module).modified
    assert not PlacePairs({}, {"first": WeightBits()})(module).modified


def test_a_tensor_that_saves_less_than_it_costs_stays_float() -> None:
    told: dict[str, str] = {}
    saved = {16: 10.0, 24: 100.0}  # by the extent of k
    found = PlacePairs(
        BOTH,
        {"first": WeightBits(), "second": WeightBits()},
        saved=lambda call: saved[int(call.args[0].ty.shape[-1])],
        cost=lambda tensor, readers: 50.0,
        tell=told.__setitem__,
    )(build({"x": (4, 16)}, dense))

    assert "cost 50" in told["first"] and told["second"] == ""
    assert found.module.script().count("tilewright.quantize") == 1


def test_outputs_of_the_model_stay_as_they_are() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(x), "relu")
        return y, emit(op.matmul(y, weights(16, 8)), "second")

    after = PlacePairs(BOTH, {"second": WeightBits()})(build({"x": (4, 16)}, body)).module
    x = RNG.uniform(-2, 2, (4, 16)).astype("float32")

    np.testing.assert_array_equal(evaluate(after, [x])[0], np.maximum(x, 0))


def test_outputs_that_a_tensor_is_moved_to_stay_as_they_are() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(x), "relu")
        turned = emit(op.permute_dims(y), "turned")
        flat = emit(op.reshape(turned, (64,)), "flat")
        return flat, emit(op.matmul(y, weights(16, 8)), "second"), emit(op.abs(turned), "magnitude")

    after = PlacePairs(BOTH, {"second": WeightBits()})(build({"x": (4, 16)}, body)).module
    x = RNG.uniform(-2, 2, (4, 16)).astype("float32")
    flat, _, magnitude = evaluate(after, [x])

    np.testing.assert_array_equal(flat, np.maximum(x, 0).T.reshape(-1))
    # What computes with it reads integers, all the same.
    np.testing.assert_allclose(magnitude, np.rint(np.maximum(x, 0).T / 0.03) * 0.03, rtol=1e-6)


def test_layers_that_became_one_are_told_of_by_all_their_names() -> None:
    told: dict[str, str] = {}
    both = build({"x": (4, 16)}, lambda emit, x: emit(op.matmul(x, weights(16, 8)), join(["one", "other"])))
    layers = {"one": WeightBits(), "other": WeightBits()}
    PlacePairs({"x": Activation(0.02)}, layers, tell=told.__setitem__)(both)
    assert told == {"one": "", "other": ""}
    PlacePairs({"x": Activation(0.02)}, layers, saved=lambda call: 0.0, tell=told.__setitem__)(both)
    assert told["one"] == told["other"] == "integers are not faster for it"


def test_the_operand_is_found_behind_moves_and_pooling_and_in_parts() -> None:
    shape = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
    entries = {name: Activation(0.02) for name in ("x", "relu", "joined")}

    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(x), "relu")
        joined = emit(op.concat([x, y], 3), "joined")
        pooled = emit(op.nn.max_pool2d(joined, (2, 2), (2, 2), layout="NHWC"), "pool")
        return emit(op.nn.conv2d(pooled, weights(4, 1, 1, 16), **shape), "conv")

    after = PlacePairs(entries, {"conv": WeightBits()})(build({"x": (1, 4, 4, 8)}, body)).module

    assert after.script().count("tilewright.quantize") == 3


def heads(emit: Any, x: Any, name: str, seed: int, order: tuple[int, ...] = (0, 2, 1, 3)) -> Any:
    made = emit(op.matmul(x, weights(16, 24, seed=seed)), name)
    return emit(op.permute_dims(emit(op.reshape(made, (1, 4, 3, 8)), f"{name}_heads"), order), f"{name}_turned")


def attending(emit: Any, x: Any) -> Any:
    scores = emit(op.matmul(heads(emit, x, "q", 1), heads(emit, x, "k", 2, (0, 2, 3, 1))), "scores")
    return emit(op.matmul(emit(op.nn.softmax(scores), "softmax"), heads(emit, x, "v", 3)), "values")


@pytest.mark.parametrize(("costs", "placed"), [((30, 30), 2), ((70, 40), 0), ((0, 101), 0)])
def test_a_product_of_two_tensors_pays_for_both(costs: tuple[float, float], placed: int) -> None:
    told: dict[str, str] = {}
    price = dict(zip(("q", "k"), costs, strict=True))
    after = PlacePairs(
        {"q": Activation(0.02, 3), "k": Activation(0.02)},
        {},
        ("scores",),
        saved=lambda call: 100.0,
        cost=lambda tensor, readers: price[tensor.name] + 1e6 * readers,
        tell=told.__setitem__,
    )(build({"x": (1, 4, 16)}, attending)).module

    assert after.script().count("tilewright.quantize") == placed
    assert (told["scores"] == "") == bool(placed)


def test_queries_and_keys_within_attention() -> None:
    module = FuseAttention()(build({"x": (1, 4, 16)}, attending)).module
    given: list[Any] = []

    def saved(call: Any) -> float:
        given.append(call)
        return 1.0

    told: dict[str, str] = {}
    entries = {"q": Activation(0.02, 3), "k": Activation(0.02), "v": Activation(0.02), "softmax": Activation(1 / 255)}
    found = PlacePairs(entries, {}, ("scores", "values"), saved=saved, tell=told.__setitem__)(module)

    assert told == {"scores": ""} and found.module.script().count("tilewright.quantize") == 2
    assert [str(each.ty.dtype) for each in given[0].args[:3]] == ["uint8", "int8", "float32"]
    # Their product alone is not the layer that is asked for.
    assert not PlacePairs(entries, {}, ("values",))(module).modified
    # Keys with a zero point would need sums of rows.
    told.clear()
    assert not PlacePairs({**entries, "k": Activation(0.02, 1)}, {}, ("scores",), tell=told.__setitem__)(
        module
    ).modified
    assert "zero point" in told["scores"]


def test_tensors_that_products_tie_together() -> None:
    x, y, z = (relax.Var(name, relax.TensorType((4,), "float32")) for name in "xyz")
    one, two, three = (relax.Var(name, relax.TensorType((4,), "float32")) for name in ("one", "two", "three"))
    found = {one: Candidate(("one",), (x, y), 10), two: Candidate(("two",), (y, z), 10)}
    found[three] = Candidate(("three",), (z,), 1)
    prices = {x: 3.0, y: 5.0, z: 9.0}
    chosen, _ = worthwhile(found, lambda var, integers: prices[var])
    assert chosen == {one, two, three}  # 21 for 17; without z 10 for 8
    prices[z] = 12.0
    chosen, costs = worthwhile(found, lambda var, integers: prices[var])
    assert chosen == {one} and costs == prices


@pytest.mark.parametrize(("granularity", "count"), [("channel", 8), ("tensor", 1)])
@pytest.mark.parametrize("bits", [4, 8])
def test_integers_of_weights(granularity: str, count: int, bits: int) -> None:
    w = (RNG.standard_normal((8, 3, 3, 4)) * np.geomspace(1e-3, 10, 8).reshape(8, 1, 1, 1)).astype("float32")
    w[3] = 0
    integers, scales = weight_integers(w, 0, WeightBits(bits, granularity))

    most = 2 ** (bits - 1) - 1
    assert scales.size == count and integers.dtype == np.int8
    assert np.abs(integers).max() == most and (integers[3] == 0).all()
    assert (np.abs(integers * scales - w) <= scales * 0.5001).all()
