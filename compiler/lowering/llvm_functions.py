"""Functions in LLVM IR that kernels call: those of libm on vectors, and instructions on types that TVM cannot name.

They take and return vectors that TVM knows, and LLVM inlines them. A kernel that calls some carries their text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from ...ir_types import PrimFunc, Scalar
from ...targets.instructions import Instructions
from . import kept_loops

_LIBM = "tilewright_libm"
_IMPORT = "pragma_import_llvm"
_DECLARE = "declare "


def libm_call(name: str, x: Scalar) -> Scalar:
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


def _text_of(name: str, units: Iterable[Instructions]) -> str:
    """The text of a function by its name; empty for those that are defined elsewhere."""
    if name.startswith(f"{_LIBM}_"):
        symbol, _, lanes = name.removeprefix(f"{_LIBM}_").rpartition("_x")
        return _libm_text(symbol, int(lanes))
    if name in kept_loops.TEXTS:
        return kept_loops.TEXTS[name]
    return next(filter(None, (unit.text_of(name) for unit in units)), "")


def with_imports(function: PrimFunc, units: Sequence[Instructions] = ()) -> Any:
    """A lowered function with the text of the functions that it calls: those above, and those of units."""
    called: dict[str, None] = {}

    def note(call: Call) -> None:
        if str(call.op.name) in ("tirx.call_extern", "tirx.call_pure_extern"):
            called[str(call.args[0].value)] = None

    tvm_ffi.structural_walk(function.body, (Call, note))
    lines = [line for name in called for line in _text_of(name, units).splitlines()]
    if not lines:
        return function
    declarations = dict.fromkeys(line for line in lines if line.startswith(_DECLARE))  # which functions share
    text = "\n".join([*declarations, *(line for line in lines if not line.startswith(_DECLARE)), ""])
    body = tirx.AttrStmt(tirx.IntImm("int32", 0), _IMPORT, tvm.ir.StringImm(text), function.body)
    return function.with_body(body)
