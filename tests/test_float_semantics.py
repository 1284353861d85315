"""Floats are IEEE's: no algebra that holds for real numbers alone, and NaN, infinities and -0.0 pass as ONNX says.

The reference is each operator by itself in numpy, in float32, one rounding after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from onnx import TensorProto, helper, numpy_helper

Array = Any
Nodes = Sequence[tuple[Any, ...]]  # (operator, inputs, output, attributes)

NAN, INF = np.float32(np.nan), np.float32(np.inf)
MAGIC = np.float32(1.5 * 2**23)  # added to a number below 2**22 it rounds it to an integer

_PLAIN = [1.3, 2.5, -0.7, 100.49, 3.5, -2.5, 1e-30, -1e-30, 0.1]
_SPECIAL = [1.0, np.inf, -np.inf, np.nan, 0.0, -0.0, -2.0, 3e38, -3e38, 1e-45, 2e38]
_PAIRS = np.array([(x, z) for x in _SPECIAL + _PLAIN for z in [*_SPECIAL, 1e8, -1e8, 3e7, 0.5]], "float32")
# Vectors of every width, and what is left over.
X, Z = _PAIRS[:, 0].copy(), _PAIRS[:, 1].copy()

CONSTANTS = {
    "zero": np.float32(0),
    "one": np.float32(1),
    "two": np.float32(2),
    "half": np.float32(0.5),
    "third": np.float32(3),
    "minus": np.float32(-1),
    "minus_zero": np.float32(-0.0),
    "tenth": np.float32(0.1),
    "magic": MAGIC,
    "unmagic": -MAGIC,
    "nan": NAN,
    "root": np.float32(0.5),
    "inverse": np.float32(-0.5),
    "huge": np.float32(1e30),
    "minute": np.float32(1e-30),
    "zeros": np.where(np.arange(X.size) % 3 == 0, np.float32(0), np.float32(1)).astype("float32"),
}
C = CONSTANTS


def _fmod(x: Array, z: Array) -> Array:
    return np.fmod(x, z)


def _power(x: Array, exponent: float) -> Array:
    """C's pow, which numpy asks for arrays of exponents: the root of -inf is inf."""
    return np.power(x, np.full_like(x, exponent))


