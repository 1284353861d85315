"""Loops that LLVM must not write out: how often they run is hidden from it.

Of a loop over k with few steps LLVM makes straight code. Then it loads what several steps need before the first
product, and what all tiles read of the second operand before the first tile: more than there are registers, so that
it comes back from the stack. A schedule marks such loops (`ROLLED`). Here the number of their turns passes through a
piece of assembly that is empty: no instruction but the one that puts it into a register, outside of the loops around.
For some processors LLVM writes out a few turns of any loop, and those that are left behind it; not of one with
another empty piece of assembly, which all threads of a group would have to reach together.

    for k in 3:  # ROLLED          ->          for k in tilewright_count(3):
        ...                                        ...
                                                   tilewright_turn()
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx

from ...annotations import ROLLED, without
from ...ir_types import For, PrimFunc, Stmt
from ...tensorir_statements import sequence

COUNT, TURN = "tilewright_count", "tilewright_turn"
TEXTS = {
    COUNT: f"""define i32 @{COUNT}(i32 %count) {{
  %r = call i32 asm "", "=r,0"(i32 %count)
  ret i32 %r
}}
""",
    TURN: f"""define i32 @{TURN}() convergent {{
  call void asm sideeffect "", ""() convergent
  ret i32 0
}}
""",
}


def hide_counts(function: PrimFunc) -> PrimFunc:
    """A function whose marked loops run as often, and lose their mark."""

    def visit(loop: For) -> Stmt:
        if not ROLLED.of(loop) or not isinstance(loop.extent, tirx.IntImm):
            return loop
        count = tirx.call_pure_extern("int32", COUNT, tirx.IntImm("int32", int(loop.extent)))
        extent = count.astype(str(loop.extent.ty.dtype))
        kept = without(loop.annotations, ROLLED)
        body = sequence([loop.body, tirx.Evaluate(tirx.call_extern("int32", TURN))])
        return tirx.For(loop.loop_var, loop.min, extent, loop.kind, body, loop.thread_binding, kept, loop.step)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, visit)))
