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

# (16 sums, a pair for all lanes, a pair a lane) -> sums + products of the pairs.
DOT_PAIRS = "tilewright_dot_pairs_bf16"
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
}
_ROUND = "tilewright_round_bf16"
_LIBM = "tilewright_libm"
_IMPORT = "pragma_import_llvm"
_DECLARE = "declare "


def round_function(lanes: int) -> str:
    """The function that rounds so many float32 to bfloat16: to nearest, ties to even, as the processor does."""
    return f"{_ROUND}_x{lanes}"


def round_text(lanes: int) -> str:
    """Its text: LLVM has an instruction for as many lanes as there are."""
    wide, narrow, bits = (f"<{lanes} x {kind}>" for kind in ("float", "bfloat", "i16"))
    if lanes == 1:
        wide, narrow, bits = "float", "bfloat", "i16"
    return f"""
define {bits} @{round_function(lanes)}({wide} %value) {{
  %r = fptrunc {wide} %value to {narrow}
  %i = bitcast {narrow} %r to {bits}
  ret {bits} %i
}}
"""


def libm_call(name: str, x: Any) -> Any:
    """A function of libm, of each lane of a float32 or a float64."""
    dtype, _, lanes = str(x.ty.dtype).partition("x")
    symbol = f"{name}f" if dtype == "float32" else name
    return tirx.call_pure_extern(str(x.ty.dtype), f"{_LIBM}_{symbol}_x{lanes}" if lanes else symbol, x)


def _libm_text(symbol: str, lanes: int) -> str:
    kind = "float" if symbol.endswith("f") and symbol != "erf" else "double"
    vector = f"<{lanes} x {kind}>"
    lines = [f"declare {kind} @{symbol}({kind})", f"define {vector} @{_LIBM}_{symbol}_x{lanes}({vector} %x) {{"]
    result = "poison"
    for lane in range(lanes):
        lines += [
            f"  %e{lane} = extractelement {vector} %x, i64 {lane}",
            f"  %r{lane} = call {kind} @{symbol}({kind} %e{lane})",
            f"  %v{lane} = insertelement {vector} {result}, {kind} %r{lane}, i64 {lane}",
        ]
        result = f"%v{lane}"
    return "\n".join([*lines, f"  ret {vector} {result}", "}", ""])


def text_of(name: str) -> str:
    """The text of a function by its name; empty for those that are defined elsewhere."""
    if name.startswith(f"{_ROUND}_x"):
        return round_text(int(name.removeprefix(f"{_ROUND}_x")))
    if name.startswith(f"{_LIBM}_"):
        symbol, _, lanes = name.removeprefix(f"{_LIBM}_").rpartition("_x")
        return _libm_text(symbol, int(lanes))
    return _TEXTS.get(name, "")


def with_imports(function: Any) -> Any:
    """A lowered function with the text of the functions above that it calls."""
    called: dict[str, None] = {}

    def note(call: Any) -> None:
        if str(call.op.name) in ("tirx.call_extern", "tirx.call_pure_extern"):
            called[str(call.args[0].value)] = None

    tvm_ffi.structural_walk(function.body, (Call, note))
    lines = [line for name in called for line in text_of(name).splitlines()]
    if not lines:
        return function
    declarations = dict.fromkeys(line for line in lines if line.startswith(_DECLARE))  # which functions share
    text = "\n".join([*declarations, *(line for line in lines if not line.startswith(_DECLARE)), ""])
    body = tirx.AttrStmt(tirx.IntImm("int32", 0), _IMPORT, tvm.ir.StringImm(text), function.body)
    return function.with_body(body)
