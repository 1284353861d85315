"""What every template does around its anchor: find blocks, inline what comes before, absorb what comes after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.error import InternalError
from tvm.ir import Call, TensorLoad
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import ScheduleError

from ... import hidden_floats, hidden_integers
from ...annotations import ANCHOR, ROLLED, STAGE
from ...ir_types import Analyzer, Buffer, Load, Node, Scalar, Var
from .expressions import dtype_bits, flatten
from .rebuild import found, mentions, substituted

_ARITHMETIC = frozenset((*hidden_floats.ARITHMETIC, *hidden_integers.ARITHMETIC))


@dataclass(frozen=True)
class Reads:
    """How a block's loads move from one element of an axis to the next.

    Attributes:
        steps: in elements of the source, where they are constants.
        gathers: whether a position is read from memory.
        irregular: whether distances inside of a vector depend on where the vector is: a reflection.
    """

    steps: frozenset[int]
    gathers: bool
    irregular: bool

    @property
    def contiguous(self) -> bool:
        """Whether neighbours are read side by side, or all read one element."""
        return self.steps <= {0, 1} and not self.gathers and not self.irregular


Block = Any  # a handle to a block of a schedule
Loop = Any  # a handle to a loop

# TensorIR's kinds of iteration variables.
DATA_PARALLEL = 0
REDUCTION = 2

# Calls that are an instruction or two.
_CHEAP = frozenset({"if_then_else", "likely", "floor", "ceil", "trunc", "round", "nearbyint", "fabs", "sqrt"})


def child_blocks(sch: Schedule) -> list[Block]:
    """The blocks of the kernel, in order."""
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def anchors(sch: Schedule) -> list[Block]:
    """The blocks that carry the name of a template, in order."""
    return [block for block in child_blocks(sch) if ANCHOR.of(sch.get(block)) is not None]


def is_reduction(sch: Schedule, block: Block) -> bool:
    """Whether a block reduces along some axis."""
    return sch.get(block).init is not None


def inline_producers(sch: Schedule, keep: list[Block]) -> None:
    """Inlines every element-wise block that comes before the last of `keep`, but for `keep` and marked stages."""
    kept = {sch.get(block).name_hint for block in keep}
    last = sch.get(keep[-1]).name_hint
    for block in child_blocks(sch):
        name = sch.get(block).name_hint
        if name == last:
            break
        if name in kept or STAGE.of(sch.get(block)) is not None or is_reduction(sch, block):
            continue
        try_primitive(partial(sch.compute_inline, block))


def stages(sch: Schedule, anchor: Block) -> list[Block]:
    """What still stands before the anchor: paddings, packings, and what could not be inlined."""
    name = sch.get(anchor).name_hint
    found = []
    for block in child_blocks(sch):
        if sch.get(block).name_hint == name:
            break
        found.append(block)
    return found


def absorb_consumers(sch: Schedule, epilogue: Block) -> list[Block]:
    """Makes everything after `epilogue` part of it, so that values leave registers once.

    Returns:
        The blocks that could not be absorbed, in order; they read `epilogue`'s result from memory.
    """
    blocks = child_blocks(sch)
    names = [sch.get(block).name_hint for block in blocks]
    after = blocks[names.index(sch.get(epilogue).name_hint) + 1 :]
    for block in after[:-1]:
        if STAGE.of(sch.get(block)) is None:
            try_primitive(partial(sch.compute_inline, block))
    blocks = child_blocks(sch)
    names = [sch.get(block).name_hint for block in blocks]
    after = blocks[names.index(sch.get(epilogue).name_hint) + 1 :]
    left: list[Block] = []
    for block in after:
        if left or not try_primitive(partial(sch.reverse_compute_inline, block)):
            left.append(block)
    return left


def try_primitive(primitive: Callable[[], object]) -> bool:
    """Applies a primitive; False when the schedule refuses it, which leaves the schedule as it was.

    `reverse_compute_inline` fails in a check of its own, before it changes anything, where a block reads the same
    element for several of its own (x + sum(x)).
    """
    try:
        primitive()
    except (ScheduleError, InternalError):
        return False
    return True


def depth(sch: Schedule, block: Block, loop: Loop) -> int:
    """How many loops stand around `block` down to `loop`, which counts."""
    variable = sch.get(loop).loop_var
    return 1 + next(i for i, each in enumerate(sch.get_loops(block)) if sch.get(each).loop_var.same_as(variable))


def extent(sch: Schedule, loop: Loop) -> int:
    """The extent of a loop."""
    return int(sch.get(loop).extent)


def keep_innermost(sch: Schedule, loops: Sequence[Loop]) -> None:
    """Marks the innermost loop that has several turns as one that stays a loop; outermost loops come first."""
    several = [loop for loop in loops if extent(sch, loop) > 1]
    if several:
        sch.annotate(several[-1], ROLLED.name, 1)


def axis_of_loops(sch: Schedule, block: Block) -> list[int | None]:
    """For each loop around a block, outermost first: the index of the block's iteration variable that it drives."""
    name = sch.get(block).name_hint
    realizes = found(sch.mod["main"].body, s_tir.SBlockRealize)
    values = list(next(each for each in realizes if each.block.name_hint == name).iter_values)
    axes: list[int | None] = []
    for loop in sch.get_loops(block):
        variable = sch.get(loop).loop_var
        uses = (axis for axis, value in enumerate(values) if mentions(value, [variable]))
        axes.append(next(uses, None))
    return axes


