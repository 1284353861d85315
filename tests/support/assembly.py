"""What LLVM makes of a model's kernels for any target, as text; no disassembler is needed."""

from __future__ import annotations

import re
from typing import Any

import tvm
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions

Loop = tuple[str, ...]


def kernels_in_assembly(model: Any, target: str, **options: Any) -> dict[str, str]:
    """The text of each kernel of a model, by its name."""
    made = build(model, None, CompileOptions(target, threads=1, jobs=1, **options), stop_after="lower")
    assert made.lowered is not None
    texts: dict[str, str] = {}
    for batch in made.lowered.batches:
        for kernel in batch.lowered:
            module = tvm.IRModule({kernel.symbol: kernel.function})
            texts[kernel.symbol] = tvm.get_global_func("target.build.llvm")(
                module, made.target.to_tvm()
            ).inspect_source("asm")
    return texts


def innermost_loops(text: str) -> list[Loop]:
    """The instructions of each loop that holds no other, its jump back included."""
    lines = [line.split("//")[0].split("@")[0].strip() for line in text.splitlines()]
    places = {line[:-1]: number for number, line in enumerate(lines) if re.fullmatch(r"\.LBB\w+:", line)}
    spans = []
    for number, line in enumerate(lines):
        jump = re.fullmatch(r"b\S*\s+(?:\S+,\s*)*(\.LBB\w+)", line)
        if jump and places.get(jump[1], number) < number:
            spans.append((places[jump[1]], number))
    inner = [
        span
        for span in spans
        if not any(other != span and span[0] <= other[0] and other[1] <= span[1] for other in spans)
    ]
    return [
        tuple(line for line in lines[first : last + 1] if line and not line.startswith((".", "#")))
        for first, last in inner
    ]
