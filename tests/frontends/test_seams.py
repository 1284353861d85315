"""Channels that can be scaled without a change of what a model computes, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from small_models import model, node
from tilewright import frontends
from tilewright.errors import ModelError
from tilewright.frontends.seams import balanced, seams_of

RNG = np.random.default_rng(4)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return (RNG.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype("f4")


def run(proto: onnx.ModelProto, x: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, {"x": x})[0]


def check(made: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, Any]:
    """The seams of a model; it computes the same with factors of all of them, and other weights."""
    opened = frontends.open(made)
    seams = seams_of(opened)
    factors = {name: np.exp(RNG.uniform(-2, 2, seam.channels)) for name, seam in seams.items()}
    changed = balanced(opened, factors)
    x = RNG.standard_normal(shape).astype("f4")
    expected = run(made, x)
    np.testing.assert_allclose(run(changed.proto, x), expected, atol=2e-5 * np.abs(expected).max())
    assert changed.proto.SerializeToString() != made.SerializeToString() or not seams
    return seams


def test_a_chain_of_depthwise_convolutions() -> None:
    weights = {
        "w0": floats(24, 3, 3, 3),
        "b0": floats(24),
        "w1": floats(24, 1, 3, 3),
        "b1": floats(24),
        "w2": floats(16, 24, 1, 1),
        "w3": floats(8, 8, 3, 3),
        "w4": floats(8 * 9, 10),
    }
    made = model(
        [
            node("Conv", ["x", "w0", "b0"], "c0", "wide", pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], "r0", "relu0"),
            node("Conv", ["r0", "w1", "b1"], "c1", "deep", group=24, pads=[1, 1, 1, 1]),
            node("LeakyRelu", ["c1"], "r1", "relu1", alpha=0.1),
            node("Conv", ["r1", "w2"], "c2", "narrow"),
            node("MaxPool", ["c2"], "p2", "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["p2", "w3"], "c3", "grouped", group=2),
            node("AveragePool", ["c3"], "p3", "means", kernel_shape=[2, 2]),
            node("Flatten", ["p3"], "f", "flat"),
            node("MatMul", ["f", "w4"], "y", "head"),
        ],
        {"x": ("float32", (2, 3, 12, 12))},
        {"y": ("float32", (2, 10))},
        weights,
    )
    seams = check(made, (2, 3, 12, 12))
    assert {name: seam.channels for name, seam in seams.items()} == {"c0": 24, "c1": 24, "c2": 16, "c3": 8}
    assert set(seams["c2"].tensors) == {"c2", "p2"}


def test_what_is_added_goes_along() -> None:
    weights = {f"w{i}": floats(8, 8, 1, 1) for i in range(4)}
    made = model(
        [
            node("Conv", ["x", "w0"], "a", "first"),
            node("Conv", ["a", "w1"], "b", "second"),
            node("Add", ["b", "shift"], "b1", "shifted"),
            node("Add", ["a", "b1"], "s", "sum"),
            node("Clip", ["s", "zero"], "r", "positive"),
            node("Conv", ["r", "w2"], "c", "third"),
            node("Clip", ["c", "zero", "six"], "k", "relu6"),
            node("Conv", ["k", "w3"], "y", "fourth"),
        ],
        {"x": ("float32", (1, 8, 4, 4))},
        {"y": ("float32", (1, 8, 4, 4))},
        {**weights, "shift": floats(8, 1, 1), "zero": np.float32(0), "six": np.float32(6)},
    )
    seams = check(made, (1, 8, 4, 4))
    assert {name: set(seam.tensors) for name, seam in seams.items()} == {
        "a": {"a", "b", "b1", "s", "r"},
        "c": {"c", "k"},
    }


def transformer() -> onnx.ModelProto:
    """A norm before three products, and one that is written out, with a residual around."""
    weights = {**{f"w{i}": floats(16, 16) for i in range(5)}, "g": 1 + floats(16), "h": floats(16), "b": floats(16)}
    return model(
        [
            node("LayerNormalization", ["x", "g", "h"], "n", "norm"),
            node("MatMul", ["n", "w0"], "q", "query"),
            node("MatMul", ["n", "w1"], "k", "key"),
            node("Reshape", ["n", "two"], "flat", "rows"),
            node("Gemm", ["flat", "w2"], "v0", "value", transB=1),
            node("Reshape", ["v0", "three"], "v", "back"),
            node("Add", ["v", "b"], "v1", "bias"),
            node("Mul", ["q", "k"], "m", "product"),
            node("Tanh", ["m"], "t", "tanh"),
            node("Add", ["t", "v1"], "o0", "sum"),
            node("Add", ["o0", "x"], "o", "residual"),
            node("Mul", ["o", "g2"], "u", "gamma"),
            node("Add", ["u", "b2"], "u1", "beta"),
            node("Transpose", ["u1"], "z", "turned", perm=[0, 2, 1]),
            node("Transpose", ["z"], "z1", "again", perm=[0, 2, 1]),
            node("MatMul", ["z1", "w3"], "y", "last"),
        ],
        {"x": ("float32", (2, 5, 16))},
        {"y": ("float32", (2, 5, 16))},
        {**weights, "g2": 1 + floats(16), "b2": floats(16), "two": np.array([-1, 16]), "three": np.array([2, 5, 16])},
    )


def test_norms_take_factors() -> None:
    seams = check(transformer(), (2, 5, 16))
    assert set(seams) == {"n", "u"} and all(seam.is_free for seam in seams.values())
    assert {edit.weights: edit.divides for edit in seams["n"].edits} == {
        "g": True,
        "h": True,
        "w0": False,
        "w1": False,
        "w2": False,
    }
    assert set(seams["u"].tensors) == {"u", "u1", "z", "z1"}


def test_batch_norms_on_both_sides() -> None:
    vectors = {name: np.abs(floats(6)) + 0.5 for name in ("g", "v")} | {name: floats(6) for name in ("b", "m")}
    made = model(
        [
            node("Conv", ["x", "w0"], "c", "conv"),
            node("BatchNormalization", ["c", "g", "b", "m", "v"], "n", "norm"),
            node("Relu", ["n"], "r", "relu"),
            node("Conv", ["r", "w1"], "y", "last"),
        ],
        {"x": ("float32", (1, 3, 5, 5))},
        {"y": ("float32", (1, 4, 5, 5))},
        {**vectors, "w0": floats(6, 3, 1, 1), "w1": floats(4, 6, 1, 1)},
    )
    assert list(check(made, (1, 3, 5, 5))) == ["c", "n"]


@pytest.mark.parametrize(("low", "high"), [(0, 0.4), (-0.3, 0.4), (-0.3, 0), (-0.3, None)])
def test_ends_of_a_clip_become_those_of_channels(low: float, high: float | None) -> None:
    ends = {"low": np.float32(low)} | ({} if high is None else {"high": np.float32(high)})
    made = model(
        [
            node("Conv", ["x", "w0"], "a", "first"),
            node("Clip", ["a", *ends], "b", "clip"),
            node("Conv", ["b", "w1"], "y", "second"),
        ],
        {"x": ("float32", (1, 8, 3, 3))},
        {"y": ("float32", (1, 8, 3, 3))},
        {"w0": floats(8, 8, 1, 1), "w1": floats(8, 8, 1, 1), **ends},
    )
    seams = check(made, (1, 8, 3, 3))
    assert set(seams["a"].tensors) == {"a", "b"} and seams["a"].is_free
    names = [each.name for each in balanced(frontends.open(made), {"a": np.full(8, 2.0)}).proto.graph.node]
    assert names[0] == "first" and names[-2:] == ["clip", "second"]


def test_convolutions_behind_a_swish_read_what_is_multiplied() -> None:
    made = model(
        [
            node("Conv", ["x", "w0"], "a", "first"),
            node("Sigmoid", ["a"], "s", "sigmoid"),
            node("Mul", ["a", "s"], "b", "swish"),
            node("Conv", ["b", "w1"], "y", "second", group=8, pads=[1, 1, 1, 1]),
        ],
        {"x": ("float32", (1, 8, 3, 3))},
        {"y": ("float32", (1, 8, 3, 3))},
        {"w0": floats(8, 8, 1, 1), "w1": floats(8, 1, 3, 3)},
    )
    seams = check(made, (1, 8, 3, 3))
    assert list(seams) == ["b"] and seams["b"].behind


@pytest.mark.parametrize("between", ["Softmax", "others", "an output", "shared weights"])
def test_what_refuses_factors(between: str) -> None:
    """Of images, what others read is not multiplied, nor what is made by an operator that multiplies no elements."""
    activation = {
        "Softmax": node("Softmax", ["a"], "b", "softmax", axis=1),
        "others": node("Sigmoid", ["a"], "b", "sigmoid"),
    }.get(between, node("Relu", ["a"], "b", "relu"))
    outputs = dict.fromkeys(("y", *(("b",) if between == "an output" else ()), "z"), ("float32", (1, 8, 3, 3)))
    made = model(
        [
            node("Conv", ["x", "w0"], "a", "first"),
            activation,
            node("Conv", ["b", "w0" if between == "shared weights" else "w1"], "y", "second"),
            node("Tanh", ["b" if between == "others" else "x"], "z", "tanh"),
        ],
        {"x": ("float32", (1, 8, 3, 3))},
        outputs,
        {"w0": floats(8, 8, 1, 1), "w1": floats(8, 8, 1, 1)},
    )
    assert seams_of(frontends.open(made)) == {}


def test_products_may_read_what_is_multiplied() -> None:
    """Behind a GELU, and behind a norm that a residual reads, too, as in BERT."""
    weights = {f"w{i}": floats(12, 12) for i in range(3)} | {"g": 1 + floats(12), "h": floats(12)}
    made = model(
        [
            node("LayerNormalization", ["x", "g", "h"], "n", "norm"),
            node("MatMul", ["n", "w0"], "a", "up"),
            node("Gelu", ["a"], "e", "gelu"),
            node("Gemm", ["e", "w1"], "d", "down", transB=1),
            node("Tanh", ["e"], "t", "tanh"),
            node("Add", ["d", "n"], "r", "residual"),
            node("Sub", ["r", "t"], "s", "sub"),
            node("MatMul", ["s", "w2"], "y", "last"),
        ],
        {"x": ("float32", (5, 12))},
        {"y": ("float32", (5, 12))},
        weights,
    )
    seams = check(made, (5, 12))
    assert {name: (seam.behind, seam.others) for name, seam in seams.items()} == {
        "n": (False, ("r",)),
        "e": (True, ("t",)),
        "s": (True, ()),
    }
    opened = frontends.open(made)
    changed = balanced(opened, {"e": np.full(12, 2.0), "n": np.full(12, 4.0)}).proto.graph
    assert [each.name for each in changed.node if each.name.endswith("/balance")] == ["n/balance", "e/balance"]
    assert len(changed.node) == len(opened.proto.graph.node) + 2


def test_a_gate_of_channels() -> None:
    """Squeeze and excitation: what is gated is scaled, the gate is not."""
    made = model(
        [
            node("Conv", ["x", "w0"], "c", "conv"),
            node("Relu", ["c"], "r", "relu"),
            node("GlobalAveragePool", ["r"], "p", "squeeze"),
            node("Conv", ["p", "w1"], "e", "excite"),
            node("Sigmoid", ["e"], "s", "gate"),
            node("Mul", ["r", "s"], "m", "gated"),
            node("Conv", ["m", "w2"], "y", "last"),
        ],
        {"x": ("float32", (1, 3, 5, 5))},
        {"y": ("float32", (1, 4, 5, 5))},
        {"w0": floats(6, 3, 1, 1), "w1": floats(6, 6, 1, 1), "w2": floats(4, 6, 1, 1)},
    )
    seams = check(made, (1, 3, 5, 5))
    assert list(seams) == ["c"] and set(seams["c"].tensors) == {"c", "r", "p", "m"}


def test_a_gate_as_large_as_what_it_gates() -> None:
    """SwiGLU: a product times what another one is a gate of."""
    made = model(
        [
            node("MatMul", ["x", "w0"], "a", "gate"),
            node("Sigmoid", ["a"], "s", "sigmoid"),
            node("Mul", ["a", "s"], "g", "swish"),
            node("MatMul", ["x", "w1"], "u", "up"),
            node("Mul", ["g", "u"], "m", "gated"),
            node("MatMul", ["m", "w2"], "y", "down"),
        ],
        {"x": ("float32", (3, 8))},
        {"y": ("float32", (3, 4))},
        {"w0": floats(8, 12), "w1": floats(8, 12), "w2": floats(12, 4)},
    )
    assert list(check(made, (3, 8))) == ["u"]


def test_factors_that_do_not_fit() -> None:
    opened = frontends.open(transformer())
    with pytest.raises(ModelError, match="no such channels"):
        balanced(opened, {"x": np.ones(16)})
    with pytest.raises(ModelError, match="3 factors are given for 16"):
        balanced(opened, {"n": np.ones(3)})