def follow_axes(sch: Schedule, block: Block, buffer: Buffer) -> list[Loop]:
    """Gives an untouched `block` that reads `buffer` one loop an axis of the buffer, whatever shape it writes.

    Returns:
        The loops, in the order of the buffer's axes; all extents of the block's own loops are kept.
    """
    reads = loads(sch.get(block).body, buffer)
    variables = [var.var for var in sch.get(block).iter_vars]
    indices = list(reads[0].indices)
    present = [axis for axis, index in enumerate(indices) if not isinstance(index, tirx.IntImm)]
    if variables:
        index_map = tirx.IndexMap(variables, [indices[axis] for axis in present], None)
        sch.transform_block_layout(block, index_map)
    loops: dict[int, Loop] = dict(zip(present, sch.get_loops(block), strict=True))
    for axis in range(len(indices)):
        if axis not in loops:
            loops[axis] = sch.add_unit_loop(block)
    ordered = [loops[axis] for axis in range(len(indices))]
    sch.reorder(*ordered)
    return ordered


def loads(body: Node, buffer: Buffer) -> list[Load]:
    """Every read of `buffer` inside `body`."""
    return [load for load in found(body, TensorLoad) if load.source.same_as(buffer)]


def points(sch: Schedule, block: Block) -> int:
    """The number of times a block runs."""
    return math.prod(int(var.dom.extent) for var in sch.get(block).iter_vars)


def reads_along(sch: Schedule, block: Block, axis: int, lanes: int) -> Reads:
    """How the loads of a block move when its iteration variable `axis` grows by one, in vectors of so many lanes."""
    body = sch.get(block)
    analyzer = tvm.sym.Analyzer()
    for each in body.iter_vars:
        analyzer.bind(each.var, each.dom)
    variable = body.iter_vars[axis].var
    steps: set[int] = set()
    gathers = irregular = False
    for load in found(body.body, TensorLoad):
        position = flatten(list(load.indices), [int(extent) for extent in load.source.ty.shape])
        step = analyzer.simplify(substituted(position, {variable: variable + 1}) - position)
        if isinstance(step, tirx.IntImm):
            steps.add(int(step))
        elif found(position, TensorLoad):
            gathers = True
        elif not _repeats(position, variable, lanes, analyzer):
            irregular = True
    return Reads(frozenset(steps), gathers, irregular)


def _repeats(position: Scalar, variable: Var, lanes: int, analyzer: Analyzer) -> bool:
    """Whether elements stand at the same distances from the first of their vector in every vector."""
    vector = tirx.Var("vector", variable.ty)
    first, *others = (substituted(position, {variable: vector * lanes + lane}) for lane in range(lanes))
    return all(isinstance(analyzer.simplify(other - first), tirx.IntImm) for other in others)


def write_step(sch: Schedule, block: Block, axis: int) -> int | None:
    """How far the place that a block writes moves when its iteration variable `axis` grows by one, if constant."""
    body = sch.get(block)
    if not isinstance(body.body, tirx.BufferStore):
        return None
    variable = body.iter_vars[axis].var
    position = flatten(list(body.body.indices), [int(extent) for extent in body.body.buffer.shape])
    step = tvm.sym.Analyzer().simplify(substituted(position, {variable: variable + 1}) - position)
    return int(step) if isinstance(step, tirx.IntImm) else None


def is_elementwise(sch: Schedule, block: Block) -> bool:
    """Whether a block writes a whole buffer, each element from those at the same place in others of its shape."""
    body = sch.get(block)
    variables = [each.var for each in body.iter_vars]
    if not isinstance(body.body, tirx.BufferStore):
        return False
    shape = [int(extent) for extent in body.body.buffer.shape]
    if shape != [int(each.dom.extent) for each in body.iter_vars]:
        return False

    def in_order(indices: Sequence[Scalar]) -> bool:
        return all(index.same_as(variable) for index, variable in zip(indices, variables, strict=True))

    reads = found(body.body.value, TensorLoad)
    same = [load for load in reads if [int(extent) for extent in load.source.ty.shape] == shape]
    if not all(in_order(indices) for indices in (body.body.indices, *(load.indices for load in same))):
        return False
    # Every variable stands in one of those indices, or names a buffer: all other indices are constants.
    return len(found(body.body.value, tirx.Var)) == len(reads) + len(same) * len(variables)


def written_shape(sch: Schedule, stage: Block) -> list[int]:
    """The shape of what a stage writes."""
    return [int(extent) for extent in sch.get(stage).writes[0].source.ty.shape]


def function_count(sch: Schedule, block: Block) -> int:
    """How many functions a block computes, rather than moving elements with a little arithmetic."""
    names = [call.op.name for call in found(sch.get(block).body, Call)]
    return sum(name not in _ARITHMETIC and name.split(".")[-1] not in _CHEAP for name in names)


def load_count(sch: Schedule, block: Block) -> int:
    """How many elements a block reads for one point."""
    return len(found(sch.get(block).body, TensorLoad))


def element_bits(sch: Schedule, block: Block) -> int:
    """The bits of the widest element that a block reads or writes."""
    body = sch.get(block)
    return max(dtype_bits(str(region.source.dtype)) for region in [*body.reads, *body.writes])


def share(sch: Schedule, loop: Loop, threads: int) -> None:
    """Makes a loop parallel where several threads are to share it and there is something to share."""
    if threads > 1 and extent(sch, loop) > 1:
        sch.parallel(loop)
