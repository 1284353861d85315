"""Vectors of lowered TensorIR as C: calls of functions that the target has a text of (`CVectors`).

A vector of floats is a ``v_float32``, one of integers of any width up to 32 bits a ``v_int32``, and one of truths a
``v_bool``. What the target has no function for is refused with `NoVectorsError`: such a kernel is lowered without
vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from tvm import tirx
from tvm.ir import Call, TensorLoad

from ...errors import CompilerError
from ...hidden_floats import dtype_of, name_of
from ...ir_types import Buffer, Scalar, Stmt, Var
from ...targets.target import CVectors
from .c_literals import intrinsic_name

HELPER = "tilewright_vectors"
_OPERATORS: Mapping[type, str] = MappingProxyType(
    {
        tirx.Add: "add",
        tirx.Sub: "sub",
        tirx.Mul: "mul",
        tirx.Div: "div",
        tirx.Max: "max",
        tirx.Min: "min",
        tirx.BitwiseAnd: "and",
        tirx.BitwiseOr: "or",
        tirx.BitwiseXor: "xor",
        tirx.LShift: "shift_left",
        tirx.RShift: "shift_right",
        tirx.EQ: "eq",
        tirx.NE: "ne",
        tirx.LT: "lt",
        tirx.LE: "le",
        tirx.GT: "gt",
        tirx.GE: "ge",
    }
)
_NARROW = ("int8", "uint8")
_ROUNDINGS = {
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "roundeven": "rint",
    "nearbyint": "rint",
    "fabs": "fabs",
}


class Numbers(Protocol):
    """Writes expressions of numbers, as `Expressions` does."""

    @property
    def variable(self) -> Callable[[Var], str]:
        """The name of a variable."""
        ...

    @property
    def text_of(self) -> Callable[[str], str]:
        """The text of a function of the target; empty for others."""
        ...

    @property
    def vectors(self) -> CVectors | None:
        """The target's."""
        ...

    def __call__(self, node: Scalar) -> str:
        """An expression."""
        ...

    def helper(self, name: str, text: str) -> str:
        """A helper's name, whose text will be there."""
        ...


class NoVectorsError(CompilerError):
    """C has no vectors for something in a kernel."""


def wrapping_step(cast: Scalar) -> Scalar | None:
    """The sum, difference or product in its own dtype of which LLVM is given the last bits of one in more bits.

    `float_steps.py` writes those of integers of the model so; in C they wrap by themselves, or as unsigned ones.
    """
    wide = cast.value
    if dtype_of(wide).partition("x")[0] not in ("int128", "uint128"):
        return None
    return type(wide)(wide.a.value, wide.b.value)


def is_vector(node: Scalar) -> bool:
    """Whether an expression is a vector of several lanes."""
    return "x" in str(getattr(node.ty, "dtype", ""))


def lane_dtype(node: Scalar) -> str:
    """``float32`` or ``int32``: what lanes of an expression are in C."""
    kind = dtype_of(node).partition("x")[0]
    if kind in ("float32", "bool"):
        return kind
    if kind in ("int32", "int16", "int8", "uint16", "uint8"):
        return "int32"
    raise NoVectorsError(f"C has no vectors of {kind}")


def base_of(index: Scalar) -> Scalar:
    """Where a vector of neighbours begins."""
    if not isinstance(index, tirx.Ramp) or not isinstance(index.stride, tirx.IntImm) or int(index.stride) != 1:
        raise NoVectorsError("C loads and stores vectors of neighbours alone")
    return index.base


