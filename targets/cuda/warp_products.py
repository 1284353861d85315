"""How a warp multiplies on tensor cores: ldmatrix brings operands from memory that a block shares, mma.sync multiplies.

A step is so many pieces of 16 rows of the first operand by so many of 8 columns of the second, all of 32 bytes of k.
An instruction leaves to lane 4 g + q of a warp the sums of rows g and g + 8 and of columns 2 q and 2 q + 1. Which rows
of a tile these are is free: those that lie side by side in C belong to one thread here, two a piece, so that each lane
has a tile of C of its own, as threads have that multiply by themselves.

ldmatrix takes from each lane the address of 16 bytes: from lanes 0 to 7 those of eight rows for the first register, and
so on. Addresses are linear in the places of lanes; `compiler/lowering/copies_ahead.py` says where they are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from ...ir_types import Buffer, Scalar, Stmt
from ..instructions import Emitted, Operand
from .held_products import HELD, held_products
from .warp_registers import CHUNK_BYTES, TEXTS, called, elements, loaded, registers


def zero_sums(sums: Operand, extents: Mapping[str, int], accumulator: str) -> tuple[Stmt, ...]:
    """Sets the sums of a thread to zero, one after the other."""
    zero = tirx.const(0, accumulator)
    return tuple(
        tirx.BufferStore(sums.buffer, zero, [sums.at(register=register, row=row, vector=vector, lane=lane)])
        for register in range(extents["register"])
        for row in range(extents["row"])
        for vector in range(extents["vector"])
        for lane in range(extents["lane"])
    )


@dataclass(frozen=True)
class WarpProducts:
    """A dtype's instructions.

    Attributes:
        function: that multiplies.
        text: it, in CUDA C++.
        dtype: of an operand.
        element_bytes: of one of its elements.
        accumulator: the dtype of sums.
        rounds: the function that rounds what a register holds of an operand; empty where there is nothing to round.
    """

    function: str
    text: str
    dtype: str
    element_bytes: int
    accumulator: str
    rounds: str = ""
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets the sums of a thread to zero."""
        return zero_sums(sums, extents, self.accumulator)

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Loads all pieces of both operands, and multiplies each of one with each of the other.

        The first may be what an instruction has left in registers, the second then has k along its columns.
        """
        if lhs.buffer.scope() == HELD:
            return held_products(self.function, self.rounds, self.dtype, sums, lhs, rhs, extents)
        pieces, panels = extents["register"], extents["vector"]
        left, right = registers("rows", 4 * pieces), registers("columns", 2 * panels)
        step: list[Stmt] = [tirx.AllocBuffer(left), tirx.AllocBuffer(right)]
        step += [loaded(left, 4 * piece, 4, lhs.buffer, self._row(lhs, piece)) for piece in range(pieces)]
        step += self._columns(right, rhs, panels)
        if self.rounds:
            held = [*elements(left, 0, 4 * pieces), *elements(right, 0, 2 * panels)]
            step += [called(self.rounds, each) for each in held]
        for piece in range(pieces):
            for panel in range(panels):
                results = [
                    tirx.BufferLoad(sums.buffer, [sums.at(register=piece, row=row, vector=panel, lane=lane)])
                    for row in (0, 1)
                    for lane in (0, 1)
                ]
                operands = [*elements(left, 4 * piece, 4), *elements(right, 2 * panel, 2)]
                step.append(called(self.function, *results, *operands))
        return Emitted(tuple(step))

    @property
    def _chunk(self) -> int:
        return CHUNK_BYTES // self.element_bytes

    def _row(self, lhs: Operand, piece: int) -> Scalar:
        """Where a lane finds its bytes of a piece of the first operand: rows g, rows g + 8, both of the next bytes."""
        lane = lhs.thread
        apart = lhs.at(thread=4) - lhs.at()  # rows of lanes 4 g and 4 (g + 1)
        inside = lane % 8 * apart + lane // 8 % 2 * lhs.strides["row"]
        return lhs.at(register=piece) + inside + lane // 16 * self._chunk

    def _columns(self, right: Buffer, rhs: Operand, panels: int) -> Iterator[Stmt]:
        """Loads the second operand: eight columns, the same of the next bytes, and both of the next piece."""
        lane = rhs.thread
        apart = rhs.at(thread=1) - rhs.at()  # columns of lanes q and q + 1
        inside = lane % 8 // 2 * apart + lane % 2 * rhs.strides["lane"] + lane // 8 % 2 * self._chunk
        for panel in range(0, panels - 1, 2):
            beside = rhs.at(vector=panel + 1) - rhs.at(vector=panel)
            yield loaded(right, 2 * panel, 4, rhs.buffer, rhs.at(vector=panel) + inside + lane // 16 * beside)
        if panels % 2:
            yield loaded(right, 2 * (panels - 1), 2, rhs.buffer, rhs.at(vector=panels - 1) + inside)

    def rounding(self, lanes: int) -> str:
        """The function that rounds a float32 to bfloat16."""
        return ROUND

    def text_of(self, function: str) -> str:
        """The text of a function that is called."""
        return self.text if function == self.function else _TEXTS.get(function, "")


def _instruction(kind: str, sums: str, left: tuple[str, ...], right: tuple[str, ...]) -> str:
    """One mma: sums are read and written, operands are registers by their names."""
    places = [f"%{at}" for at in range(4 + len(left) + len(right))]
    groups = (places[:4], places[4 : 4 + len(left)], places[4 + len(left) :], places[:4])
    spelled = ", ".join(f"{{{', '.join(group)}}}" for group in groups)
    results = ", ".join(f'"+{sums}"(c{at})' for at in range(4))
    operands = ", ".join(f'"r"({name})' for name in (*left, *right))
    return f'  asm volatile("mma.sync.aligned.{kind} {spelled};"\n               : {results} : {operands});'


_A, _B = ("a0", "a1", "a2", "a3"), ("b0", "b1")


def _function(name: str, c: str, body: str) -> str:
    results = ", ".join(f"{c} &c{at}" for at in range(4))
    operands = ", ".join(f"uint32_t {register}" for register in (*_A, *_B))
    return f"static __device__ inline void {name}({results}, {operands}) {{\n{body}\n}}"


def _before(whole: str, *halves: str) -> str:
    """An instruction that GPUs before the A100 have in two halves of k."""
    return "\n".join(["#if __CUDA_ARCH__ >= 800", whole, "#else", *halves, "#endif"])


_HALVES = ((("a0", "a1"), ("b0",)), (("a2", "a3"), ("b1",)))
ROUND, _ROUND_TF32 = "round_to_bfloat16", "round_to_tf32"
_TEXTS = {
    **TEXTS,
    ROUND: f"""static __device__ inline uint16_t {ROUND}(float x) {{
  uint16_t y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}}""",
    _ROUND_TF32: f"""static __device__ inline void {_ROUND_TF32}(uint32_t &x) {{
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(x) : "f"(__uint_as_float(x)));
}}""",
}


def _floats(dtype: str, kind: str, rounds: str = "", halves: tuple[str, ...] = ()) -> WarpProducts:
    name, whole = f"multiply_{dtype}", _instruction(kind, "f", _A, _B)
    body = _before(whole, *halves) if halves else whole
    return WarpProducts(name, _function(name, "float", body), dtype, 4 if rounds else 2, "float32", rounds)


FLOAT16 = _floats(
    "float16",
    "m16n8k16.row.col.f32.f16.f16.f32",
    halves=tuple(_instruction("m16n8k8.row.col.f32.f16.f16.f32", "f", *half) for half in _HALVES),
)
BFLOAT16 = _floats("bfloat16", "m16n8k16.row.col.f32.bf16.bf16.f32")
TF32 = _floats("tf32", "m16n8k8.row.col.f32.tf32.tf32.f32", _ROUND_TF32)


def _integers() -> WarpProducts:
    """GPUs before the A100 multiply 8 rows by 16 terms at a time."""
    rows = (
        ("c0", "c1", ("a0", "b0")),
        ("c2", "c3", ("a1", "b0")),
        ("c0", "c1", ("a2", "b1")),
        ("c2", "c3", ("a3", "b1")),
    )
    quarters = [
        f'  asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {{%0, %1}}, {{%2}}, {{%3}}, {{%0, %1}};"\n'
        f'               : "+r"({first}), "+r"({second}) : "r"({a}), "r"({b}));'
        for first, second, (a, b) in rows
    ]
    whole = _instruction("m16n8k32.row.col.s32.s8.s8.s32", "r", _A, _B)
    text = _function("multiply_int8", "int32_t", _before(whole, *quarters))
    return WarpProducts("multiply_int8", text, "int8", 1, "int32")


INT8 = _integers()
