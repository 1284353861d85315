"""The story of a compile, top to bottom: `passes` lists what happens to a model between import and emission."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..ir_passes import (
    AppendInPlace,
    Canonicalize,
    CastOperands,
    ChannelsLast,
    ConcatInPlace,
    Cse,
    FoldBatchNorm,
    FoldConstants,
    FoldScale,
    FuseAttention,
    FuseEpilogues,
    FuseGelu,
    FuseGroupNorm,
    FuseHardSwish,
    FuseLayerNorm,
    FuseSilu,
    FuseSoftmax,
    GraphPass,
    HoldExtents,
    IntegerMeans,
    IntegerProducts,
    MoveDequantize,
    NarrowStorage,
    Pass,
    PassResult,
    PatchWise,
    RequantizeSums,
    ShareHeads,
    SimplifyReductions,
    SliceInPlace,
    StopAtExtents,
    TrimKernels,
    UniformActivations,
    WeightProducts,
    run_passes,
)
from ..ir_passes.core.functions import joined, split
from ..ir_passes.core.graph import MAIN
from ..ir_passes.extents.stop_at_extents import with_stops
from ..ir_passes.registry import spelled
from ..ir_types import Expr, IRModule
from ..schedules.legalize import legalize
from ..schedules.narrow import gains
from ..schedules.schedule import schedule_module
from ..schedules.templates.grid_table import templates_for
from ..schedules.templates.template import Choose, Chooser, choose_default
from .precision import DTYPES, multiplies
from .process.install import HEADER_MARK, written_whole
from .recipes.apply import Applied, RecipePasses, passes_of_way

if TYPE_CHECKING:
    from ..targets import Target
    from .process.progress import ProgressCallback


@dataclass(frozen=True)
class Legalize(GraphPass):
    """Every operator becomes a `call_tir` of a kernel, as `decide` chooses; weights are packed for the target."""

    decide: Chooser
    name = "legalize"

    def __call__(self, module: IRModule) -> PassResult:
        """Lowers `main`."""
        return PassResult(with_stops(module, legalize(module, self.decide)), True)


@dataclass(frozen=True)
class Schedule(GraphPass):
    """Every kernel gets the schedule of its template, or the plain one."""

    decide: Chooser
    on_kernel: Callable[[str], None]
    name = "schedule"

    def __call__(self, module: IRModule) -> PassResult:
        """Schedules all PrimFuncs."""
        return PassResult(schedule_module(module, self.decide, self.on_kernel), True)


def passes(
    target: Target,
    on_kernel: Callable[[str], None] = lambda name: None,
    *,
    precision: str = "fp32",
    quantize: str | None = None,
    choose: Choose = choose_default,
    extents: HoldExtents | None = None,
    applied: Applied | None = None,
    limit_bytes: int = 0,
) -> list[Pass]:
    """The passes of a compile, in order.

    Args:
        target: the machine.
        on_kernel: told of each kernel that is scheduled.
        precision: as `run` has it.
        quantize: as `run` has it.
        choose: settles what computes each workload, and how.
        extents: those of a compile for a range of sizes.
        applied: a recipe, whose passes come first, and where tensors become integers.
        limit_bytes: what tensors may take at a time, or 0.
    """

    def faster(call: Expr) -> bool:
        return gains(call, target)

    decide = Chooser(target, templates_for(target), choose)
    recipe = applied.passes(decide) if applied is not None else RecipePasses()
    dense = passes_of_way(quantize, applied.of_node if applied is not None else _silent, decide)
    narrow: list[Pass] = []
    products: list[Pass] = []
    if precision in DTYPES:
        # Where the machine multiplies in it, results are stored in it, too, else weights alone.
        narrow = [NarrowStorage(DTYPES[precision], results=multiplies(precision, target))]
    if multiplies(precision, target):
        products = [CastOperands(DTYPES[precision], faster)]
    in_place: list[Pass] = [] if extents is None else [StopAtExtents(), AppendInPlace()]
    return [
        *recipe.first,
        # Weights of a few bits: products with them, where those are faster.
        *dense,
        WeightProducts(faster),
        # Operators: fewer of them, and each pattern as one.
        Canonicalize(),
        Cse(),
        FoldConstants(keep_quantized=True),
        SimplifyReductions(),
        FuseGelu(),
        FuseSilu(),
        FuseHardSwish(),
        FuseSoftmax(),
        FuseLayerNorm(),
        FuseGroupNorm(),
        TrimKernels(),
        FoldBatchNorm(recipe.named),
        FoldScale(recipe.named),
        FuseAttention(),
        Canonicalize(),
        ShareHeads(),
        # Layout: channels last, transposes gone.
        ChannelsLast(),
        FoldConstants(keep_quantized=True),
        # Integers: what is quantized on both sides is multiplied in 8 bits, on every target; what is left is float.
        *recipe.quantize,
        UniformActivations(target.integer_operand),
        MoveDequantize(),
        IntegerProducts(target.integer_operand, attends=faster),
        IntegerMeans(),
        RequantizeSums(),
        FoldConstants(),
        Canonicalize(),
        Cse(),
        *recipe.products,
        *products,
        # Memory: what takes more than there is becomes a loop over patches.
        PatchWise(limit_bytes, saves=target.saves_memory),
        *([] if extents is None else [extents]),
        # Kernels: lowered, fused, scheduled.
        Legalize(decide),
        FuseEpilogues(transposed_results=True),
        *narrow,
        Schedule(decide, on_kernel),
        SliceInPlace(),
        ConcatInPlace(),
        *in_place,
    ]


def _silent(layer: str, kept_float: str) -> None:
    """Nobody asked what becomes of layers."""


# Takes the passes of a compile and gives those to run instead: without one, others, or none for a module that is done.
ChoosePasses: TypeAlias = Callable[[list[Pass]], Sequence[Pass]]


def run(
    module: IRModule,
    target: Target,
    *,
    precision: str,
    quantize: str | None = None,
    order: ChoosePasses = list,
    choose: Choose = choose_default,
    extents: HoldExtents | None = None,
    applied: Applied | None = None,
    limit_bytes: int = 0,
    save_ir: str | os.PathLike[str] | None = None,
    progress: ProgressCallback,
) -> IRModule:
    """Takes a module from import to scheduled kernels.

    Args:
        module: what a frontend made.
        target: the machine, with the cores that parallel loops are planned for.
        precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``, as `precision.possible` gives it for the target.
        quantize: what is rounded to integers, as `CompileOptions` has it.
        order: which passes run.
        extents: the sizes of the inputs, of a model for a range of them.
        choose: settles what computes each workload, and how.
        applied: a recipe with the names of the model, whose passes run, too.
        limit_bytes: what tensors may take at a time, or 0.
        save_ir: a folder for the module after each pass, numbered and named; bodies of loops and branches, which go
            through all passes by themselves, have folders in it.
        progress: told of the pass that starts, and of each kernel that is scheduled.

    Returns:
        A module as docs/architecture.md says under "After fusion".

    Raises:
        CompilerError: a pass broke its contract.
    """
    scheduled = 0

    def on_kernel(name: str) -> None:
        nonlocal scheduled
        scheduled += 1
        progress("schedule", scheduled, 0)

    asked: dict[str, Any] = {
        "precision": precision,
        "quantize": quantize,
        "choose": choose,
        "applied": applied,
        "extents": extents,
        "limit_bytes": limit_bytes,
    }
    parts = split(module)
    _save(save_ir, "00_import", "import", parts)
    for index, each in enumerate(order(passes(target, on_kernel, **asked)), 1):
        progress(each.name, 0, 0)
        before, parts = parts, _after(each, parts)
        _save(save_ir, f"{index:02}_import", "import", {name: parts[name] for name in parts if name not in before})
        taken = {name: parts[name] for name in before if _takes(each, name)}
        _save(save_ir, f"{index:02}_{each.name}", spelled(each), taken)
    return joined(parts)


def _after(each: Pass, parts: Mapping[str, IRModule]) -> dict[str, IRModule]:
    """All functions after a pass, which takes each by itself; what follows sizes, where they call each other."""
    if isinstance(each, HoldExtents):
        return split(run_passes(joined(parts), [each]).module)
    made: dict[str, IRModule] = {}
    for name, part in parts.items():
        found = split(run_passes(part, [each]).module) if _takes(each, name) else {MAIN: part}
        made |= {name: found.pop(MAIN), **found}
    return made


def _takes(each: Pass, function: str) -> bool:
    """Whether a pass is for a function: what there is of memory is for all of them together."""
    return function == MAIN or not isinstance(each, PatchWise)


def _save(place: str | os.PathLike[str] | None, name: str, after: str, parts: Mapping[str, IRModule]) -> None:
    """Writes functions to a folder, those of bodies to folders in it; where there is no folder, nothing."""
    if place is None:
        return
    for part, module in parts.items():
        folder = Path(place) if part == MAIN else Path(place) / part
        folder.mkdir(exist_ok=True)
        _written(folder, name, after, module)


def _written(folder: Path, name: str, after: str, module: IRModule) -> None:
    with written_whole(folder / f"{name}.txt") as file:
        file.write(
            f"# After {after}: {HEADER_MARK.decode()}\n{module.script(show_meta=False)}\n".encode("utf-8", "replace")
        )
