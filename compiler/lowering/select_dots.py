"""Puts dot-product instructions in the place of the loops that their schedule (`dot_product_schedule.py`) has marked.

Works on lowered loops over flat buffers: the addresses of operands are read off their indices, which must be linear in
the loops of one instruction. What the instructions are, the unit says (`targets/instructions.py`): in the place of the
loops, behind the loops over k, and around the loop over tiles of C.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...annotations import LHS, RHS, ROLE, ROLLED, SUMS, TILES, UNIT, operands, without, without_roles
from ...ir_types import Buffer, For, Node, PrimFunc, Scalar, Stmt, Var
from ...schedules.tensorir.rebuild import found, substituted, with_body
from ...targets.instructions import Emitted, Instructions, Operand
from ...targets.target import DotUnit
from ...tensorir_statements import sequence
from .launches import LAUNCH
from .tried_values import are_equal

# The other loops count instructions.
_OF_ONE_INSTRUCTION = ("row", "lane", "group", "term")
_THREAD = "threadIdx.x"
_MAX_EXTENT = 1 << 31  # of a part of an index whose bounds are known


def select_dots(function: PrimFunc, units: Mapping[str, DotUnit]) -> PrimFunc:
    """The function with instructions of `units`, by their names, where loops are marked; operands lose their roles."""
    return function.with_body(without_roles(_Selection(units).statement(function.body)))


class _Selection:
    """One walk over a function's statements."""

    def __init__(self, units: Mapping[str, DotUnit]) -> None:
        self._units = units
        self._analyzer = tvm.sym.Analyzer()
        # What the step inside the loop that is walked has yet to put around loops.
        self._after_sums: Sequence[Stmt] = ()
        self._around_tiles: tuple[Sequence[Stmt], Sequence[Stmt]] | None = None
        self._stays_in_loop = False
        self._thread: Var | None = None  # the place of a thread in its warp

    def statement(self, node: Node) -> Node:
        """The statement with instructions."""
        if isinstance(node, tirx.SeqStmt):
            return sequence([self.statement(each) for each in node.seq])
        if isinstance(node, tirx.For):
            return self._loop(node)
        if isinstance(node, tirx.AttrStmt):
            if node.attr_key == LAUNCH:
                self._note_place(node)
            return tirx.AttrStmt(node.node, node.attr_key, node.value, self.statement(node.body))
        if isinstance(node, tirx.IfThenElse):
            otherwise = None if node.else_case is None else self.statement(node.else_case)
            return tirx.IfThenElse(node.condition, self.statement(node.then_case), otherwise)
        return node

    def _note_place(self, launch: Stmt) -> None:
        place = launch.node.var
        self._analyzer.bind(place, tvm.ir.Range.from_min_extent(tirx.IntImm(str(place.ty.dtype), 0), launch.value))
        if str(launch.node.thread_tag) == _THREAD:
            self._thread = place

    def _loop(self, loop: For) -> Stmt:
        unit = self._units.get(UNIT.of(loop) or "")
        if unit is not None:
            return self._instructions(loop, unit.instructions())
        self._analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))
        body = self.statement(loop.body)
        kept = without(loop.annotations, SUMS, TILES)
        if self._stays_in_loop:
            kept, self._stays_in_loop = {**kept, **ROLLED.entry()}, False
        new = with_body(loop, body, annotations=kept)
        if SUMS.of(loop) and self._after_sums:
            after, self._after_sums = self._after_sums, ()
            return sequence([new, *after])
        if TILES.of(loop) and self._around_tiles is not None:
            (before, behind), self._around_tiles = self._around_tiles, None
            return sequence([*before, new, *behind])
        return new

    def _instructions(self, outer: For, instructions: Instructions) -> Stmt:
        loops: dict[str, For] = {}
        body = outer
        while isinstance(body, tirx.For):
            loops[_role(body)] = body
            body = body.body
        sums = self._access(body.buffer, body.indices[0], loops)
        extents = {role: int(loops[role].extent) for role in loops}
        if not operands(body.value, LHS):  # the sums begin
            return sequence(instructions.zero(sums, extents))
        left, right = (self._operand(body.value, role, loops) for role in (LHS, RHS))
        return self._placed(instructions.multiply_add(sums, left, right, extents))

    def _placed(self, emitted: Emitted) -> Stmt:
        self._after_sums, self._stays_in_loop = emitted.after_sums, emitted.stays_in_loop
        self._around_tiles = (emitted.before_tiles, emitted.after_tiles)
        return sequence(emitted.step)

    def _operand(self, product: Scalar, role: str, loops: Mapping[str, For]) -> Operand:
        (value,) = operands(product, role)
        (load,) = found(value, TensorLoad)
        return self._access(load.source, load.indices[0], loops)

    def _access(self, buffer: Buffer, index: Scalar, loops: Mapping[str, For]) -> Operand:
        """How `index` depends on the loops of an instruction.

        Raises:
            ValueError: it is not linear in them.
        """
        variables = {role: loop.loop_var for role, loop in loops.items()}
        if self._thread is not None:
            variables["thread"] = self._thread
        for loop in loops.values():
            self._analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))

        index = self._factored(index)

        def at(**values: int) -> Scalar:
            chosen = {
                variable: tirx.IntImm(str(variable.ty.dtype), values.get(role, 0))
                for role, variable in variables.items()
            }
            return self._analyzer.simplify(substituted(index, chosen))

        strides = {}
        for role in (each for each in _OF_ONE_INSTRUCTION if each in loops):  # setting to zero has no loops over k
            if int(loops[role].extent) == 1:
                strides[role] = 0
                continue
            stride = self._analyzer.simplify(at(**{role: 1}) - at())
            if not isinstance(stride, tirx.IntImm):
                raise ValueError(f"the index {index} is not linear in {variables[role]}")
            strides[role] = int(stride)
        inner = {variables[role]: tirx.IntImm(str(variables[role].ty.dtype), 0) for role in strides}
        rebuilt = substituted(index, inner)
        for role, stride in strides.items():
            rebuilt = rebuilt + variables[role] * stride
        if not are_equal(rebuilt, index, self._analyzer):
            raise ValueError(f"the index {index} is not linear in the loops of an instruction")
        return Operand(buffer, at, strides, self._thread)

    def _factored(self, index: Scalar) -> Scalar:
        """The index with ``(g * a + b) // (g * c)`` as ``a // c``, and the remainder likewise, where 0 <= b < g."""

        def change(node: Node) -> Node:
            parts: dict[Node, Node] = {}
            dividend = self._with_parts(node.a, parts)
            variables = list(dict.fromkeys(found(dividend, tirx.Var)))
            linear = list(tvm.sym.detect_linear_equation(dividend, variables))
            if not linear or not all(isinstance(each, tirx.IntImm) for each in [node.b, *linear]):
                return node
            *factors, constant = map(int, linear)
            divisor = int(node.b)
            for common in sorted({math.gcd(factor, divisor) for factor in factors}, reverse=True):
                terms = list(zip(variables, factors, strict=True))
                rest = sum(
                    (var * factor for var, factor in terms if factor % common), tirx.IntImm(str(node.ty.dtype), 0)
                )
                bound = self._analyzer.const_int_bound(rest)
                if common == 1 or constant % common or bound.min_value < 0 or bound.max_value >= common:
                    continue
                whole = tirx.IntImm(str(node.ty.dtype), constant // common)
                whole = sum((var * (factor // common) for var, factor in terms if factor % common == 0), whole)
                if isinstance(node, tirx.FloorDiv):
                    return substituted(whole // (divisor // common), parts)
                return substituted(whole % (divisor // common) * common + rest, parts)
            return node

        return tvm_ffi.structural_map(index, [(tirx.FloorDiv, change), (tirx.FloorMod, change)])

    def _with_parts(self, index: Scalar, parts: dict[Node, Node]) -> Scalar:
        """A sum in which quotients and remainders are variables, whose values are added to `parts`."""
        if isinstance(index, tirx.FloorDiv | tirx.FloorMod):
            part = tirx.Var("part", index.ty)
            bound = self._analyzer.const_int_bound(index)
            if bound.max_value - bound.min_value < _MAX_EXTENT:
                extent = tirx.IntImm(str(index.ty.dtype), bound.max_value - bound.min_value + 1)
                first = tirx.IntImm(str(index.ty.dtype), bound.min_value)
                self._analyzer.bind(part, tvm.ir.Range.from_min_extent(first, extent))
            parts[part] = index
            return part
        if isinstance(index, tirx.Add | tirx.Mul):
            return type(index)(self._with_parts(index.a, parts), self._with_parts(index.b, parts))
        return index


def _role(loop: For) -> str:
    role = ROLE.of(loop)
    assert role is not None
    return role
