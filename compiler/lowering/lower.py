"""A scheduled PrimFunc -> a lowered PrimFunc with the raw C ABI: pointers in, an error code out.

TVM's own lowering ends in MakePackedAPI, whose functions need TVM's runtime. Here the same passes run up to that
point, and then the signature becomes plain C:

    int32_t kernel(const void *in0, ..., void *out0, ..., void *scratch0, ...)

Buffers of scope `global` become the scratch arguments, which the plan places in the workspace (`scratch.py` moves them
out of loops). Buffers of scope `local` are registers or stack, and so must be small.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from ...errors import CompilerError
from ...failures import failing_in, remembered
from ...ir_types import Buffer, For, IRModule, PrimFunc, Scalar, Stmt, TvmTarget
from ...schedules.tensorir.rebuild import with_body
from ...targets.target import DotUnit, TargetFunction
from ...tensorir_statements import flattened
from ..library.plan import Bytes
from ..library.tensor_spec import element_bytes
from .barriers import SHARED, insert_barriers
from .copies_ahead import copy_ahead
from .flatten import hide_divisions, show_divisions
from .guards import share_guards
from .kept_loops import hide_counts
from .lane_storage import give_lanes_storage
from .line_loops import bound_loops
from .llvm_functions import with_imports
from .narrow_floats import FLOAT16, Halves, expand_conversions, legalize_arithmetic, round_doubles_once
from .nonzero_loops import write_nonzero_loops
from .operand_lanes import load_operands_at_once
from .overlap import overlap_epilogues
from .scratch import hoist_scratch
from .select_dots import select_dots
from .skip_padding import skip_padding
from .squares import transpose_squares
from .stop_early import stop_early
from .strided_loads import load_whole_vectors
from .vector_borders import cut_at_borders
from .whole_tiles import split_whole_tiles
from .write_out import ENOUGH_REGISTERS, ask_for_fma, write_out

# Small enough for the 128 KiB stacks that musl gives threads.
MAX_STACK_BYTES: Bytes = 64 << 10

# Vectors are as long as schedules make them: for a machine whose vectors have no length, TVM would change that.
_ANY = tvm.target.Target({"kind": "llvm"})

# The annotation by which LowerTVMBuiltin leaves an allocation on the stack instead of asking TVM's runtime for it.
_ON_STACK = {"disable_lower_builtin": tirx.IntImm("bool", 1)}


_EXPAND_HALVES: Mapping[Halves, Callable[[PrimFunc], PrimFunc] | None] = MappingProxyType(
    {
        Halves.LEFT: None,
        Halves.BY_FLOAT32: round_doubles_once,
        Halves.INTEGERS: partial(expand_conversions, kind=FLOAT16),
    }
)


@dataclass(frozen=True)
class LoweredKernel:
    """A PrimFunc ready for LLVM, and the sizes of the scratch arguments that follow its tensors."""

    symbol: str
    function: PrimFunc
    scratch: tuple[Bytes, ...]


def lower_kernel(
    function: PrimFunc,
    symbol: str,
    tvm_target: TvmTarget,
    *,
    parallel: bool,
    units: Sequence[DotUnit] = (),
    vectors: bool = True,
    fma: bool = False,
    grid: bool = False,
    functions: Sequence[TargetFunction] = (),
    registers: int = ENOUGH_REGISTERS,
    branches: bool = False,
    keeps_loops: bool = False,
    halves: Halves = Halves.LEFT,
) -> LoweredKernel:
    """Lowers one scheduled PrimFunc.

    Args:
        function: a scheduled s_tir PrimFunc of static shapes.
        symbol: its C name.
        tvm_target: the `tvm.target.Target` to generate code for.
        parallel: whether parallel loops call the thread pool; otherwise they become serial.
        units: for narrow operands, whose instructions kernels may be scheduled for.
        vectors: whether code can compute in vectors; otherwise loops over lanes become serial.
        fma: whether multiply-adds are one instruction by demand, not where LLVM likes.
        grid: whether its outermost loops are those of grids of threads.
        functions: of the target, that are called for operators.
        registers: for vectors.
        branches: whether a branch that is taken for several additions is cheaper than a choice for each.
        keeps_loops: whether LLVM must not write out the loops that schedules mark so.
        halves: what is done to conversions of float16.

    Raises:
        CompilerError: a pass failed, or the function needs more stack than a thread surely has.
    """
    with failing_in(f"kernel '{symbol}'", "lowering a kernel failed"):
        if not parallel:
            function = _serial(function)
        workers = int(tvm_target.attrs.get("num-cores", 1)) if parallel else 1
        passes = _grid_passes(units, functions) if grid else _loop_passes(workers, units, vectors, branches, halves)
        module = passes(tvm.IRModule({symbol: _for(_ANY, function, symbol)}))
        raw, scratch = _raw_abi(module[symbol])
        with tvm_target:
            writer = partial(write_out, functions=functions, registers=registers)
            module = _machine_passes(units, writer, halves, fma=fma, keeps_loops=keeps_loops, imports=not grid)(
                tvm.IRModule({symbol: _for(tvm_target, raw, symbol)})
            )
    return LoweredKernel(symbol, module[symbol], scratch)


def _for(target: TvmTarget, function: PrimFunc, symbol: str) -> PrimFunc:
    return function.with_attr({"global_symbol": symbol, "target": target})


def _loop_passes(workers: int, units: Sequence[DotUnit], vectors: bool, branches: bool, halves: Halves) -> Any:
    """From blocks to loops over flat buffers: TVM's own sequence for CPUs, in its order."""
    return tvm.ir.transform.Sequential(
        [
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.CompactBufferAllocation(),
            s_tir.transform.LowerMatchBuffer(),
            s_tir.transform.StmtSimplify(),
            s_tir.transform.AnnotateIrregularLoop(),
            s_tir.transform.LowerOpaqueBlock(),
            _on_functions("StopEarly", stop_early),
            _on_functions("WholeTiles", split_whole_tiles),
            _on_functions("SkipPadding", skip_padding),
            _on_functions("NonzeroLoops", write_nonzero_loops),
            _on_functions("HideDivisions", hide_divisions),
            tirx.transform.FlattenBuffer(),
            _on_functions("ShowDivisions", show_divisions),
            _on_functions("BoundLoops", bound_loops),
            _on_functions("OverlapEpilogues", partial(overlap_epilogues, workers=workers)),
            _on_functions("OperandLanes", load_operands_at_once),
            _on_functions("SelectDots", partial(select_dots, units={unit.name: unit for unit in units})),
            _on_functions("LegalizeBfloat16", legalize_arithmetic),
            *(
                [_on_functions("LegalizeFloat16", partial(legalize_arithmetic, kind=FLOAT16))]
                * (halves is Halves.INTEGERS)
            ),
            *([_on_functions("Squares", transpose_squares)] if vectors else []),
            _on_functions("VectorBorders", cut_at_borders),
            _on_functions("LaneStorage", give_lanes_storage),
            _on_functions("HoistScratch", partial(hoist_scratch, workers=workers)),
            # 64-bit indices become 32-bit wherever the bounds prove that they fit.
            tirx.transform.NarrowDataType(32),
            tirx.transform.VectorizeLoop(vectors),
            _on_functions("StridedLoads", load_whole_vectors),
            tirx.transform.StorageRewrite(),
            s_tir.transform.HoistIfThenElse(),
            tirx.transform.UnrollLoop(),
            s_tir.transform.RenormalizeSplitPattern(),
            tirx.transform.StmtSimplify(),
            tirx.transform.RemoveNoOp(),
            s_tir.transform.RewriteUnsafeSelect(),
            *([_on_functions("Guards", share_guards)] if branches else []),
            tirx.transform.CommonSubexprElim(),
            tirx.transform.FP8ComputeLegalize(),
        ]
    )


