"""Element-wise operators, each element by the operators of `hidden_floats.py`: what ONNX says of NaN holds.

Those on integers are by `hidden_integers.py`: they wrap. TVM's own lowering would write both with its arithmetic, and
simplify that at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

import tvm
from tvm import relax, te, tirx

from ... import hidden_floats as hidden
from ... import hidden_integers as integers
from ...ir_passes.dialect import float_functions as functions
from ...ir_types import Scalar
from ...tensorir_statements import broadcast_place
from ..tensorir.expressions import constant_shape, int64s

Element = Callable[..., Scalar]

_LARGEST_LITERAL = 2**63 - 1  # of TVM's integers

# Operators that are one function of `hidden_floats.py`, by the function.
_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in hidden.FUNCTIONS_OF_TVM},
        "nn.gelu": "gelu",
        "nn.gelu_tanh": "gelu_tanh",
        "nn.silu": "silu",
        **{f"tilewright.{name}": name for name in functions.NAMES},
    }
)


def _constant(value: float, like: Scalar) -> Scalar:
    return tirx.const(value, hidden.dtype_of(like))


def _of_tvm(name: str) -> Element:
    """A function that TVM hands to LLVM as it is."""
    return lambda x: hidden.in_float32(getattr(tirx, name), x)


def _function(name: str) -> Element:
    return lambda x: hidden.function(name, x)


def _is_infinite(x: Scalar) -> Scalar:
    return hidden.equal(tirx.abs(x), _constant(math.inf, x))


def _is_finite(x: Scalar) -> Scalar:
    return hidden.less(tirx.abs(x), _constant(math.inf, x))


def _relu(x: Scalar) -> Scalar:
    return hidden.maximum(x, _constant(0, x))


def _common(kind: ModuleType) -> dict[str, Element]:
    """What floats and integers have under the same names."""
    return {
        "add": kind.add,
        "equal": kind.equal,
        "greater": lambda x, y: kind.less(y, x),
        "greater_equal": lambda x, y: kind.less_equal(y, x),
        "less": kind.less,
        "less_equal": kind.less_equal,
        "multiply": kind.multiply,
        "negative": kind.negative,
        "not_equal": kind.not_equal,
        "square": lambda x: kind.multiply(x, x),
        "subtract": kind.subtract,
    }


_OF_FLOATS: Mapping[str, Element] = MappingProxyType(
    {
        **_common(hidden),
        **{name: _of_tvm(name) for name in ("ceil", "cos", "floor", "log", "round", "sin", "sqrt", "trunc")},
        **{operator: _function(name) for operator, name in _FUNCTIONS.items()},
        "abs": tirx.abs,
        "divide": hidden.divide,
        "isfinite": _is_finite,
        "isinf": _is_infinite,
        "isnan": hidden.is_nan,
        "maximum": hidden.maximum,
        "minimum": hidden.minimum,
        "mod": hidden.remainder,
        "nn.relu": _relu,
        "power": lambda x, y: hidden.in_float32(hidden.power, x, y),
        "rsqrt": lambda x: hidden.divide(_constant(1, x), _of_tvm("sqrt")(x)),
        "sign": hidden.sign,
    }
)
_OF_INTEGERS: Mapping[str, Element] = MappingProxyType({**_common(integers), "abs": integers.absolute})


def _clipped(call: relax.Call) -> Element:
    low, high = (float(bound.value) for bound in list(call.args)[1:])
    return lambda x: hidden.minimum(hidden.maximum(x, _constant(low, x)), _constant(high, x))


def _leaky(call: relax.Call) -> Element:
    alpha = float(call.attrs.alpha)
    return lambda x: hidden.leaky_relu(x, _constant(alpha, x))


# Operators whose attributes say what they compute.
_WITH_ATTRIBUTES: Mapping[str, Callable[[relax.Call], Element]] = MappingProxyType(
    {"clip": _clipped, "nn.leakyrelu": _leaky}
)
OPERATORS = tuple(f"relax.{name}" for name in (*_OF_FLOATS, *_WITH_ATTRIBUTES))
OPERATORS_ON_INTEGERS = tuple(f"relax.{name}" for name in _OF_INTEGERS)


def lower_elementwise(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers one of `OPERATORS` on floats, or one of `OPERATORS_ON_INTEGERS` on integers.

    Tensors broadcast as in numpy, constants of one number are written in.
    """
    name = str(call.op.name).removeprefix("relax.")
    if "float" not in str(call.args[0].ty.dtype):
        return emit_elementwise(builder, call, _tensors(call), _OF_INTEGERS[name], f"tir_{name}")
    make = _WITH_ATTRIBUTES.get(name)
    element = make(call) if make is not None else _OF_FLOATS[name]
    plain = name.rpartition(".")[2]
    # A function of a module must not be called as one of libc's is.
    name = f"tir_{plain}" if plain == name and len(call.args) == 1 else plain
    return emit_elementwise(builder, call, _tensors(call), element, name)


def lower_where(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.where`, of any dtype."""
    return emit_elementwise(builder, call, list(call.args), tirx.Select, "where")


def _tensors(call: relax.Call) -> list[Any]:
    return [argument for argument in call.args if isinstance(argument.ty, relax.TensorType)]


def emit_elementwise(
    builder: relax.BlockBuilder, call: relax.Call, operands: Sequence[Any], element: Element, name: str
) -> relax.Expr:
    """A kernel of the shape of `call` that computes `element` of the elements of operands, which broadcast."""
    shape = constant_shape(call)
    numbers = [_number(operand) for operand in operands]

    def compute(*tensors: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Scalar:
            given = iter(tensors)
            return element(*(_at(next(given), index, shape) if number is None else number for number in numbers))

        return te.compute(int64s(shape), at, name=name)

    variables = [operand for operand, number in zip(operands, numbers, strict=True) if number is None]
    return builder.call_te(compute, *variables, primfunc_name_hint=name)


def _at(tensor: te.Tensor, index: Sequence[Any], shape: Sequence[int]) -> Scalar:
    """The element of a tensor that broadcasts to `shape` at `index`."""
    return tensor(*broadcast_place(constant_shape(tensor), shape, index))


def _number(operand: Any) -> Scalar | None:
    """The number that a constant of rank 0 is."""
    value = getattr(operand, "value", None)
    if not isinstance(value, tvm.runtime.Tensor) or operand.ty.ndim != 0:
        return None
    number = value.numpy()[()].item()
    if number > _LARGEST_LITERAL and "float" not in str(operand.ty.dtype):
        return None
    return tirx.const(number, str(operand.ty.dtype))
