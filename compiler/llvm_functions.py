"""Functions in LLVM IR that kernels call: instructions on types that TVM cannot name.

TVM has no bfloat16 in LLVM's sense: it stores 16-bit integers. These functions take and return vectors that it knows,
and LLVM inlines them. A kernel that calls some carries their text.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call

# (sums, a pair for all lanes, a pair a lane) -> sums + products of the pairs.
DOT_PAIRS = "tilewright_dot_pairs_bf16"
# 16 float32 -> 16 bfloat16, rounded to nearest, ties to even.
ROUND = "tilewright_round_bf16"
LANES = 16

_TEXTS = {
    DOT_PAIRS: f"""
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float>, <32 x bfloat>, <32 x bfloat>)
define <16 x float> @{DOT_PAIRS}(<16 x float> %sums, i32 %left, <16 x i32> %right) {{
  %one = insertelement <16 x i32> poison, i32 %left, i64 0
  %all = shufflevector <16 x i32> %one, <16 x i32> poison, <16 x i32> zeroinitializer
  %a = bitcast <16 x i32> %all to <32 x bfloat>
  %b = bitcast <16 x i32> %right to <32 x bfloat>
  %r = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float> %sums, <32 x bfloat> %a, <32 x bfloat> %b)
  ret <16 x float> %r
}}
""",
    ROUND: f"""
declare <16 x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.512(<16 x float>)
define <16 x i16> @{ROUND}(<16 x float> %value) {{
  %r = call <16 x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.512(<16 x float> %value)
  %i = bitcast <16 x bfloat> %r to <16 x i16>
  ret <16 x i16> %i
}}
""",
}
_IMPORT = "pragma_import_llvm"


def with_imports(function: Any) -> Any:
    """A lowered function with the text of the functions above that it calls."""
    called: dict[str, None] = {}

    def note(call: Any) -> None:
        if str(call.op.name) in ("tirx.call_extern", "tirx.call_pure_extern"):
            called[str(call.args[0].value)] = None

    tvm_ffi.structural_walk(function.body, (Call, note))
    text = "".join(_TEXTS[name] for name in called if name in _TEXTS)
    if not text:
        return function
    body = tirx.AttrStmt(tirx.IntImm("int32", 0), _IMPORT, tvm.ir.StringImm(text), function.body)
    return function.with_body(body)