def _grid_passes(units: Sequence[DotUnit], functions: Sequence[TargetFunction]) -> Any:
    """The same for grids of threads: TVM's own sequence for GPUs as far as these kernels need it, and our barriers."""
    return tvm.ir.transform.Sequential(
        [
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.LiftThreadBinding(),
            s_tir.transform.CompactBufferAllocation(),
            s_tir.transform.UnifyThreadBinding(),
            s_tir.transform.LowerMatchBuffer(),
            s_tir.transform.StmtSimplify(),
            s_tir.transform.AnnotateIrregularLoop(),
            s_tir.transform.LowerOpaqueBlock(),
            _on_functions("StopEarly", stop_early),
            _on_functions("HideDivisions", hide_divisions),
            tirx.transform.FlattenBuffer(),
            _on_functions("ShowDivisions", show_divisions),
            _on_functions("BoundLoops", bound_loops),
            _on_functions("SelectDots", partial(select_dots, units={unit.name: unit for unit in units})),
            _on_functions("LegalizeBfloat16", legalize_arithmetic),
            _on_functions("HoistScratch", partial(hoist_scratch, workers=1)),
            tirx.transform.NarrowDataType(32),
            tirx.transform.VectorizeLoop(False),
            _on_functions("CopiesAhead", partial(copy_ahead, functions=functions)),
            tirx.transform.StorageRewrite(),
            s_tir.transform.RenormalizeSplitPattern(),
            tirx.transform.StmtSimplify(),
            tirx.transform.RemoveNoOp(),
            s_tir.transform.RewriteUnsafeSelect(),
            _on_functions("Barriers", insert_barriers),
            tirx.transform.FP8ComputeLegalize(),
        ]
    )


def _on_functions(name: str, change: Callable[[PrimFunc], PrimFunc]) -> Any:
    @remembered
    def apply(function: PrimFunc, module: IRModule, context: Any) -> PrimFunc:
        return change(function)

    return tirx.transform.prim_func_pass(apply, opt_level=0, name=f"tilewright.{name}")


