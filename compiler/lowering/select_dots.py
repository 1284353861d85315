"""Puts dot-product instructions in the place of the loops that their schedule (`dot_product_schedule.py`) has marked.

Works on lowered loops over flat buffers: the addresses of operands are read off their indices, which must be linear in
the loops of one instruction. A vector instruction becomes a call of one of `llvm_functions`, a matrix instruction a
call of the intrinsic itself, on tiles numbered here: sums first, then the first operand's, then the second's. Tiles are
set up before the loop over tiles of C, and sums are stored behind the loops over k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad
from tvm.target import codegen

from ...annotations import LHS, RHS, ROLE, SUMS, TILES, UNIT, operands, without, without_roles
from ...schedules.tensorir.rebuild import found, substituted, with_body
from ...targets.target import DotUnit
from .llvm_functions import DOT_PAIRS, LANES

# The other loops count instructions.
_OF_ONE_INSTRUCTION = ("row", "lane", "group", "term")
_MAX_EXTENT = 1 << 31  # of a part of an index whose bounds are known
_PALETTE_BYTES = 64
_FLOAT_BYTES, _NARROW_BYTES = 4, 2


def select_dots(function: Any, units: Mapping[str, DotUnit]) -> Any:
    """The function with instructions of `units`, by their names, where loops are marked; operands lose their roles."""
    return function.with_body(without_roles(_Selection(units).statement(function.body)))


@dataclass(frozen=True)
class _Access:
    """An operand's place: the flat index as a function of the loops of one instruction."""

    buffer: Any
    at: Callable[..., Any]
    strides: Mapping[str, int]


class _Selection:
    """One walk over a function's statements."""

    def __init__(self, units: Mapping[str, DotUnit]) -> None:
        self._units = units
        self._analyzer = tvm.sym.Analyzer()
        self._configuration: bytes | None = None  # of the matrix instructions inside the loop that is walked
        self._stores: list[Any] = []

    def statement(self, node: Any) -> Any:
        """The statement with instructions."""
        if isinstance(node, tirx.SeqStmt):
            return _sequence([self.statement(each) for each in node.seq])
        if isinstance(node, tirx.For):
            return self._loop(node)
        if isinstance(node, tirx.AttrStmt):
            return tirx.AttrStmt(node.node, node.attr_key, node.value, self.statement(node.body))
        if isinstance(node, tirx.IfThenElse):
            otherwise = None if node.else_case is None else self.statement(node.else_case)
            return tirx.IfThenElse(node.condition, self.statement(node.then_case), otherwise)
        return node

    def _loop(self, loop: Any) -> Any:
        unit = self._units.get(UNIT.of(loop) or "")
        if unit is not None:
            return self._instructions(loop, unit)
        self._analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))
        body = self.statement(loop.body)
        kept = without(loop.annotations, SUMS, TILES)
        new = with_body(loop, body, annotations=kept)
        if SUMS.of(loop) and self._stores:
            stores, self._stores = self._stores, []
            return _sequence([new, *stores])
        if TILES.of(loop) and self._configuration is not None:
            configuration, self._configuration = self._configuration, None
            return _sequence([*_set_up(configuration), new, _call("llvm.x86.tilerelease")])
        return new

    def _instructions(self, outer: Any, unit: DotUnit) -> Any:
        loops: dict[str, Any] = {}
        body = outer
        while isinstance(body, tirx.For):
            loops[_role(body)] = body
            body = body.body
        sums = self._access(body.buffer, body.indices[0], loops)
        extents = {role: int(loops[role].extent) for role in loops}
        counts = (extents["register"], extents["vector"])
        if isinstance(body.value, tirx.FloatImm):
            return _sequence(
                [
                    self._zero(sums, register, vector, counts, unit)
                    for register in range(counts[0])
                    for vector in range(counts[1])
                ]
            )
        left, right = (self._operand(body.value, role, loops) for role in (LHS, RHS))
        if unit.is_matrix:
            return self._matrix_step(sums, left, right, extents)
        return self._vector_step(sums, left, right, counts)

    def _operand(self, product: Any, role: str, loops: Mapping[str, Any]) -> _Access:
        (value,) = operands(product, role)
        (load,) = found(value, TensorLoad)
        return self._access(load.source, load.indices[0], loops)

    def _access(self, buffer: Any, index: Any, loops: Mapping[str, Any]) -> _Access:
        """How `index` depends on the loops of an instruction.

        Raises:
            ValueError: it is not linear in them.
        """
        variables = {role: loop.loop_var for role, loop in loops.items()}
        for loop in loops.values():
            self._analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))

        index = self._factored(index)

        def at(**values: int) -> Any:
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
        if not self._analyzer.can_prove_equal(rebuilt, index):
            raise ValueError(f"the index {index} is not linear in the loops of an instruction")
        return _Access(buffer, at, strides)

    def _factored(self, index: Any) -> Any:
        """The index with ``(g * a + b) // (g * c)`` as ``a // c``, and the remainder likewise, where 0 <= b < g."""

        def change(node: Any) -> Any:
            parts: dict[Any, Any] = {}
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

    def _with_parts(self, index: Any, parts: dict[Any, Any]) -> Any:
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

    def _zero(self, sums: _Access, register: int, vector: int, counts: tuple[int, int], unit: DotUnit) -> Any:
        if unit.is_matrix:
            return _call("llvm.x86.tilezero", _tile(register * counts[1] + vector))
        zero = tirx.Broadcast(tirx.FloatImm("float32", 0.0), unit.lanes)
        return tirx.BufferStore(
            sums.buffer, zero, [tirx.Ramp(sums.at(register=register, vector=vector), 1, unit.lanes)]
        )

    def _vector_step(self, sums: _Access, left: _Access, right: _Access, counts: tuple[int, int]) -> Any:
        statements = []
        for register in range(counts[0]):
            pair = tirx.BufferLoad(left.buffer, [tirx.Ramp(left.at(register=register), 1, 2)])
            for vector in range(counts[1]):
                row = tirx.Ramp(sums.at(register=register, vector=vector), 1, LANES)
                pairs = tirx.BufferLoad(right.buffer, [tirx.Ramp(right.at(vector=vector), 1, 2 * LANES)])
                value = tirx.call_pure_extern(
                    f"float32x{LANES}",
                    DOT_PAIRS,
                    tirx.BufferLoad(sums.buffer, [row]),
                    tirx.reinterpret("int32", pair),
                    tirx.reinterpret(f"int32x{LANES}", pairs),
                )
                statements.append(tirx.BufferStore(sums.buffer, value, [row]))
        return _sequence(statements)

    def _matrix_step(self, sums: _Access, left: _Access, right: _Access, extents: Mapping[str, int]) -> Any:
        registers, vectors = extents["register"], extents["vector"]
        depth = extents["group"] * extents["term"]
        first_left, first_right = registers * vectors, registers * vectors + registers
        left_stride = left.strides["row"] * _NARROW_BYTES
        right_stride = right.strides["group"] * _NARROW_BYTES
        statements = [
            _move("llvm.x86.tileloadd64", first_right + vector, right, right_stride, vector=vector)
            for vector in range(vectors)
        ]
        for register in range(registers):
            statements.append(
                _move("llvm.x86.tileloadd64", first_left + register, left, left_stride, register=register)
            )
            statements += [
                _call(
                    "llvm.x86.tdpbf16ps",
                    _tile(register * vectors + vector),
                    _tile(first_left + register),
                    _tile(first_right + vector),
                )
                for vector in range(vectors)
            ]
        sums_stride = sums.strides["row"] * _FLOAT_BYTES
        self._stores = [
            _move(
                "llvm.x86.tilestored64",
                register * vectors + vector,
                sums,
                sums_stride,
                register=register,
                vector=vector,
            )
            for register in range(registers)
            for vector in range(vectors)
        ]
        sizes = [(extents["row"], extents["lane"] * _FLOAT_BYTES)] * first_left
        sizes += [(extents["row"], depth * _NARROW_BYTES)] * registers
        sizes += [(extents["group"], extents["lane"] * extents["term"] * _NARROW_BYTES)] * vectors
        self._configuration = palette(sizes)
        return _sequence(statements)


