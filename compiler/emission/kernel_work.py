"""The work of a scheduled kernel, read off its loops: bytes that must move, operations of what no template counts.

Both are what the computation needs, not what its schedule does: scratch and re-reading count nothing. A template states
its operations itself (`tilewright.flops`), by the direct algorithm, whatever its kernel executes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from ... import hidden_floats as hidden
from ...ir_types import Binding, Block, Buffer, Call, For, Load, Node, PrimFunc, Scalar, Stmt
from ..library.tensor_spec import element_bytes
from .graph_steps import GraphCall

_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Max, tirx.Min)
# Calls that compute nothing: choices between values, and hints.
_NO_ARITHMETIC = frozenset(["if_then_else", "likely", "reinterpret", "bitcast", "address_of"])
# Calls that take the address of an element, so that what they read is not to be seen.
_POINTERS = frozenset(["address_of", "tvm_access_ptr"])


def argument_bytes(function: PrimFunc) -> tuple[int, ...]:
    """For each tensor of a kernel the bytes that one call must read or write at least once.

    A tensor that is read by ways that are not followed counts whole. One that is read or written at few places (a
    slice, rows of a table) counts as many elements as there are different values of the loop variables in its indices,
    which is never fewer than are touched.
    """
    loops = _Loops(function.body)
    parameters = list(function.params)
    whole = {i for i, buffer in enumerate(parameters) for other in loops.opaque if buffer.same_as(other)}
    read: list[float] = [0] * len(parameters)
    for load in loops.loads:
        for i, buffer in enumerate(parameters):
            if buffer.same_as(load.source):
                read[i] += loops.points(load.indices) * _lanes(load.ty.dtype)
    written: list[float] = [0] * len(parameters)
    for store in loops.stores:
        for i, buffer in enumerate(parameters):
            if buffer.same_as(store.buffer):
                written[i] = max(written[i], loops.points(store.indices) * _lanes(store.value.ty.dtype))
    sizes = [math.prod(int(extent) for extent in buffer.shape) for buffer in parameters]
    moved = [read[i] or written[i] for i in range(len(parameters))]
    elements = [size if i in whole or not moved[i] else min(size, moved[i]) for i, size in enumerate(sizes)]
    return tuple(int(n) * element_bytes(str(buffer.dtype)) for n, buffer in zip(elements, parameters, strict=True))


def _call_bytes(sizes: Sequence[int], call: GraphCall, among: Container[int] | None) -> int:
    """Bytes that a call must move: those of `argument_bytes`, a buffer that is passed twice counted once."""
    of_buffer: dict[int, int] = {}
    for buffer, size in zip((*call.inputs, *call.outputs), sizes, strict=True):
        if among is None or buffer in among:
            of_buffer[buffer] = max(size, of_buffer.get(buffer, 0))
    return sum(of_buffer.values())


def least_bytes(
    calls: Iterable[GraphCall], sizes: Mapping[str, Sequence[int]], among: Container[int] | None = None
) -> dict[str, int]:
    """For each function of a graph the fewest bytes of its calls.

    Args:
        sizes: as `argument_bytes` of each says.
        among: buffers that count; by default all.
    """
    least: dict[str, int] = {}
    for call in calls:
        moved = _call_bytes(sizes[call.function], call, among)
        least[call.function] = min(moved, least.get(call.function, moved))
    return least


def counted_flops(function: PrimFunc) -> int:
    """Floating-point operations of a kernel without a template: those in each stored value, for every element stored.

    An elementary function counts as one; choosing, comparing, converting and moving count nothing. 0: none, or loops
    of unknown length.
    """
    loops = _Loops(function.body)
    work = ((_operations(store.value), loops.points([store.value, *store.indices])) for store in loops.stores)
    total = sum(operations * points for operations, points in work if operations)
    return int(total) if math.isfinite(total) else 0


class _Loops:
    """The loads and stores of a kernel, and the extents of the variables in their indices."""

    def __init__(self, body: Stmt) -> None:
        self.loads: list[Load] = []
        self.stores: list[Stmt] = []
        self.opaque: list[Buffer] = []  # buffers whose elements are read through pointers or views
        self._extents: dict[Scalar, float] = {}
        self._values: dict[Scalar, Scalar] = {}
        tvm_ffi.structural_walk(
            body,
            [
                (tirx.For, self._loop),
                (s_tir.SBlock, self._block),
                ((tirx.Let, tirx.Bind), self._binding),
                (tvm.ir.Call, self._call),
                (tvm.ir.TensorLoad, self.loads.append),
                (tirx.BufferStore, self.stores.append),
            ],
        )

    def points(self, expressions: Iterable[Scalar]) -> float:
        """Different values of all the variables in some expressions together; infinite when that is not known."""
        return math.prod(self._extents[variable] for variable in self._variables(expressions))

    def _variables(self, expressions: Iterable[Scalar]) -> set[Scalar]:
        found: set[Scalar] = set()
        pending = list(expressions)
        seen: set[Scalar] = set()

        def visit(variable: Scalar) -> None:
            if variable in self._extents:
                found.add(variable)
            elif variable in self._values and variable not in seen:
                seen.add(variable)
                pending.append(self._values[variable])

        while pending:
            tvm_ffi.structural_walk(pending.pop(), (tirx.Var, visit))
        return found

    def _loop(self, loop: For) -> None:
        self._extents[loop.loop_var] = _number(loop.extent)

    def _block(self, block: Block) -> None:
        for axis in block.iter_vars:
            self._extents[axis.var] = _number(axis.dom.extent)
        self.opaque += [match.source.source for match in block.match_buffers]

    def _binding(self, binding: Binding) -> None:
        self._values[binding.var] = binding.value

    def _call(self, call: Call) -> None:
        if _operator(call) in _POINTERS:
            tvm_ffi.structural_walk(call, (tvm.ir.TensorLoad, lambda load: self.opaque.append(load.source)))


def _operations(value: Scalar) -> int:
    """Arithmetic of floats in an expression, that in indices left out: it is of integers."""
    count = 0

    def visit(node: Node) -> None:
        nonlocal count
        if "float" in str(node.ty.dtype) and (isinstance(node, _ARITHMETIC) or _operator(node) not in _NO_ARITHMETIC):
            count += 2 if hidden.name_of(node) == hidden.ADD_PRODUCT else 1

    tvm_ffi.structural_walk(value, ((*_ARITHMETIC, tvm.ir.Call), visit))
    return count


def _operator(node: Node) -> str:
    """The name of a call's operator without its dialect: ``exp`` of ``tirx.exp``."""
    operator = getattr(node, "op", None)
    return str(getattr(operator, "name", operator)).rpartition(".")[2]


def _number(extent: Scalar) -> float:
    return int(extent) if isinstance(extent, tirx.IntImm) else math.inf


def _lanes(dtype: Any) -> int:
    match: re.Match[str] | None = re.search(r"x(\d+)$", str(dtype))
    return int(match[1]) if match else 1
