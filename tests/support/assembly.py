"""What LLVM makes of kernels for any target, as text, and the loops in it; no disassembler is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tvm
from real_layers import Layer, module_of
from tilewright.annotations import CHOICE, TEMPLATE
from tilewright.compiler.build import build
from tilewright.compiler.lowering.batches import Batch
from tilewright.compiler.lowering.lower import LoweredKernel
from tilewright.compiler.options import CompileOptions
from tilewright.ir_passes import CastOperands, FuseEpilogues
from tilewright.schedules.legalize import legalize
from tilewright.schedules.narrow import gains
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates import choices
from tilewright.schedules.templates.choices import Choice
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser
from tilewright.targets.target import Target
from tvm import tirx

Loop = tuple[str, ...]


@dataclass(frozen=True)
class Kernel:
    """A kernel of a layer: what made it, how, and its text."""

    template: str
    choice: Choice
    text: str


def kernels_in_assembly(model: Any, target: str, **options: Any) -> dict[str, str]:
    """The text of each kernel of a model, by its name."""
    made = build(model, None, CompileOptions(target, threads=1, jobs=1, **options), stop_after="lower")
    assert made.lowered is not None
    return {kernel.symbol: _text(kernel, made.target) for batch in made.lowered.batches for kernel in batch.lowered}


def kernels_of_layer(layer: Layer, target: Target, multiply_in: str = "") -> Iterator[Kernel]:
    """The kernels of a layer by the defaults.

    Args:
        multiply_in: the dtype that contractions multiply in where the target gains by it.
    """
    module = module_of(layer)
    if multiply_in:
        module = CastOperands(multiply_in, lambda call: gains(call, target))(module).module
    decide = Chooser(target, TEMPLATES)
    module = schedule_module(FuseEpilogues()(legalize(module, decide)).module, decide)
    needed = target.for_dtypes({layer.dtype, multiply_in or layer.dtype, "int8"})
    for name, function in module.functions.items():
        if isinstance(function, tirx.PrimFunc):
            (kernel,) = Batch(("layer", 0), [str(name.name_hint)], [function], needed, parallel=False).lowered
            yield Kernel(str(TEMPLATE.of(function)), choices.parse(str(CHOICE.of(function))), _text(kernel, needed))


def _text(kernel: LoweredKernel, target: Target) -> str:
    module = tvm.IRModule({kernel.symbol: kernel.function})
    return str(tvm.get_global_func("target.build.llvm")(module, target.to_tvm()).inspect_source("asm"))


def innermost_loops(text: str) -> list[Loop]:
    """The instructions of each loop that holds no other, its jump back included."""
    lines = [line.split("//")[0].split("@")[0].strip() for line in text.splitlines()]
    places = {line[:-1]: number for number, line in enumerate(lines) if re.fullmatch(r"\.LBB\w+:", line)}
    spans = []
    for number, line in enumerate(lines):
        jump = re.fullmatch(r"(?:b|cb|tb)\S*\s+(?:\S+,\s*)*(\.LBB\w+)", line)
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
