"""Where x86 processors say that they have a feature: bits of cpuid, and the register state it needs saved.

Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID; volume 1, chapter 13, XCR0. Names are
those of GCC's ``__builtin_cpu_supports``, which `Target.required_features` uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import CompilerError

_EAX, _EBX, _ECX, _EDX = range(4)

# Registers of the operating system's state: XMM and YMM; opmask and ZMM besides; tiles.
_AVX_STATE = 0x6
_AVX512_STATE = _AVX_STATE | 0xE0
_AMX_STATE = 0x60000


@dataclass(frozen=True)
class CpuBit:
    """A feature's bit: `index` 0 to 3 is EAX to EDX; `state` are the bits of XCR0 that it needs."""

    leaf: int
    subleaf: int
    index: int
    bit: int
    state: int = 0


def _rows(leaf: int, subleaf: int, index: int, state: int, **bits: int) -> dict[str, CpuBit]:
    return {
        name.replace("sse4_", "sse4.").replace("amx_", "amx-"): CpuBit(leaf, subleaf, index, bit, state)
        for name, bit in bits.items()
    }


CPU_BITS = {
    **_rows(1, 0, _EDX, 0, cmov=15, mmx=23, sse=25, sse2=26),
    **_rows(1, 0, _ECX, 0, sse3=0, pclmul=1, ssse3=9, sse4_1=19, sse4_2=20, movbe=22, popcnt=23, aes=25),
    **_rows(1, 0, _ECX, _AVX_STATE, fma=12, avx=28, f16c=29),
    **_rows(7, 0, _EBX, 0, bmi=3, bmi2=8, adx=19),
    **_rows(7, 0, _EBX, _AVX_STATE, avx2=5),
    **_rows(7, 0, _EBX, _AVX512_STATE, avx512f=16, avx512dq=17, avx512ifma=21, avx512cd=28, avx512bw=30, avx512vl=31),
    **_rows(7, 0, _ECX, 0, gfni=8),
    **_rows(7, 0, _ECX, _AVX_STATE, vaes=9, vpclmulqdq=10),
    **_rows(7, 0, _ECX, _AVX512_STATE, avx512vbmi=1, avx512vbmi2=6, avx512vnni=11, avx512bitalg=12, avx512vpopcntdq=14),
    **_rows(7, 0, _EDX, _AVX512_STATE, avx5124vnniw=2, avx5124fmaps=3, avx512vp2intersect=8, avx512fp16=23),
    **_rows(7, 0, _EDX, _AMX_STATE, amx_bf16=22, amx_tile=24, amx_int8=25),
    **_rows(7, 1, _EAX, _AVX_STATE, avxvnni=4),
    **_rows(7, 1, _EAX, _AVX512_STATE, avx512bf16=5),
    **_rows(0x80000001, 0, _ECX, 0, lzcnt=5),
}


def cpu_bits(features: Sequence[str]) -> tuple[CpuBit, ...]:
    """The bits of the features a target requires.

    Raises:
        CompilerError: a feature is not in the table, so the library could not check for it.
    """
    unknown = [name for name in features if name not in CPU_BITS]
    if unknown:
        raise CompilerError("the target requires features that no library knows how to check", details=unknown)
    return tuple(CPU_BITS[name] for name in features)
