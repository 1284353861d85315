"""Helium's vectors of four numbers, as functions in C that `compiler/codegen/c_vectors.py` calls by their names.

Integers of 8 and 16 bits are loaded into lanes of 32 and stored from them. A comparison gives a mask of bits. Where NaN
may be compared only "greater" is asked, which is false for it.
"""

from __future__ import annotations

import re

from ..target import CVectors

_FLOAT, _INTEGER = "float32", "int32"
# Before an operand of a multiply-add is loaded: nothing is moved across it, else GCC loads all operands of a step at
# once, and most to the stack. Where a sum begins, nothing stays that was loaded before: what its end adds would take
# registers while it lasts.
_IN_ORDER = '__asm__ volatile("");'
_BINARY = {
    **{f"{name}_float32": f"a {sign} b" for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("div", "/"))},
    **{f"{name}_int32": f"a {sign} b" for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"))},
    **{f"{name}_int32": f"a {sign} b" for name, sign in (("and", "&"), ("or", "|"), ("xor", "^"))},
    "max_float32": "vpselq_f32(a, b, vcmpgtq_f32(a, b))",
    "min_float32": "vpselq_f32(a, b, vcmpgtq_f32(b, a))",
    "max_int32": "vmaxq_s32(a, b)",
    "min_int32": "vminq_s32(a, b)",
    "shift_left_int32": "vshlq_s32(a, b)",
    "shift_right_int32": "vshlq_s32(a, vnegq_s32(b))",
}
_COMPARED = {
    **{f"lt_{kind}": f"vcmpgtq_{suffix}(b, a)" for kind, suffix in ((_FLOAT, "f32"), (_INTEGER, "s32"))},
    **{f"le_{kind}": f"vcmpgeq_{suffix}(b, a)" for kind, suffix in ((_FLOAT, "f32"), (_INTEGER, "s32"))},
    **{f"gt_{kind}": f"vcmpgtq_{suffix}(a, b)" for kind, suffix in ((_FLOAT, "f32"), (_INTEGER, "s32"))},
    **{f"ge_{kind}": f"vcmpgeq_{suffix}(a, b)" for kind, suffix in ((_FLOAT, "f32"), (_INTEGER, "s32"))},
    **{f"eq_{kind}": f"vcmpeqq_{suffix}(a, b)" for kind, suffix in ((_FLOAT, "f32"), (_INTEGER, "s32"))},
    **{f"ne_{kind}": f"vcmpneq_{suffix}(a, b)" for kind, suffix in ((_FLOAT, "f32"), (_INTEGER, "s32"))},
}
_LOADED = {
    "float32": "vldrwq_f32(at)",
    "int32": "vldrwq_s32(at)",
    "int16": "vldrhq_s32(at)",
    "uint16": "(int32x4_t)vldrhq_u32(at)",
    "int8": "vldrbq_s32(at)",
    "uint8": "(int32x4_t)vldrbq_u32(at)",
}
_STORED = {
    "float32": "vstrwq_f32(at, x)",
    "int32": "vstrwq_s32(at, x)",
    "int16": "vstrhq_s32(at, x)",
    "uint16": "vstrhq_u32(at, (uint32x4_t)x)",
    "int8": "vstrbq_s32(at, x)",
    "uint8": "vstrbq_u32(at, (uint32x4_t)x)",
}
_C = {"float32": "float", **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32)}}
_OTHER = (
    "v_float32 v_all_float32(float x) { return vdupq_n_f32(x); }",
    "v_int32 v_all_int32(int32_t x) { return vdupq_n_s32(x); }",
    'v_float32 v_begin_float32(float x) { __asm__ volatile("" ::: "memory"); return vdupq_n_f32(x); }',
    "v_float32 v_of_float32(float a, float b, float c, float d) { return (v_float32){a, b, c, d}; }",
    "v_int32 v_of_int32(int32_t a, int32_t b, int32_t c, int32_t d) { return (v_int32){a, b, c, d}; }",
    "v_float32 v_fma_float32(v_float32 a, v_float32 b, v_float32 c) { return vfmaq_f32(c, a, b); }",
    "v_float32 v_fma_all_float32(v_float32 a, float b, v_float32 c) { return vfmaq_n_f32(c, a, b); }",
    "v_float32 v_cast_int32_float32(v_int32 x) { return vcvtq_f32_s32(x); }",
    "v_int32 v_cast_float32_int32(v_float32 x) { return vcvtq_s32_f32(x); }",
    "v_int32 v_bits_float32_int32(v_float32 x) { return vreinterpretq_s32_f32(x); }",
    "v_float32 v_bits_int32_float32(v_int32 x) { return vreinterpretq_f32_s32(x); }",
    "v_int32 v_wrap_int8(v_int32 x) { return vshrq_n_s32(vshlq_n_s32(x, 24), 24); }",
    "v_int32 v_wrap_uint8(v_int32 x) { return x & vdupq_n_s32(0xFF); }",
    "v_float32 v_select_float32(v_bool p, v_float32 a, v_float32 b) { return vpselq_f32(a, b, p); }",
    "v_int32 v_select_int32(v_bool p, v_int32 a, v_int32 b) { return vpselq_s32(a, b, p); }",
    "v_float32 v_floor_float32(v_float32 x) { return vrndmq_f32(x); }",
    "v_float32 v_ceil_float32(v_float32 x) { return vrndpq_f32(x); }",
    "v_float32 v_trunc_float32(v_float32 x) { return vrndq_f32(x); }",
    "v_float32 v_rint_float32(v_float32 x) { return vrndnq_f32(x); }",
    "v_float32 v_fabs_float32(v_float32 x) { return vabsq_f32(x); }",
)


def _definitions() -> list[str]:
    lines = list(_OTHER)
    for name, value in _BINARY.items():
        kind = f"v_{name.rpartition('_')[2]}"
        lines.append(f"{kind} v_{name}({kind} a, {kind} b) {{ return {value}; }}")
    for name, value in _COMPARED.items():
        kind = f"v_{name.rpartition('_')[2]}"
        lines.append(f"v_bool v_{name}({kind} a, {kind} b) {{ return {value}; }}")
    for name, value in _LOADED.items():
        kind = "v_float32" if name == _FLOAT else "v_int32"
        lines.append(f"{kind} v_load_{name}(const {_C[name]} *at) {{ return {value}; }}")
        lines.append(f"{kind} v_operand_{name}(const {_C[name]} *at) {{ {_IN_ORDER} return {value}; }}")
    for name, value in _STORED.items():
        kind = "v_float32" if name == _FLOAT else "v_int32"
        lines.append(f"void v_store_{name}({_C[name]} *at, {kind} x) {{ {value}; }}")
    return [f"static inline {line}" for line in lines]


_TEXT = "\n".join(
    [
        "#include <arm_mve.h>",
        "typedef float32x4_t v_float32;",
        "typedef int32x4_t v_int32;",
        "typedef mve_pred16_t v_bool;",
        *_definitions(),
    ]
)
VECTORS = CVectors(lanes=4, text=_TEXT, functions=frozenset(re.findall(r"\b(v_\w+)\(", _TEXT)))
