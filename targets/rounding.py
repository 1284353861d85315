"""float32 to bfloat16 in one instruction, as a function in LLVM IR: TVM cannot name the types."""

from __future__ import annotations

_PREFIX = "tilewright_round_bf16_x"


def function_name(lanes: int) -> str:
    """The function that rounds so many float32 to bfloat16: to nearest, ties to even, as the processor does."""
    return f"{_PREFIX}{lanes}"


def lanes_of(function: str) -> int:
    """How many float32 a function rounds; 0 where it is another one."""
    return int(function.removeprefix(_PREFIX)) if function.startswith(_PREFIX) else 0


def text_of(function: str) -> str:
    """The text of such a function; empty for others. LLVM has an instruction for as many lanes as there are."""
    lanes = lanes_of(function)
    if not lanes:
        return ""
    wide, narrow, bits = (f"<{lanes} x {kind}>" for kind in ("float", "bfloat", "i16"))
    if lanes == 1:
        wide, narrow, bits = "float", "bfloat", "i16"
    return f"""
define {bits} @{function}({wide} %value) {{
  %r = fptrunc {wide} %value to {narrow}
  %i = bitcast {narrow} %r to {bits}
  ret {bits} %i
}}
"""
