"""What the body of a loop computes, as far as recurrent cells do it: rows times constant matrices, and gates.

    Sum([(x, W), (h, R)], bias)        x W + h R + bias: the columns of all gates, or of one
    Function("sigmoid", Sum(...))      a gate
    Sum([], 0, [Product(z, h), Product(Less(z), c)])        z h + (1 - z) c

Slices and parts of columns are those of the matrices, so that however an exporter joins gates and cuts them apart
again, each is found with its own. Equal is what is the same object: a variable that is read twice is one value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import tvm
from tvm import relax

from ...ir_passes.core.constants import Array, array_of, scalar_of
from ...ir_passes.core.graph import Expr, Graph, Var
from ...ir_passes.core.match import calls
from ...slices import slices
from .node import shape_of

# Relax's functions, by the names that ONNX's recurrent layers have for them in lower case.
_FUNCTIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "nn.relu": "relu"}


@dataclass(frozen=True, eq=False)
class Source:
    """Rows from outside of the cell: a state, or an element of a sequence.

    Attributes:
        width: columns.
        state: of what is carried, which it is.
        sequence: (steps, rows, width), and where in it the element is.
    """

    width: int
    state: int | None = None
    sequence: tuple[Expr, Expr] | None = None


@dataclass(frozen=True, eq=False)
class Function:
    """A function of each element, by its name."""

    name: str
    of: Value


@dataclass(frozen=True, eq=False)
class Product:
    """Two values, element by element."""

    factors: tuple[Value, Value]


@dataclass(frozen=True, eq=False)
class Rest:
    """1 less a value."""

    of: Value


@dataclass(frozen=True, eq=False)
class Joined:
    """Values side by side."""

    parts: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Sum:
    """Rows times matrices, a bias, and other values.

    Attributes:
        terms: a value and the matrix (its width, columns) that it is multiplied by.
        bias: (columns).
        others: what else is added.
    """

    terms: tuple[tuple[Value, Array], ...]
    bias: Array
    others: tuple[Value, ...] = ()


Value: TypeAlias = Source | Function | Product | Rest | Joined | Sum


@dataclass
class CellValues:
    """The values of a body's variables.

    Attributes:
        graph: the body.
        states: the parameters that are states, and which of what is carried each is.
    """

    graph: Graph
    states: Mapping[Var, int]
    found: dict[Var, Value | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._definitions = dict(self.graph.bindings)

    def of(self, expr: Expr) -> Value | None:
        """What a variable is; None of what no cell computes."""
        if not isinstance(expr, relax.Var):
            return None
        if expr not in self.found:
            self.found[expr] = self._read(expr)
        return self.found[expr]

    def _read(self, var: Var) -> Value | None:
        if var in self.states:
            return Source(shape_of(var)[-1], state=self.states[var])
        made = self._definitions.get(var)
        if isinstance(made, relax.TupleGetItem):
            parts = self._definitions.get(made.tuple_value)
            return self._part(parts, made.index) if calls(parts, "split") else None
        if not isinstance(made, tvm.ir.Call) or not isinstance(made.op, tvm.ir.Op):
            return None
        name = str(made.op.name).removeprefix("relax.")
        if name in _FUNCTIONS:
            inner = self.of(made.args[0])
            return None if inner is None else Function(_FUNCTIONS[name], inner)
        row = _ROWS.get(name)
        return None if row is None else row(self, made)

    def element(self, call: Expr) -> Value | None:
        """One of a sequence."""
        sequence, place = call.args
        along = call.attrs.axis is not None and int(call.attrs.axis) == 0
        if not along or len(shape_of(sequence)) != 3 or shape_of(place):
            return None
        return Source(shape_of(sequence)[-1], sequence=(sequence, place))

    def product(self, call: Expr) -> Value | None:
        """Rows times a matrix that is known."""
        value, matrix = self.of(call.args[0]), array_of(call.args[1])
        if value is None or matrix is None or matrix.ndim != 2:
            return None
        parts, begin = value.parts if isinstance(value, Joined) else (value,), 0
        terms = []
        for part in parts:
            width = _width(part)
            terms.append((part, matrix[begin : begin + width]))
            begin += width
        return Sum(tuple(terms), np.zeros(matrix.shape[1], matrix.dtype)) if begin == len(matrix) else None

    def sum(self, call: Expr) -> Value | None:
        """Of two values, or of a value and a bias."""
        columns = shape_of(call)[-1]
        terms: list[tuple[Value, Array]] = []
        bias: Array = np.zeros(columns, str(call.ty.dtype))
        others: list[Value] = []
        for argument in call.args:
            known = array_of(argument)
            if known is not None:
                if known.size not in (1, columns):
                    return None
                bias = bias + known.reshape(-1)
                continue
            value = self.of(argument)
            if value is None or shape_of(argument) != shape_of(call):
                return None
            if isinstance(value, Sum):
                terms += value.terms
                bias = bias + value.bias
                others += value.others
            else:
                others.append(value)
        return Sum(tuple(terms), bias, tuple(others))

    def multiplied(self, call: Expr) -> Value | None:
        """Two values of the same shape, element by element."""
        values = [self.of(argument) for argument in call.args if shape_of(argument) == shape_of(call)]
        factors = tuple(value for value in values if value is not None)
        return Product((factors[0], factors[1])) if len(factors) == 2 else None

    def rest(self, call: Expr) -> Value | None:
        """1 less a value."""
        value = self.of(call.args[1]) if shape_of(call) == shape_of(call.args[1]) else None
        return Rest(value) if scalar_of(call.args[0]) == 1 and value is not None else None

    def joined(self, call: Expr) -> Value | None:
        """Values side by side."""
        fields = list(call.args[0].fields)
        rank = len(shape_of(call))
        values = [self.of(each) for each in fields]
        parts = tuple(value for value in values if value is not None)
        if call.attrs.axis is None or int(call.attrs.axis) % rank != rank - 1 or len(parts) < len(fields):
            return None
        return _as_one_sum(parts) or Joined(parts)

    def cut(self, call: Expr) -> Value | None:
        """Some columns."""
        given = shape_of(call.args[0])
        found = slices(call, given)
        if found is None or any(each != slice(0, extent, 1) for each, extent in zip(found[:-1], given, strict=False)):
            return None
        return self._columns(call.args[0], found[-1])

    def same(self, call: Expr) -> Value | None:
        """The same value, if its shape is."""
        return self.of(call.args[0]) if shape_of(call) == shape_of(call.args[0]) else None

    def _part(self, call: Expr, index: int) -> Value | None:
        shape = shape_of(call.args[0])
        if int(call.attrs.axis) % len(shape) != len(shape) - 1:
            return None
        where = call.attrs.indices_or_sections
        if hasattr(where, "__len__"):
            bounds = [0, *(int(each) for each in where), shape[-1]]
            return self._columns(call.args[0], slice(bounds[index], bounds[index + 1], 1))
        size = -(-shape[-1] // int(where))
        return self._columns(call.args[0], slice(index * size, min((index + 1) * size, shape[-1]), 1))

    def _columns(self, of: Expr, which: slice) -> Value | None:
        value = self.of(of)
        return None if value is None else _columns(value, which)


def _as_one_sum(parts: Sequence[Value]) -> Sum | None:
    """Sums of the same rows, side by side, as one."""
    sums = [part for part in parts if isinstance(part, Sum) and not part.others]
    rows = [[value for value, _ in each.terms] for each in sums]
    if len(sums) < len(parts) or any(each != rows[0] for each in rows):
        return None
    matrices = [
        np.concatenate(each, 1) for each in zip(*([matrix for _, matrix in s.terms] for s in sums), strict=True)
    ]
    return Sum(tuple(zip(rows[0], matrices, strict=True)), np.concatenate([each.bias for each in sums]))


def _columns(value: Value, which: slice) -> Value | None:
    """Some columns of a value."""
    if isinstance(value, Sum) and not value.others:
        terms = tuple((each, matrix[:, which]) for each, matrix in value.terms)
        return replace(value, terms=terms, bias=value.bias[which])
    if isinstance(value, Function):
        inner = _columns(value.of, which)
        return None if inner is None else Function(value.name, inner)
    return None


def _width(value: Value) -> int:
    """The columns of a value."""
    if isinstance(value, Source):
        return value.width
    if isinstance(value, Sum):
        return int(value.bias.size)
    if isinstance(value, Joined):
        return sum(map(_width, value.parts))
    return _width(value.factors[0] if isinstance(value, Product) else value.of)


_ROWS: Mapping[str, Callable[[CellValues, Expr], Value | None]] = {
    "take": CellValues.element,
    "matmul": CellValues.product,
    "add": CellValues.sum,
    "multiply": CellValues.multiplied,
    "subtract": CellValues.rest,
    "concat": CellValues.joined,
    "strided_slice": CellValues.cut,
    **dict.fromkeys(("reshape", "squeeze", "expand_dims", "broadcast_to"), CellValues.same),
}