# name: (nodes, numpy). The last node's output is the result.
CASES: dict[str, tuple[Nodes, Callable[[Array, Array], Array]]] = {
    "round by a magic number": ([("Add", "x magic", "a"), ("Sub", "a magic", "y")], lambda x, z: (x + MAGIC) - MAGIC),
    "and by two constants": ([("Add", "x magic", "a"), ("Add", "a unmagic", "y")], lambda x, z: (x + MAGIC) + -MAGIC),
    "fake quantization": (
        [("Div", "x tenth", "q"), ("Add", "q magic", "a"), ("Sub", "a magic", "b"), ("Mul", "b tenth", "y")],
        lambda x, z: ((x / C["tenth"] + MAGIC) - MAGIC) * C["tenth"],
    ),
    "x + z - z": ([("Add", "x z", "a"), ("Sub", "a z", "y")], lambda x, z: (x + z) - z),
    "x - z + z": ([("Sub", "x z", "a"), ("Add", "a z", "y")], lambda x, z: (x - z) + z),
    "z - (x + z - x)": (
        [("Add", "x z", "s"), ("Sub", "s x", "t"), ("Sub", "z t", "y")],
        lambda x, z: z - ((x + z) - x),
    ),
    "x - (z + x)": ([("Add", "z x", "a"), ("Sub", "x a", "y")], lambda x, z: x - (z + x)),
    "x - x": ([("Sub", "x x", "y")], lambda x, z: x - x),
    "x * 0": ([("Mul", "x zero", "y")], lambda x, z: x * C["zero"]),
    "0 * x + z": ([("Mul", "zero x", "a"), ("Add", "a z", "y")], lambda x, z: C["zero"] * x + z),
    "x / x": ([("Div", "x x", "y")], lambda x, z: x / x),
    "0 / x": ([("Div", "zero x", "y")], lambda x, z: C["zero"] / x),
    "x / 0": ([("Div", "x zero", "y")], lambda x, z: x / C["zero"]),
    "x / zeros and ones": ([("Div", "x zeros", "y")], lambda x, z: x / C["zeros"]),
    "1 / (1 / 0)": ([("Reciprocal", "zero", "r"), ("Div", "x r", "y")], lambda x, z: x / (C["one"] / C["zero"])),
    "1 / (x + 0)": ([("Add", "x zero", "a"), ("Reciprocal", "a", "y")], lambda x, z: C["one"] / (x + C["zero"])),
    "1 / (x - 0)": ([("Sub", "x zero", "a"), ("Reciprocal", "a", "y")], lambda x, z: C["one"] / (x - C["zero"])),
    "1 / -x": ([("Neg", "x", "a"), ("Reciprocal", "a", "y")], lambda x, z: C["one"] / -x),
    "1 / (x * -1)": ([("Mul", "x minus", "a"), ("Reciprocal", "a", "y")], lambda x, z: C["one"] / (x * C["minus"])),
    "1 / relu(x)": (
        [("Relu", "x", "a"), ("Reciprocal", "a", "b"), ("Abs", "b", "y")],
        lambda x, z: np.abs(C["one"] / np.maximum(x, C["zero"])),
    ),
    # A fused multiply-add would give 2e38, or what the rounding of the product left out.
    "2 x - x": ([("Mul", "x two", "a"), ("Sub", "a x", "y")], lambda x, z: x * C["two"] - x),
    "x z - z x": ([("Mul", "x z", "a"), ("Mul", "z x", "b"), ("Sub", "a b", "y")], lambda x, z: x * z - z * x),
    "x x - z z": ([("Mul", "x x", "a"), ("Mul", "z z", "b"), ("Sub", "a b", "y")], lambda x, z: x * x - z * z),
    "x tenth + z": ([("Mul", "x tenth", "a"), ("Add", "a z", "y")], lambda x, z: x * C["tenth"] + z),
    "(x + z) / 2": ([("Add", "x z", "a"), ("Mul", "a half", "y")], lambda x, z: (x + z) * C["half"]),
    "x huge minute": ([("Mul", "x huge", "a"), ("Mul", "a minute", "y")], lambda x, z: x * C["huge"] * C["minute"]),
    "x - 3 floor(x / 3)": (
        [("Div", "x third", "a"), ("Floor", "a", "b"), ("Mul", "b third", "c"), ("Sub", "x c", "y")],
        lambda x, z: x - np.floor(x / C["third"]) * C["third"],
    ),
    "x ** 0": ([("Pow", "x zero", "y")], lambda x, z: x ** C["zero"]),
    "x ** 0.5": ([("Pow", "x root", "y")], lambda x, z: _power(x, 0.5)),
    "1 / x ** 0.5": (
        [("Pow", "x root", "a"), ("Reciprocal", "a", "y")],
        lambda x, z: C["one"] / _power(x, 0.5),
    ),
    "x ** -0.5": ([("Pow", "x inverse", "y")], lambda x, z: _power(x, -0.5)),
    "fmod": ([("Mod", "x z", "y", {"fmod": 1})], _fmod),
    "max": ([("Max", "x z", "y")], np.maximum),
    "min": ([("Min", "x z", "y")], np.minimum),
    "max x x": ([("Max", "x x", "y")], lambda x, z: x),
    "max of three": ([("Max", "x z one", "y")], lambda x, z: np.maximum(np.maximum(x, z), C["one"])),
    "max with NaN": ([("Max", "x nan", "y")], lambda x, z: np.maximum(x, NAN)),
    "min with NaN": ([("Min", "nan x", "y")], lambda x, z: np.minimum(x, NAN)),
    "min of max": (
        [("Max", "x minus", "a"), ("Min", "a one", "y")],
        lambda x, z: np.minimum(np.maximum(x, -1), C["one"]),
    ),
    "clip": ([("Clip", "x minus one", "y")], lambda x, z: np.clip(x, C["minus"], C["one"])),
    "clip below": ([("Clip", "x minus", "y")], lambda x, z: np.maximum(x, C["minus"])),
    "clip by a tensor": (
        [("Clip", "x minus two", "a"), ("Max", "a z", "y")],
        lambda x, z: np.maximum(np.clip(x, -1, 2), z),
    ),
    "1 / sign": ([("Sign", "x", "a"), ("Reciprocal", "a", "y")], lambda x, z: C["one"] / (np.sign(x) + C["zero"])),
    "1 / max with -0.0": (
        [("Min", "x minus", "a"), ("Max", "a minus_zero", "b"), ("Reciprocal", "b", "y")],
        lambda x, z: C["one"] / np.maximum(np.minimum(x, C["minus"]), C["minus_zero"]),
    ),
    "1 / clip at -0.0": (
        [("Min", "x minus", "a"), ("Clip", "a minus_zero", "b"), ("Reciprocal", "b", "y")],
        lambda x, z: C["one"] / np.maximum(np.minimum(x, C["minus"]), C["minus_zero"]),
    ),
    "1 / clip from -0.0 on": (
        [("Min", "x minus", "a"), ("Clip", "a minus_zero one", "b"), ("Reciprocal", "b", "y")],
        lambda x, z: C["one"] / np.maximum(np.minimum(x, C["minus"]), C["minus_zero"]),
    ),
    "sign": ([("Sign", "x", "y")], lambda x, z: np.sign(x)),
    "leaky relu": (
        [("LeakyRelu", "x", "y", {"alpha": 0.25})],
        lambda x, z: np.where(x < 0, x * np.float32(0.25), x),
    ),
    "leaky relu of nothing": (
        [("LeakyRelu", "x", "y", {"alpha": 0.0})],
        lambda x, z: np.where(x < 0, x * C["zero"], x),
    ),
    "prelu": ([("PRelu", "x z", "y")], lambda x, z: np.where(x < 0, x * z, x)),
    "thresholded relu": ([("ThresholdedRelu", "x", "y", {"alpha": 1.0})], lambda x, z: np.where(x > 1, x, C["zero"])),
    "hard sigmoid": (
        [("HardSigmoid", "x", "y", {"alpha": 0.25, "beta": 0.5})],
        lambda x, z: np.maximum(0, np.minimum(1, x * np.float32(0.25) + C["half"])).astype("float32"),
    ),
    "hard swish": (
        [("HardSwish", "x", "a"), ("Div", "a x", "y")],  # x / x is NaN where it says nothing
        lambda x, z: x * np.maximum(0, np.minimum(1, x / np.float32(6) + C["half"])) / x,
    ),
    "x == x": ([("Equal", "x x", "c"), ("Cast", "c", "y", {"to": 1})], lambda x, z: (x == x).astype("float32")),
    "not x == z": (
        [("Equal", "x z", "c"), ("Not", "c", "d"), ("Cast", "d", "y", {"to": 1})],
        lambda x, z: (~(x == z)).astype("float32"),
    ),
    "x <= x": ([("LessOrEqual", "x x", "c"), ("Cast", "c", "y", {"to": 1})], lambda x, z: (x <= x).astype("float32")),
    "not x < z": (
        [("Less", "x z", "c"), ("Not", "c", "d"), ("Cast", "d", "y", {"to": 1})],
        lambda x, z: (~(x < z)).astype("float32"),
    ),
    "not x >= 1": (
        [("GreaterOrEqual", "x one", "c"), ("Not", "c", "d"), ("Cast", "d", "y", {"to": 1})],
        lambda x, z: (~(x >= 1)).astype("float32"),
    ),
    "x < z or z <= x": (
        [("Less", "x z", "c"), ("LessOrEqual", "z x", "d"), ("Or", "c d", "e"), ("Cast", "e", "y", {"to": 1})],
        lambda x, z: ((x < z) | (z <= x)).astype("float32"),
    ),
    "x < z and not x < z": (
        [("Less", "x z", "c"), ("Less", "z x", "d"), ("And", "c d", "e"), ("Cast", "e", "y", {"to": 1})],
        lambda x, z: ((x < z) & (z < x)).astype("float32"),
    ),
    "x < z xor z < x": (
        [("Less", "x z", "c"), ("Less", "z x", "d"), ("Xor", "c d", "e"), ("Cast", "e", "y", {"to": 1})],
        lambda x, z: ((x < z) ^ (z < x)).astype("float32"),
    ),
    "0 where not x < 1": (
        [("Less", "x one", "c"), ("Not", "c", "d"), ("Where", "d zero x", "y")],
        lambda x, z: np.where(~(x < 1), C["zero"], x),
    ),
    "x where x == x": (
        [("Equal", "x x", "c"), ("Where", "c x zero", "y")],
        lambda x, z: np.where(x == x, x, C["zero"]),
    ),
    "(x or z) - z": (
        [("Less", "x one", "c"), ("Where", "c x z", "d"), ("Sub", "d z", "y")],
        lambda x, z: np.where(x < 1, x, z) - z,
    ),
    "is NaN": ([("IsNaN", "x", "c"), ("Where", "c one x", "y")], lambda x, z: np.where(np.isnan(x), C["one"], x)),
    "is infinite": ([("IsInf", "x", "c"), ("Where", "c one x", "y")], lambda x, z: np.where(np.isinf(x), C["one"], x)),
    "bool": (
        [("Cast", "x", "c", {"to": 9}), ("Cast", "c", "y", {"to": 1})],
        lambda x, z: x.astype(bool).astype("float32"),
    ),
    "elu": (
        [("Elu", "x", "y")],
        lambda x, z: np.where(x < 0, np.expm1(x.astype("float64")), x).astype("float32"),
    ),
}
# What is rounded otherwise in the last place or two: functions, and what one operator computes in several steps.
LAST_PLACES = {"elu": 4, "hard sigmoid": 1, "hard swish": 4, "x ** 0.5": 1, "1 / x ** 0.5": 2, "x ** -0.5": 2}