class VectorWriter:
    """Writes the vectors of one kernel.

    Args:
        express: writes numbers, and knows what is called.
        place: the address of an element of a buffer; or a variable, where the buffer is one vector after the other.
    """

    def __init__(self, express: Numbers, place: Callable[[Buffer, Scalar], tuple[str, bool]]) -> None:
        self.express = express
        self.place = place

    def called(self, function: str, *operands: str) -> str:
        """A call of a function of the target's."""
        name = f"v_{function}"
        if self.express.vectors is None or name not in self.express.vectors.functions:
            raise NoVectorsError(f"C has no vectors for {function}")
        self.express.helper(HELPER, self.express.vectors.text)
        return f"{name}({', '.join(operands)})"

    def zero(self, kind: str) -> str:
        """A vector of a type to begin with."""
        return "0" if kind == "v_bool" else self.called(f"all_{kind.removeprefix('v_')}", "0")

    def __call__(self, node: Scalar) -> str:
        """An expression of a vector."""
        lanes = self.express.vectors.lanes if self.express.vectors is not None else 0
        if not dtype_of(node).endswith(f"x{lanes}"):
            raise NoVectorsError(f"C has no {dtype_of(node)}")
        if isinstance(node, tirx.Var):
            return self.express.variable(node)
        if isinstance(node, tirx.Broadcast):
            kind = lane_dtype(node)
            return self.called(f"all_{kind}", self.express(node.value))
        if isinstance(node, TensorLoad):
            return self.load(node.source, node.indices[0])
        if isinstance(node, tirx.Cast) and (wrapping := wrapping_step(node)) is not None:
            return self(wrapping)
        if isinstance(node, tirx.Cast):
            return self._cast(node)
        if isinstance(node, tirx.Select):
            return self.called(
                f"select_{lane_dtype(node)}", *map(self, (node.condition, node.true_value, node.false_value))
            )
        if type(node) in _OPERATORS:
            return self._binary(node)
        if isinstance(node, Call):
            return self._call(node)
        raise NoVectorsError(f"C has no vectors for {type(node).__name__}")

    def load(self, buffer: Buffer, index: Scalar, function: str = "load") -> str:
        """A vector in memory, or in a variable."""
        text, is_variable = self.place(buffer, index)
        return text if is_variable else self.called(f"{function}_{buffer.dtype}", text)

    def store(self, node: Stmt) -> str:
        """The statement that stores a vector."""
        text, is_variable = self.place(node.buffer, node.indices[0])
        value = node.value
        is_cast = isinstance(value, tirx.Cast) and wrapping_step(value) is None
        if not is_variable and is_cast and lane_dtype(value.value) == "int32":
            value = value.value  # what is stored is as wide as the buffer's elements
        if is_variable:
            return f"{text} = {self._begun(value)};"
        return f"{self.called(f'store_{node.buffer.dtype}', text, self(value))};"

    def _begun(self, value: Scalar) -> str:
        """What a variable is set to: a sum begins with a constant."""
        if isinstance(value, tirx.Broadcast) and isinstance(value.value, tirx.FloatImm):
            return self.called(f"begin_{lane_dtype(value)}", self.express(value.value))
        return self(value)

    def _binary(self, node: Scalar) -> str:
        kind = lane_dtype(node.a)
        text = self.called(f"{_OPERATORS[type(node)]}_{kind}", self(node.a), self(node.b))
        return self._wrapped(text, node)

    def _wrapped(self, text: str, node: Scalar) -> str:
        """Integers of 8 bits, which are held in more."""
        kind = dtype_of(node).partition("x")[0]
        if kind in ("int16", "uint16"):
            raise NoVectorsError(f"C has no vectors that compute in {kind}")
        return self.called(f"wrap_{kind}", text) if kind in _NARROW else text

    def _cast(self, node: Scalar) -> str:
        source, result = lane_dtype(node.value), lane_dtype(node)
        text = self(node.value)
        if source != result:
            text = self.called(f"cast_{source}_{result}", text)
        wider = int(node.value.ty.dtype.bits) < int(node.ty.dtype.bits) if source == result == "int32" else False
        return text if wider or result != "int32" else self._wrapped(text, node)

    def _call(self, call: Call) -> str:
        name = name_of(call).split(".")[-1]
        if name in ("call_extern", "call_pure_extern") and self.express.text_of(str(call.args[0].value)):
            return self.express(call)
        if name == "if_then_else":
            condition, *sides = call.args
            if is_vector(condition):
                return self.called(f"select_{lane_dtype(call)}", *map(self, call.args))
            return f"({self.express(condition)} ? {self(sides[0])} : {self(sides[1])})"
        if name == "reinterpret":
            source, result = lane_dtype(call.args[0]), lane_dtype(call)
            text = self(call.args[0])
            return text if source == result else self.called(f"bits_{source}_{result}", text)
        intrinsic = intrinsic_name(call).removeprefix("llvm.")
        operands = [each for each in list(call.args)[1:] if hasattr(each, "ty")]
        if intrinsic.startswith("arithmetic.fence"):
            return self(operands[0])
        short = intrinsic.partition(".")[0]
        if short in ("fmuladd", "fma"):
            return self._fused(*operands)
        if short in _ROUNDINGS:
            return self.called(f"{_ROUNDINGS[short]}_{lane_dtype(call)}", self(operands[0]))
        raise NoVectorsError(f"C has no vectors for {name_of(call)} {intrinsic}")

    def _fused(self, a: Scalar, b: Scalar, c: Scalar) -> str:
        for one, other in ((a, b), (b, a)):
            if isinstance(other, tirx.Broadcast):
                return self.called("fma_all_float32", self._operand(one), self.express(other.value), self(c))
        return self.called("fma_float32", self._operand(a), self._operand(b), self(c))

    def _operand(self, node: Scalar) -> str:
        """An operand of a multiply-add, which is loaded where it stands."""
        return self.load(node.source, node.indices[0], "operand") if isinstance(node, TensorLoad) else self(node)
