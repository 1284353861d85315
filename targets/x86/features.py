"""Features of x86-64 processors: LLVM's name, Linux's, the bit of cpuid, and which of them generated code may use.

Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID, and volume 1, chapter 13, XCR0;
AMD64 Architecture Programmer's Manual, volume 3, appendix E. Linux's names: arch/x86/include/asm/cpufeatures.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..features import Feature, FeatureTable

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


@dataclass(frozen=True)
class CpuidFeature(Feature):
    """A row of the table; `bit` is where the processor tells of it."""

    bit: CpuBit


def _rows(leaf: int, subleaf: int, index: int, state: int, generated: bool, **names: int) -> list[CpuidFeature]:
    """Rows of one register of cpuid; names as LLVM's, with _ for the marks in them."""
    rows = []
    for name, bit in names.items():
        llvm = name.replace("sse4_", "sse4.").replace("amx_", "amx-")
        rows.append(CpuidFeature(llvm, _LINUX.get(llvm, llvm), generated, CpuBit(leaf, subleaf, index, bit, state)))
    return rows


# Linux's names that differ from LLVM's; empty: the kernel knows the feature and does not list it.
_LINUX = {
    "amx-bf16": "amx_bf16",
    "amx-complex": "",
    "amx-fp16": "",
    "amx-int8": "amx_int8",
    "amx-tile": "amx_tile",
    "avx5124fmaps": "avx512_4fmaps",
    "avx5124vnniw": "avx512_4vnniw",
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512fp16": "avx512_fp16",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avxifma": "",
    "avxneconvert": "",
    "avxvnni": "avx_vnni",
    "avxvnniint16": "",
    "avxvnniint8": "",
    "bmi": "bmi1",
    "lzcnt": "abm",
    "pclmul": "pclmulqdq",
    "prfchw": "3dnowprefetch",
    "sha": "sha_ni",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
}

_EXTENDED = 0x80000001

# What code is generated for wherever the CPU has it makes float code faster. Every further feature would keep libraries
# from machines whose hypervisor hides it, and arithmetic in float16 (avx512fp16) rounds differently.
ROWS = {
    row.name: row
    for row in (
        *_rows(1, 0, _ECX, 0, True, sse3=0, ssse3=9, sse4_1=19, sse4_2=20, popcnt=23),
        *_rows(1, 0, _ECX, 0, False, pclmul=1, cx16=13, movbe=22, aes=25),
        *_rows(1, 0, _ECX, _AVX_STATE, True, fma=12, avx=28, f16c=29),
        *_rows(7, 0, _EBX, 0, True, bmi=3, bmi2=8),
        *_rows(7, 0, _EBX, 0, False, adx=19, sha=29),
        *_rows(7, 0, _EBX, _AVX_STATE, True, avx2=5),
        *_rows(7, 0, _EBX, _AVX512_STATE, True, avx512f=16, avx512dq=17, avx512cd=28, avx512bw=30, avx512vl=31),
        *_rows(7, 0, _EBX, _AVX512_STATE, False, avx512ifma=21),
        *_rows(7, 0, _ECX, 0, False, gfni=8),
        *_rows(7, 0, _ECX, _AVX_STATE, False, vaes=9, vpclmulqdq=10),
        *_rows(7, 0, _ECX, _AVX512_STATE, True, avx512vbmi=1),
        *_rows(7, 0, _ECX, _AVX512_STATE, False, avx512vbmi2=6, avx512vnni=11, avx512bitalg=12, avx512vpopcntdq=14),
        *_rows(7, 0, _EDX, _AVX512_STATE, False, avx5124vnniw=2, avx5124fmaps=3, avx512vp2intersect=8, avx512fp16=23),
        *_rows(7, 0, _EDX, _AMX_STATE, False, amx_bf16=22, amx_tile=24, amx_int8=25),
        *_rows(7, 1, _EAX, _AVX_STATE, False, avxvnni=4, avxifma=23),
        *_rows(7, 1, _EAX, _AVX512_STATE, False, avx512bf16=5),
        *_rows(7, 1, _EAX, _AMX_STATE, False, amx_fp16=21),
        *_rows(7, 1, _EDX, _AVX_STATE, False, avxvnniint8=4, avxneconvert=5, avxvnniint16=10),
        *_rows(7, 1, _EDX, _AMX_STATE, False, amx_complex=8),
        *_rows(_EXTENDED, 0, _ECX, 0, True, lzcnt=5),
        *_rows(_EXTENDED, 0, _ECX, 0, False, sse4a=6, prfchw=8, tbm=21),
        *_rows(_EXTENDED, 0, _ECX, _AVX_STATE, False, xop=11, fma4=16),
    )
}

# LLVM lists among the features what makes code faster on a processor and runs on all.
_TUNING_KINDS = ("fast-", "faster-", "slow-", "false-deps-", "no-bypass-", "prefer-", "tuning-", "use-", "lea-", "idiv")
_TUNING = frozenset(
    {
        "allow-light-256-bit",
        "branch-hint",
        "branchfusion",
        "macrofusion",
        "pad-short-functions",
        "sbb-dep-breaking",
        "vzeroupper",
    }
)


def is_tuning(name: str) -> bool:
    """Whether a feature of LLVM's stands for no instructions."""
    return name in _TUNING or name.startswith(_TUNING_KINDS)


FEATURES = FeatureTable(
    rows=ROWS,
    baseline=frozenset({"64bit", "64bit-mode", "cmov", "cx8", "fxsr", "mmx", "nopl", "sse", "sse2", "x87"}),
    needed=frozenset({"64bit", "64bit-mode", "sse", "sse2"}),
    is_tuning=is_tuning,
)
