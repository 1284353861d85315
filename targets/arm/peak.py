"""The loops that multiply and add in float32 as fast as NEON can."""

from __future__ import annotations

from ..architecture import Level
from ..peak import PeakLoop, chains

_FLOAT_BITS = 32


def multiply_adds(level: Level) -> PeakLoop:
    """With 64 bits: a = a + x * y."""
    each = '__asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(a{i}) : "w"(x), "w"(y));'
    return chains(each, level.num_vector_registers, 2 * level.vector_bits // _FLOAT_BITS)


def multiply_adds_32(level: Level) -> PeakLoop:
    """With 32 bits: fused where the level has it."""
    name = "vfma" if level.has_fma else "vmla"
    each = f'__asm__("{name}.f32 %q0, %q1, %q2" : "+w"(a{{i}}) : "w"(x), "w"(y));'
    return chains(each, level.num_vector_registers, 2 * level.vector_bits // _FLOAT_BITS)