def model(dtype: str = "float32") -> onnx.ModelProto:
    """All the cases, an output each."""
    kind = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[dtype]
    nodes, outputs = [], []
    for index, (case, _) in enumerate(CASES.values()):
        local: dict[str, str] = {}
        for operator, inputs, output, *rest in case:
            local[output] = f"{output}_{index}"
            attributes = dict(rest[0]) if rest else {}
            if attributes.get("to") == 1:
                attributes["to"] = kind
            names = [local.get(name, name) for name in inputs.split()]
            nodes.append(helper.make_node(operator, names, [local[output]], **attributes))
        outputs.append(helper.make_tensor_value_info(f"y_{index}", kind, [X.size]))
    inputs = [helper.make_tensor_value_info(name, kind, [X.size]) for name in "xz"]
    initializers = [numpy_helper.from_array(np.asarray(value, dtype), name) for name, value in CONSTANTS.items()]
    graph = helper.make_graph(nodes, "semantics", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _places(actual: Array, expected: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.abs(actual - expected) / np.spacing(np.abs(expected))


@pytest.fixture(scope="module", params=["x86-64", "x86-64-v3", "x86-64-v4"])
def results(request: pytest.FixtureRequest) -> dict[str, Array]:
    """The outputs of the model, by the name of the case."""
    from tilewright import targets

    needed = set(targets.parse("x86_64-linux-gnu", cpu=request.param).required_features)
    if not needed <= set(targets.parse("host").required_features):
        pytest.skip("this machine lacks the instructions")
    compiled = tilewright.compile(model(), target="x86_64-linux-gnu", cpu=request.param, threads=1)
    outputs = compiled.run({"x": X, "z": Z})
    return {name: outputs[f"y_{index}"] for index, name in enumerate(CASES)}


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", CASES)
def test_every_result_is_that_of_one_rounding_after_the_other(results: dict[str, Array], name: str) -> None:
    with np.errstate(all="ignore"):
        expected = np.asarray(CASES[name][1](X, Z), "float32")
    actual = results[name]
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    near = _places(actual, expected) <= LAST_PLACES.get(name, 0)
    wrong = ~(same | near)
    assert not wrong.any(), [(X[i], Z[i], actual[i], expected[i]) for i in np.flatnonzero(wrong)[:5]]


REDUCTIONS = {
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceProd": np.prod,
}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reductions_pass_nan_and_infinities(axis: int) -> None:
    data = np.random.default_rng(5).standard_normal((5, 37, 19)).astype("float32")
    data[1, 3, 2], data[4, 30, 18], data[0, 7, 7], data[2, 0, 0] = NAN, NAN, INF, -INF
    shape = list(data.shape)
    shape[axis] = 1
    nodes = [helper.make_node(name, ["x"], [name], axes=[axis]) for name in REDUCTIONS]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in REDUCTIONS]
    graph = helper.make_graph(
        nodes, "reductions", [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)], outputs
    )
    # The sum's axes are an input from opset 13 on.
    graph.node[2].CopyFrom(helper.make_node("ReduceSum", ["x", "axes"], ["ReduceSum"]))
    graph.initializer.append(numpy_helper.from_array(np.array([axis], "int64"), "axes"))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    actual = tilewright.compile(made, threads=1).run({"x": data})
    for name, function in REDUCTIONS.items():
        with np.errstate(all="ignore"):
            expected = function(data.astype("float64"), axis=axis, keepdims=True)
        np.testing.assert_allclose(actual[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_pools_pass_nan() -> None:
    data = np.random.default_rng(6).standard_normal((1, 16, 9, 9)).astype("float32")
    data[0, 2, 4, 4], data[0, 3, 0, 0], data[0, 5, 2, 2] = NAN, NAN, -INF
    nodes = [
        helper.make_node("MaxPool", ["x"], ["pooled"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("GlobalMaxPool", ["x"], ["largest"]),
    ]
    outputs = [
        helper.make_tensor_value_info("pooled", TensorProto.FLOAT, data.shape),
        helper.make_tensor_value_info("largest", TensorProto.FLOAT, [1, 16, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "pools", [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)], outputs
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    actual = tilewright.compile(made, threads=1).run({"x": data})
    padded = np.pad(data, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    np.testing.assert_array_equal(actual["pooled"], windows.max((-1, -2)))
    np.testing.assert_array_equal(actual["largest"], data.max((2, 3), keepdims=True))


def test_computed_conditions_choose_in_whole_vectors() -> None:
    """Conditions made in the kernel, joined with a mask that is an input, a constant, or one number."""
    rng = np.random.default_rng(8)
    shape = [3, 64]
    x, mask, known = rng.standard_normal(shape).astype("float32"), rng.random(shape) < 0.5, rng.random(shape) < 0.5
    joins = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}
    masks = {"mask": mask, "known": known, "always": np.bool_(True)}
    nodes = [helper.make_node("Greater", ["x", "zero"], ["positive"])]
    expected = {}
    for join, function in joins.items():
        for name, values in masks.items():
            nodes += [
                helper.make_node(join, ["positive", name], [f"{join}_{name}_c"]),
                helper.make_node("Not", [f"{join}_{name}_c"], [f"{join}_{name}_n"]),
                helper.make_node("Where", [f"{join}_{name}_n", "x", "zero"], [f"{join}_{name}"]),
            ]
            expected[f"{join}_{name}"] = np.where(~function(x > 0, values), x, np.float32(0))
    graph = helper.make_graph(
        nodes,
        "conditions",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, shape),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in expected],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in list(masks.items())[1:]]
        + [numpy_helper.from_array(np.float32(0), "zero")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    actual = tilewright.compile(made, threads=1).run({"x": x, "mask": mask})
    for name, values in expected.items():
        np.testing.assert_array_equal(actual[name], values, err_msg=name)
