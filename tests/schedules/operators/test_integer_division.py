"""Integer division: the right result where there is one, the documented result where there is none, and no trap."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from c_sources import built
from small_models import model, node
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions
from tilewright.ir_passes import FoldConstants
from tilewright.ir_passes.core.constants import array_of, constant
from tvm import relax

Array = np.ndarray[Any, Any]
DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def truncated(a: Array, b: Array) -> Array:
    """Division towards zero; numpy's own is towards minus infinity. Of numbers no integer type holds, Python's."""
    info = np.iinfo(a.dtype)
    quotients = [0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) for x, y in pairs(a, b)]
    # The smallest number / -1 lies one beyond the largest, and wraps.
    return np.array([info.min if q == info.max + 1 else q for q in quotients], a.dtype)


def remainder(a: Array, b: Array) -> Array:
    return np.array([x - y * (x // y) if y else 0 for x, y in pairs(a, b)], a.dtype)


def truncated_remainder(a: Array, b: Array) -> Array:
    signs = [1 if x >= 0 else -1 for x, _ in pairs(a, b)]
    return np.array([s * (abs(x) % abs(y)) if y else 0 for s, (x, y) in zip(signs, pairs(a, b), strict=True)], a.dtype)


def pairs(a: Array, b: Array) -> list[tuple[int, int]]:
    return list(zip(a.tolist(), np.broadcast_to(b, a.shape).tolist(), strict=True))


OPERATIONS: dict[str, tuple[str, dict[str, int], Callable[[Array, Array], Array]]] = {
    "quotient": ("Div", {}, truncated),
    "remainder": ("Mod", {}, remainder),
    "truncated": ("Mod", {"fmod": 1}, truncated_remainder),
}


def every_pair(dtype: str) -> tuple[Array, Array]:
    """All pairs of numbers at which something may go wrong, and of some others."""
    info = np.iinfo(dtype)
    values = {info.min, info.min + 1, 0, 1, 2, 3, 7, 100, info.max - 1, info.max}
    values |= {-1, -2, -7} if info.min else set()
    a, b = np.meshgrid(np.array(sorted(values), dtype), np.array(sorted(values), dtype))
    return a.ravel(), b.ravel()


@pytest.mark.sweep(3)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_operands_stop_the_program(dtype: str) -> None:
    a, b = every_pair(dtype)
    scalars = [0, 3, np.iinfo(dtype).max, *([-1, np.iinfo(dtype).min] if np.iinfo(dtype).min else [])]
    divisors: dict[str, Array] = {"b": b, "zeros": np.zeros_like(a)}
    divisors |= {f"scalar{i}": np.array(value, dtype) for i, value in enumerate(scalars)}
    nodes, expected = [], {}
    for name, (operator, attributes, reference) in OPERATIONS.items():
        for divisor, values in divisors.items():
            nodes.append(node(operator, ["a", divisor], f"{name}_{divisor}", "n", **attributes))
            expected[f"{name}_{divisor}"] = reference(a, values)
    constants = {name: value for name, value in divisors.items() if name != "b"}
    kind = (dtype, a.shape)
    compiled = tilewright.compile(
        model(nodes, {"a": kind, "b": kind}, dict.fromkeys(expected, kind), constants), threads=1
    )
    results = compiled.run({"a": a, "b": b})

    for name, values in expected.items():
        np.testing.assert_array_equal(results[name], values, err_msg=name)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint64"])
def test_constants_are_divided_as_inputs_are(dtype: str) -> None:
    a, b = every_pair(dtype)
    builder = relax.BlockBuilder()
    with builder.function("main", []):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(relax.op.divide(constant(a), constant(b))))
        builder.emit_func_output(result)
    folded = FoldConstants()(builder.get()).module["main"].body.body

    np.testing.assert_array_equal(array_of(folded), truncated(a, b))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
def test_shifts_beyond_the_width_leave_nothing(dtype: str, direction: str) -> None:
    bits = np.iinfo(dtype).bits
    counts = np.array([0, 1, bits - 1, bits, bits + 1, 200, np.iinfo(dtype).max], dtype)
    x = np.full(counts.shape, np.iinfo(dtype).max - 5, dtype)
    kind = (dtype, x.shape)
    shift = node("BitShift", ["x", "by"], "y", "shift", direction=direction)
    compiled = tilewright.compile(model([shift], {"x": kind, "by": kind}, {"y": kind}), threads=1)

    def shifted(value: int, count: int) -> int:
        if count >= bits:
            return 0
        return (value << count) % (1 << bits) if direction == "LEFT" else value >> count

    expected = np.array([shifted(value, count) for value, count in pairs(x, counts)], dtype)
    np.testing.assert_array_equal(compiled.run({"x": x, "by": counts})["y"], expected)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("Gather", ["x", "i"], {"axis": 1}),
        ("GatherElements", ["x", "i"], {"axis": 1}),
        ("GatherND", ["x", "i"], {"batch_dims": 1}),
    ],
)
def test_nothing_is_read_from_an_axis_without_elements(
    operator: str, inputs: list[str], attributes: dict[str, Any]
) -> None:
    proto = model(
        [node(operator, inputs, "y", "n", **attributes)],
        {"x": ("float32", (2, 0)), "i": ("int64", (2, 1))},
        {"y": ("float32", (2, "columns"))},
    )
    with pytest.raises(tilewright.errors.ModelError, match="which has none"):
        tilewright.compile(proto, shapes={"x": (2, 0)}, threads=1)


@pytest.mark.parametrize("mode", ["edge", "wrap", "reflect"])
def test_padding_an_axis_without_elements_reads_nothing(mode: str) -> None:
    proto = model(
        [node("Pad", ["x", "pads"], "y", "pad", mode=mode)],
        {"x": ("float32", (2, 0))},
        {"y": ("float32", (2, 2))},
        {"pads": np.array([0, 1, 0, 1])},
    )
    compiled = tilewright.compile(proto, shapes={"x": (2, 0)}, threads=1)
    np.testing.assert_array_equal(compiled(np.ones((2, 0), np.float32)), np.zeros((2, 2)))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("emit", "cpu"), [("so", None), ("so", "x86-64"), ("c", None)])
def test_what_is_divided_may_come_of_floats(emit: str, cpu: str | None, operation: str, tmp_path: Path) -> None:
    """TVM names the operand of a remainder inside of an expression: floats are computed there, too."""
    operator, attributes, expected = OPERATIONS[operation]
    nodes = [
        node("Mul", ["x", "factor"], "larger", "larger"),
        node("Cast", ["larger"], "whole", "whole", to=onnx.TensorProto.INT64),
        node(operator, ["whole", "by"], "y", "divided", **attributes),
    ]
    inputs = {"x": ("float32", (3, 17)), "by": ("int64", (3, 17))}
    proto = model(nodes, inputs, {"y": ("int64", (3, 17))}, {"factor": np.array(2.5, np.float32)})
    rng = np.random.default_rng(0)
    x = rng.normal(0, 100, (3, 17)).astype(np.float32)
    by = rng.choice([-7, -2, -1, 0, 1, 3, 100], (3, 17))

    if emit == "c":
        build(proto, tmp_path / "net", CompileOptions(emit="c", name="net", jobs=1))
        found = np.zeros((3, 17), np.int64)
        run = ctypes.CDLL(str(built(tmp_path / "net", "net"))).net_run
        run(*(ctypes.c_void_p(each.ctypes.data) for each in (x, by, found)))
    else:
        target = "host" if cpu is None else "x86_64-linux-gnu"
        found = tilewright.compile(proto, target=target, cpu=cpu, threads=1).run({"x": x, "by": by})["y"]

    whole = (x * np.float32(2.5)).astype(np.int64)
    np.testing.assert_array_equal(found.ravel(), expected(whole.ravel(), by.ravel()))


@pytest.mark.parametrize("cpu", [None, "x86-64"])
def test_functions_of_remainders(cpu: str | None) -> None:
    """Several vectors of a long function are computed in turn: each has an operand with a name of its own."""
    nodes = [
        node("Cast", ["x"], "whole", "whole", to=onnx.TensorProto.INT32),
        node("Mod", ["whole", "by"], "rest", "rest"),
        node("Cast", ["rest"], "number", "number", to=onnx.TensorProto.FLOAT),
        node("Mul", ["number", "tenth"], "small", "small"),
        node("Tanh", ["small"], "y", "tanh"),
    ]
    inputs = {"x": ("float32", (6, 80)), "by": ("int32", (6, 80))}
    proto = model(nodes, inputs, {"y": ("float32", (6, 80))}, {"tenth": np.array(0.1, np.float32)})
    rng = np.random.default_rng(0)
    x = rng.normal(0, 100, (6, 80)).astype(np.float32)
    by = rng.choice(np.array([-7, -2, 3, 100], np.int32), (6, 80))
    target = "host" if cpu is None else "x86_64-linux-gnu"

    found = tilewright.compile(proto, target=target, cpu=cpu, threads=1).run({"x": x, "by": by})["y"]

    rest = remainder(x.astype(np.int32).ravel(), by.ravel()).reshape(x.shape)
    np.testing.assert_allclose(found, np.tanh(rest * 0.1), atol=1e-6)