def _role(loop: Any) -> str:
    role = ROLE.of(loop)
    assert role is not None
    return role


def palette(sizes: list[tuple[int, int]]) -> bytes:
    """The configuration of tiles by their rows and bytes a row.

    Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, LDTILECFG: palette 1; bytes a row as 16-bit
    numbers from byte 16, rows from byte 48.
    """
    data = bytearray(_PALETTE_BYTES)
    data[0] = 1
    for number, (rows, row_bytes) in enumerate(sizes):
        data[16 + 2 * number : 18 + 2 * number] = row_bytes.to_bytes(2, "little")
        data[48 + number] = rows
    return bytes(data)


def _sequence(statements: list[Any]) -> Any:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


def _set_up(configuration: bytes) -> list[Any]:
    """Loads a configuration of tiles, from the stack."""
    buffer = tirx.decl_buffer([_PALETTE_BYTES // 8], "int64", "tiles", scope="local")
    words = [int.from_bytes(configuration[at : at + 8], "little") for at in range(0, _PALETTE_BYTES, 8)]
    stores = [tirx.BufferStore(buffer, tirx.IntImm("int64", word), [index]) for index, word in enumerate(words)]
    address = tirx.address_of(tirx.BufferLoad(buffer, [0]))
    return [tirx.AllocBuffer(buffer), *stores, _call("llvm.x86.ldtilecfg", address)]


def _move(name: str, tile: int, place: _Access, stride: int, **values: int) -> Any:
    address = tirx.address_of(tirx.BufferLoad(place.buffer, [place.at(**values)]))
    return _call(name, _tile(tile), address, tirx.IntImm("int64", stride))


def _tile(number: int) -> Any:
    return tirx.IntImm("uint8", number)


def _call(name: str, *arguments: Any) -> Any:
    intrinsic = tirx.IntImm("uint32", codegen.llvm_lookup_intrinsic_id(name))
    return tirx.Evaluate(tirx.call_intrin("void", "tirx.call_llvm_intrin", intrinsic, *arguments))
