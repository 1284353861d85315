"""evaluation: a row computes what the kernel of the same operator computes. Every row has a case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.library import artifact
from tilewright.compiler.options import CompileOptions
from tilewright.frontends.imported import ImportedModel
from tilewright.ir_passes.dialect import evaluation
from tilewright.ir_passes.dialect import float_functions as functions
from tilewright.ir_passes.dialect.quantize import dequantize, quantize, requantize
from tvm import relax, tirx

op = relax.op
Array = Any

_RNG = np.random.default_rng(5)
_X = _RNG.standard_normal((3, 4)).astype(np.float32)
_Y = _RNG.standard_normal((3, 4)).astype(np.float32)
_POSITIVE = np.abs(_X) + np.float32(0.1)
_UNIT = np.tanh(_X).astype(np.float32)
_SPECIAL = np.array([[np.nan, np.inf, -np.inf, 0.0], [-0.0, 1.5, -2.5, 3e38], [1e-30, np.nan, -np.inf, 7]], np.float32)
_I = np.array([[7, -7, 7, -7], [5, 0, -9, 2**31 - 1], [-(2**31), 3, 1, -1]], np.int32)
_J = np.array([[3, 3, -3, -3], [1, 2, 4, 2], [2, -2, 5, 7]], np.int32)
_U = np.array([[250, 3, 0, 255], [1, 2, 3, 4], [128, 127, 200, 9]], np.uint8)
_B, _C = _X > 0, _Y > 0

_UNARY = (
    "sqrt negative abs square floor ceil trunc isnan isinf isfinite sign exp log tanh sin cos tan sinh cosh erf "
    "sigmoid rsqrt"
)
_INVERSE = "asin atan asinh atanh acos"
_BINARY = "add subtract multiply maximum minimum divide"
_COMPARE = "equal not_equal greater greater_equal less less_equal"
_LOGICAL = "logical_and logical_or logical_xor"
_BITWISE = "bitwise_and bitwise_or bitwise_xor"


def _cases() -> dict[str, tuple[Callable[..., Any], list[Array]]]:
    """By row, and whatever tells several cases of one apart: the call and its operands."""
    cases: dict[str, tuple[Callable[..., Any], list[Array]]] = {}

    def case(name: str, call: Callable[..., Any], *operands: Array) -> None:
        cases[name] = call, list(operands)

    for name in _UNARY.split():
        values = _POSITIVE if name in ("sqrt", "log", "rsqrt") else _X
        case(name, getattr(op, name), values)
    for name in _INVERSE.split():
        case(name, getattr(op, name), _UNIT)
    case("acosh", op.acosh, _POSITIVE + 1)
    for name in (*_BINARY.split(), *_COMPARE.split()):
        case(name, getattr(op, name), _X, _Y)
        case(f"{name} integers", getattr(op, name), _I, _J)
        case(f"{name} bytes", getattr(op, name), _U, np.maximum(_U[::-1], 1))
    for name in (*_COMPARE.split(), "maximum", "minimum"):
        case(f"{name} special", getattr(op, name), _SPECIAL, _Y)
        case(f"{name} special, swapped", getattr(op, name), _Y, _SPECIAL)
    for name in ("negative", "abs", "isnan", "isinf", "isfinite", "sign", "nn.relu", "exp", "floor"):
        function = op.nn.relu if name == "nn.relu" else getattr(op, name)
        case(f"{name} special", function, _SPECIAL)
    for name in functions.NAMES:
        case(f"tilewright.{name}", getattr(functions, name), _POSITIVE - 0.5)
    for name in _LOGICAL.split():
        case(name, getattr(op, name), _B, _C)
    case("logical_not", op.logical_not, _B)
    for name in _BITWISE.split():
        case(name, getattr(op, name), _I, _J)
    case("bitwise_not", op.bitwise_not, _I)
    for name in ("mod", "floor_mod"):
        case(name, getattr(op, name), _I, _J)
    case("mod floats", op.mod, _X, _Y)
    case("power", op.power, _POSITIVE, _Y)
    case("power of a half", op.power, _SPECIAL, np.full((3, 4), 0.5, np.float32))
    case("nn.relu", op.nn.relu, _X)
    case("clip", lambda x: op.clip(x, tirx.const(-0.5, "float32"), tirx.const(0.25, "float32")), _X)
    case("clip special", lambda x: op.clip(x, tirx.const(-0.5, "float32"), tirx.const(0.25, "float32")), _SPECIAL)
    case("where", op.where, _B, _X, _Y)
    case("astype", lambda x: op.astype(x, "int32"), _X * 10)
    case("astype narrow", lambda x: op.astype(x, "uint8"), np.abs(_X))
    case("astype half", lambda x: op.astype(x, "float16"), _X)
    case("astype wrap", lambda x: op.astype(x, "int8"), _I)
    for name in ("sum", "mean", "max", "min", "prod"):
        case(name, lambda x, name=name: getattr(op, name)(x, [1], True), _X)
        case(
            f"{name} of one", lambda x, name=name: getattr(op, name)(x, [0], False), np.array([[-0.0, 1.5]], np.float32)
        )
    for name in ("sum", "max", "min", "prod"):
        case(f"{name} integers", lambda x, name=name: getattr(op, name)(x, [0], False), _I)
    for name in ("max", "min"):
        case(f"{name} special", lambda x, name=name: getattr(op, name)(x, [0], False), _SPECIAL)
    case("matmul", op.matmul, _X, _Y.T.copy())
    for name in ("reshape", "flatten", "squeeze", "expand_dims", "permute_dims", "broadcast_to", "flip", "tile"):
        case(name, _MOVES[name], _X[:, :1] if name == "squeeze" else _X)
    for name in ("repeat", "nn.pad", "tril", "triu", "strided_slice", "nn.batch_flatten"):
        case(name, _MOVES[name], _X)
    case("take", lambda x, at: op.take(x, at, 0, mode="fast"), _X, np.array([2, 0, 0]))
    case("concat", lambda x, y: op.concat([x, y], 1), _X, _Y)
    scale, zero = np.float32(0.05).reshape(()), np.int32(3).reshape(())
    case("tilewright.quantize", lambda x, s, z: quantize(x, s, z, "int8"), _X, scale, zero)
    case("tilewright.quantize clipped", lambda x, s, z: quantize(x, s, z, "uint8", 3, 40), _X, scale, zero)
    case("tilewright.dequantize", dequantize, _U, scale, zero)
    case("tilewright.requantize", lambda x, s, z: requantize(x, s, z, "int8"), _I, scale, zero)
    case("full", lambda x: op.full((2, 3), x), np.float32(2.5).reshape(()))
    return cases


_MOVES: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: op.reshape(x, (2, 6)),
    "flatten": op.flatten,
    "nn.batch_flatten": op.nn.batch_flatten,
    "squeeze": lambda x: op.squeeze(x, [1]),
    "expand_dims": lambda x: op.expand_dims(x, 1),
    "permute_dims": lambda x: op.permute_dims(x, [1, 0]),
    "broadcast_to": lambda x: op.broadcast_to(x, (2, 3, 4)),
    "flip": lambda x: op.flip(x, 1),
    "tile": lambda x: op.tile(x, (2, 1)),
    "repeat": lambda x: op.repeat(x, 2, 1),
    "nn.pad": lambda x: op.nn.pad(x, [1, 0, 2, 1], "constant", 1.5),
    "tril": lambda x: op.tril(x, 1),
    "triu": lambda x: op.triu(x, -1),
    "strided_slice": lambda x: op.strided_slice(x, [0, 1], [1, 0], [3, 4], [1, 2]),
}
_WITHOUT_OPERANDS = {"zeros", "ones", "tilewright.counted"}  # constants before there are kernels
_ACCURACY = 1e-6  # relative: exp, tanh and the like are good to some units in the last place of float32


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Array, Array]]:
    """By case: what `evaluate` gives, and what the compiled kernel does."""
    cases = _cases()
    builder = relax.BlockBuilder()
    variables: dict[str, list[Any]] = {
        name: [
            relax.Var(f"{index}_{place}", relax.TensorType(each.shape, str(each.dtype)))
            for place, each in enumerate(operands)
        ]
        for index, (name, (_, operands)) in enumerate(cases.items())
    }
    parameters = [variable for each in variables.values() for variable in each]
    calls = {}
    with builder.function("main", parameters):
        with builder.dataflow():
            results = []
            for name, (call, _) in cases.items():
                calls[name] = builder.normalize(call(*variables[name]))
                results.append(builder.emit(calls[name], name.replace(" ", "_")))
            result = builder.emit_output(relax.Tuple(results))
        builder.emit_func_output(result)
    target = targets.parse("host", cores=1)
    names = tuple(f"y{index}" for index in range(len(cases)))
    model = ImportedModel(builder.get(), "rows", tuple(variable.name for variable in parameters), names)
    library = Path(tmp_path_factory.mktemp("rows")) / "rows.so"
    build(model, library, CompileOptions(target=target, jobs=1))
    arrays = [array for _, operands in cases.values() for array in operands]
    inputs = {variable.name: np.asarray(array, order="C") for variable, array in zip(parameters, arrays, strict=True)}
    outputs = artifact.load(library).run(inputs)
    pairs = {}
    for (name, (_, operands)), output in zip(cases.items(), outputs.values(), strict=True):
        pairs[name] = evaluation.evaluate(calls[name], operands), output
    return pairs


@pytest.mark.parametrize("name", list(_cases()))
def test_a_row_computes_what_the_kernel_does(computed: dict[str, tuple[Array, Array]], name: str) -> None:
    known, kernel = computed[name]
    assert (known.shape, known.dtype) == (kernel.shape, kernel.dtype)
    if kernel.dtype.kind in "biu":
        np.testing.assert_array_equal(known, kernel)
    else:
        np.testing.assert_allclose(known, kernel, rtol=_ACCURACY, atol=1e-7, equal_nan=True)


def test_every_row_has_a_case() -> None:
    assert {name.split()[0] for name in _cases()} == evaluation.OPERATORS - _WITHOUT_OPERANDS
