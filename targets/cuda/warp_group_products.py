"""How four warps multiply at once: wgmma reads both operands from memory that a block shares, by itself.

An instruction multiplies 64 rows of the first operand with up to 256 columns of the second, 32 bytes of k; a step is
the 128 bytes of k that a line of shared memory has. Sums are in registers: lane 4 g + q of warp w has those of rows
16 w + g and 16 w + g + 8, and of two columns of each eight, 2 q and 2 q + 1. Lines of both operands lie as they are,
the 16-byte units of a line exchanged by its number among eight: instructions find what is behind the first line.

Operands are multiplied as they lie there, so float32 would be cut to tf32, not rounded: for that there is mma.sync.

Products are asynchronous. Those of a step may be on the way when those of the next begin (`LATE`); behind the loop over
k all are waited for, and only then may sums be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from ...ir_types import Scalar, Stmt
from ..grid import TILE_LINE_BYTES
from ..instructions import Emitted, Operand
from .warp_products import ROUND, zero_sums
from .warp_registers import called

LANES_OF_GROUP, STEP_BYTES, INSTRUCTION_BYTES = 128, TILE_LINE_BYTES, 32
MOST_COLUMNS = 256
_BEGIN, _END, _FINISH, _HELD = "begin_products", "end_products", "finish_products", "hold_sum_"
_DESCRIBED = "1ull << 62 | 64ull << 32 | 1ull << 16"  # exchanged by 128 bytes; eight lines are 64 units of 16 bytes


@dataclass(frozen=True)
class WarpGroupProducts:
    """A dtype's instructions.

    Attributes:
        name: of the functions that multiply, but for the columns.
        kind: the instruction's, behind its shape.
        element_bytes: of an operand.
        accumulator: the dtype of sums.
        scales: what the instruction is told beside its operands: that sums are added to, and how operands lie.
    """

    name: str
    kind: str
    element_bytes: int
    accumulator: str
    scales: str
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets the sums of a thread to zero."""
        return zero_sums(sums, extents, self.accumulator)

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Begins the products of a step, and waits for those of the step before it."""
        columns = 8 * extents["vector"]
        results = [_sums(sums, register, extents) for register in range(extents["register"])]
        step = [called(_BEGIN)]
        step += [
            called(f"{self.name}_{columns}", *each, _address(lhs, register=register), _address(rhs))
            for register, each in enumerate(results)
        ]
        held = [called(f"{_HELD}{self.accumulator}", value) for each in results for value in each]
        return Emitted((*step, called(_END)), after_sums=(called(_FINISH), *held))

    def rounding(self, lanes: int) -> str:
        """The function that rounds a float32 to bfloat16, which is that of a warp's instructions."""
        return ROUND

    def text_of(self, function: str) -> str:
        """The text of a function that is called."""
        name, _, columns = function.rpartition("_")
        return self._text(int(columns)) if name == self.name else _TEXTS.get(function, "")

    def _text(self, columns: int) -> str:
        count, kind = columns // 2, {"float32": ("float", "f"), "int32": ("int32_t", "r")}[self.accumulator]
        depth = INSTRUCTION_BYTES // self.element_bytes
        given = ", ".join(f"{kind[0]} &c{at}" for at in range(count))
        places = ", ".join(f"%{at}" for at in range(count))
        operands = ", ".join(f'"+{kind[1]}"(c{at})' for at in range(count))
        return f"""static __device__ inline void {self.name}_{columns}({given}, const void *a, const void *b) {{
  const uint64_t kind = {_DESCRIBED};
  const uint64_t left = kind | ((uint32_t)__cvta_generic_to_shared(a) & 0x3ffff) >> 4;
  const uint64_t right = kind | ((uint32_t)__cvta_generic_to_shared(b) & 0x3ffff) >> 4;
#pragma unroll
  for (int step = 0; step < {STEP_BYTES // INSTRUCTION_BYTES}; ++step)
    asm volatile("wgmma.mma_async.sync.aligned.m64n{columns}k{depth}.{self.kind} "
                 "{{{places}}}, %{count}, %{count + 1}, {self.scales};"
                 : {operands} : "l"(left + 2 * step), "l"(right + 2 * step));
}}"""


def _sums(sums: Operand, register: int, extents: Mapping[str, int]) -> list[Scalar]:
    """The sums of an instruction in a thread, in the order in which it names them."""
    return [
        tirx.BufferLoad(sums.buffer, [sums.at(register=register, vector=vector, row=row, lane=lane)])
        for vector in range(extents["vector"])
        for row in range(extents["row"])
        for lane in range(extents["lane"])
    ]


def _address(operand: Operand, **place: int) -> Scalar:
    """Where an instruction's first line is, the same for all of its lanes."""
    return tirx.address_of(tirx.BufferLoad(operand.buffer, [operand.at(**place)]))


def _statement(name: str, *instructions: str) -> str:
    lines = "\n".join(f'  asm volatile("{each}" : : : "memory");' for each in instructions)
    return f"static __device__ inline void {name}() {{\n{lines}\n}}"


def _held(accumulator: str, kind: str, constraint: str) -> str:
    """What keeps a sum from being read before all products are there."""
    return f"""static __device__ inline void {_HELD}{accumulator}({kind} &sum) {{
  asm volatile("" : "+{constraint}"(sum) : : "memory");
}}"""


_TEXTS = {
    _BEGIN: _statement(_BEGIN, "wgmma.fence.sync.aligned;"),
    _END: _statement(_END, "wgmma.commit_group.sync.aligned;", "wgmma.wait_group.sync.aligned 1;"),
    _FINISH: _statement(_FINISH, "wgmma.wait_group.sync.aligned 0;"),
    f"{_HELD}float32": _held("float32", "float", "f"),
    f"{_HELD}int32": _held("int32", "int32_t", "r"),
}
FLOAT16 = WarpGroupProducts("multiply_group_float16", "f32.f16.f16", 2, "float32", "1, 1, 1, 0, 0")
BFLOAT16 = WarpGroupProducts("multiply_group_bfloat16", "f32.bf16.bf16", 2, "float32", "1, 1, 1, 0, 0")
INT8 = WarpGroupProducts("multiply_group_int8", "s32.s8.s8", 1, "int32", "1")