def _machine_passes(
    units: Sequence[DotUnit],
    writer: Callable[[PrimFunc], PrimFunc],
    halves: Halves,
    *,
    fma: bool,
    keeps_loops: bool,
    imports: bool,
) -> Any:
    """What only code generation can express: stored bfloat16, intrinsics of the target.

    Args:
        writer: replaces hidden operators.
        imports: whether functions come with the kernel that calls them, as texts for LLVM.
    """
    instructions = {unit.name: unit.instructions() for unit in units}
    rounding = next((instructions[unit.name].rounding for unit in units if unit.rhs == "bfloat16"), None)
    expand_halves = _EXPAND_HALVES[halves]
    return tvm.ir.transform.Sequential(
        [
            _on_functions("ExpandBfloat16", partial(expand_conversions, rounding=rounding)),
            *([] if expand_halves is None else [_on_functions("ExpandFloat16", expand_halves)]),
            tirx.transform.FP8StorageLegalize(),
            tirx.transform.BF16StorageLegalize(),
            tirx.transform.LowerTVMBuiltin(),
            tirx.transform.LowerIntrin(),
            # The last: from here on floats are computed by TVM's own arithmetic, which it must not simplify.
            _on_functions("WriteOut", writer),
            *([_on_functions("AskForFma", ask_for_fma)] if fma else []),
            *([_on_functions("KeepLoops", hide_counts)] if keeps_loops else []),
            *([_on_functions("ImportFunctions", partial(with_imports, units=tuple(instructions.values())))] * imports),
        ]
    )


def _serial(function: PrimFunc) -> PrimFunc:
    def serial(loop: For) -> Stmt:
        if loop.kind != tirx.ForKind.PARALLEL:
            return loop
        return with_body(loop, loop.body, kind=tirx.ForKind.SERIAL)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, serial)))


def _raw_abi(function: PrimFunc) -> tuple[PrimFunc, tuple[Bytes, ...]]:
    """Turns buffer parameters into pointers and root allocations into scratch parameters."""
    parameters: list[Scalar] = []
    declarations: list[Stmt] = []

    def take(buffer: Buffer) -> None:
        element = tvm.ir.PointerType(tvm.ir.PrimType(str(buffer.dtype)), "global")
        pointer = tirx.Var(f"{buffer.name}_pointer", element)
        parameters.append(pointer)
        declarations.append(tirx.DeclBuffer(buffer, data=pointer))

    for parameter in function.params:
        take(parameter)
    scratch: list[Bytes] = []
    body: list[Stmt] = []
    for statement in flattened(function.body):
        if isinstance(statement, tirx.AllocBuffer) and statement.buffer.scope() == "global":
            take(statement.buffer)
            scratch.append(_allocated_bytes(statement.buffer))
        else:
            body.append(_keep_on_stack(statement))
    _check_stack(body)
    # Code generation of parallel loops returns the error code of the launch, so every kernel returns one.
    body.append(tirx.stmt.Return(tirx.IntImm("int32", 0)))
    raw = tirx.PrimFunc(parameters, tirx.SeqStmt([*declarations, *body]), tvm.ir.PrimType("int32"), function.attrs)
    return raw, tuple(scratch)


def _keep_on_stack(statement: Stmt) -> Stmt:
    def keep(alloc: Stmt) -> Stmt:
        return tirx.AllocBuffer(alloc.buffer, {**dict(alloc.annotations or {}), **_ON_STACK})

    return tvm_ffi.structural_map(statement, (tirx.AllocBuffer, keep))


def _check_stack(statements: list[Stmt]) -> None:
    sizes: list[tuple[Bytes, str]] = []

    def note(alloc: Stmt) -> None:
        if alloc.buffer.scope() != SHARED:  # of a block of threads; its template has counted that
            sizes.append((_allocated_bytes(alloc.buffer), str(alloc.buffer.name)))

    for statement in statements:
        tvm_ffi.structural_walk(statement, (tirx.AllocBuffer, note))
    if sum(size for size, _ in sizes) > MAX_STACK_BYTES:
        raise CompilerError(
            f"a kernel's buffers inside loops need {sum(size for size, _ in sizes)} bytes of stack; "
            f"{MAX_STACK_BYTES} are allowed",
            details=[f"{name}: {size} bytes" for size, name in sorted(sizes, reverse=True)[:8]],
            hint="its schedule should allocate large buffers in scope global",
        )


def _allocated_bytes(buffer: Buffer) -> Bytes:
    if not all(isinstance(d, tirx.IntImm) for d in buffer.shape):
        raise CompilerError(f"buffer {buffer.name} has no constant size")
    match = re.fullmatch(r"(\w+?)(?:x(\d+))?", str(buffer.dtype))
    assert match is not None
    lanes = int(match[2] or 1)
    return math.prod(int(d) for d in buffer.shape) * element_bytes(match[1]) * lanes
