"""Registers of a warp's instructions in TensorIR: how they are loaded from shared memory, packed, and passed on."""

from __future__ import annotations

from tvm import tirx

from ...ir_types import Buffer, Scalar, Stmt

REGISTER = "uint32"
CHUNK_BYTES = 16  # that ldmatrix takes of a lane
_TURNED = "_turned"


def registers(name: str, count: int) -> Buffer:
    """So many."""
    return tirx.decl_buffer([count], REGISTER, name, scope="local", layout=None)


def elements(buffer: Buffer, first: int, count: int) -> list[Scalar]:
    """Some of them."""
    return [tirx.BufferLoad(buffer, [first + at]) for at in range(count)]


def called(function: str, *arguments: Scalar) -> Stmt:
    """A call of a function that changes what it is given."""
    return tirx.Evaluate(tirx.call_extern("int32", function, *arguments))


def loaded(into: Buffer, first: int, count: int, source: Buffer, place: Scalar, *, turned: bool = False) -> Stmt:
    """Loads so many 8 x 8 matrices of 16 bits; `place` is that of a row, another one for each lane.

    Args:
        turned: whether rows become columns.
    """
    address = tirx.address_of(tirx.BufferLoad(source, [place]))
    return called(f"load_matrices_{count}{_TURNED if turned else ''}", *elements(into, first, count), address)


def packed(dtype: str, into: Scalar, low: Scalar, high: Scalar) -> Stmt:
    """Two float32 as one register of a dtype of 16 bits."""
    return called(f"pack_{dtype}", into, low, high)


def _load_text(count: int, turned: str) -> str:
    names = [f"r{at}" for at in range(count)]
    given = ", ".join(f"uint32_t &{name}" for name in names)
    places = ", ".join(f"%{at}" for at in range(count))
    outputs = ", ".join(f'"=r"({name})' for name in names)
    kind = ".trans" if turned else ""
    return f"""static __device__ inline void load_matrices_{count}{turned}({given}, const void *row) {{
  asm volatile("ldmatrix.sync.aligned.m8n8.x{count}{kind}.shared.b16 {{{places}}}, [%{count}];"
               : {outputs} : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}}"""


_PACK = "static __device__ inline void pack_{}(uint32_t &x, float low, float high) {{\n{}\n}}"
_PACK_FLOAT16 = """#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
#else
  uint16_t first, second;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(first) : "f"(low));
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(second) : "f"(high));
  x = first | (uint32_t)second << 16;
#endif"""
_PACK_BFLOAT16 = '  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));'
TEXTS = {
    **{f"load_matrices_{count}{turned}": _load_text(count, turned) for count in (2, 4) for turned in ("", _TURNED)},
    "pack_float16": _PACK.format("float16", _PACK_FLOAT16),
    "pack_bfloat16": _PACK.format("bfloat16", _PACK_BFLOAT16),
}
