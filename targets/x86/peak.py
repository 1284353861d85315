"""The loops that multiply and add as fast as an x86-64 core can: in vectors, and with the units for narrow operands."""

from __future__ import annotations

from string import Template

from ..architecture import Level
from ..peak import PeakLoop, chains

_FLOAT_BITS = 32
_NARROWEST, _WIDEST = 128, 512
# Compilers halve vectors of 512 bits for many processors that have them.
FLAGS = ("-march=native", "-mprefer-vector-width=512")

# Four sums of tiles, of two and two operands: what eight registers hold. Each thread sets up its own tiles.
_TILES = Template(r"""
static void multiply_add(long count) {
    static const unsigned char tiles[64] = {
        [0] = 1,
        [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
        [48] = 16, 16, 16, 16, 16, 16, 16, 16,
    };
    static const char operand[1024];
    long stride = 64;
    __asm__ volatile("ldtilecfg %0" : : "m"(tiles));
    __asm__ volatile("tilezero %tmm0; tilezero %tmm1; tilezero %tmm2; tilezero %tmm3");
    __asm__ volatile(
        "tileloadd (%0,%1,1), %%tmm4; tileloadd (%0,%1,1), %%tmm5; tileloadd (%0,%1,1), %%tmm6;"
        "tileloadd (%0,%1,1), %%tmm7" : : "r"(operand), "r"(stride), "m"(operand));
    for (long i = 0; i < count; ++i)
        __asm__ volatile(
            "$product %tmm6, %tmm4, %tmm0; $product %tmm7, %tmm4, %tmm1;"
            "$product %tmm6, %tmm5, %tmm2; $product %tmm7, %tmm5, %tmm3");
    __asm__ volatile("tilerelease");
}
""")
_TILE_ROWS, _TILE_LANES, _TILE_BYTES = 16, 16, 64
_PERMISSION = "if (syscall(158 /* arch_prctl */, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18)) return 1;"


def multiply_adds(level: Level) -> PeakLoop:
    """Multiply-adds of float32 vectors."""
    registers = "v" if level.vector_bits == 512 else "x"
    # Assembly keeps each chain and both operands in registers, and in the loop; compilers may reload what is constant.
    if level.has_fma:  # a = x * a + y
        each = f'__asm__("vfmadd213ps %1, %2, %0" : "+{registers}"(a{{i}}) : "{registers}"(y), "{registers}"(x));'
    else:
        each = '__asm__("mulps %1, %0; addps %2, %0" : "+x"(a{i}) : "x"(x), "x"(y));'
    return chains(each, level.num_vector_registers, 2 * level.vector_bits // _FLOAT_BITS)


def pairs() -> PeakLoop:
    """vdpbf16ps: products of two bfloat16 a lane."""
    each = '__asm__("vdpbf16ps %1, %2, %0" : "+v"(a{i}) : "v"(x), "v"(y));'
    return chains(each, 32, 2 * 2 * 512 // _FLOAT_BITS)


def integer_quads(bits: int) -> PeakLoop:
    """vpdpbusd: products of four 8-bit integers a lane, in registers of so many bits."""
    prefix, registers = ("", "v") if bits == _WIDEST else ("%{vex%} ", "x")
    each = f'__asm__("{prefix}vpdpbusd %1, %2, %0" : "+{registers}"(a{{i}}) : "{registers}"(x), "{registers}"(y));'
    return chains(each, 32 if bits == _WIDEST else 16, 2 * 4 * bits // _FLOAT_BITS)


def integer_pairs(bits: int) -> PeakLoop:
    """pmaddwd and an addition: products of two 8-bit integers a lane, in registers of so many bits."""
    if bits == _NARROWEST:
        product = "movdqa %1, %%xmm15; pmaddwd %2, %%xmm15; paddd %%xmm15, %0"
    else:
        spare = "zmm15" if bits == _WIDEST else "ymm15"
        product = f"vpmaddwd %1, %2, %%{spare}; vpaddd %%{spare}, %0, %0"
    kind = "v" if bits == _WIDEST else "x"
    each = f'__asm__("{product}" : "+{kind}"(a{{i}}) : "{kind}"(x), "{kind}"(y) : "xmm15");'
    return chains(each, 32 if bits == _WIDEST else 16, 2 * 2 * bits // _FLOAT_BITS)


def tiles(product: str = "tdpbf16ps", operand_bytes: int = 2) -> PeakLoop:
    """Products of tiles."""
    terms = _TILE_BYTES // operand_bytes
    return PeakLoop(_TILES.substitute(product=product), 4 * 2 * _TILE_ROWS * _TILE_LANES * terms, _PERMISSION)
