"""What the stages tell each other in the IR: attributes of kernels, annotations of blocks and loops, roles of operands.

Each is a constant of this module with the type of its value; nobody else spells its name. Who may write one, who reads
it and how long it lives stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Op, register_op_attr

from .ir_types import Node, Scalar, Stmt

Value = TypeVar("Value")

_PREFIX = "tilewright."


@dataclass(frozen=True)
class Mark(Generic[Value]):
    """One attribute or annotation.

    Attributes:
        name: in the IR.
        read: makes Python's value of TVM's.
    """

    name: str
    read: Callable[[Any], Value]

    def of(self, node: Node) -> Value | None:
        """Its value on a PrimFunc, a block or a loop; None where there is none."""
        found = (node.annotations if hasattr(node, "annotations") else node.attrs) or {}
        return self.read(found[self.name]) if self.name in found else None

    def entry(self, value: Any = 1) -> dict[str, Any]:
        """What to add to the attributes or annotations of a node that is made."""
        return {self.name: value}

    def on(self, function: Node, value: Any) -> Node:
        """A PrimFunc that has it."""
        return function.with_attr(self.name, value)


@dataclass(frozen=True)
class Around:
    """One attribute that a statement of its own puts around others; its value is an expression.

    Attributes:
        name: in the IR.
    """

    name: str

    def of(self, node: Node) -> Scalar | None:
        """Its value where a statement is the attribute; None where it is anything else."""
        return node.value if isinstance(node, tirx.AttrStmt) and node.attr_key == self.name else None

    def around(self, body: Stmt, value: Scalar) -> Stmt:
        """Statements that have it."""
        return tirx.AttrStmt(tirx.IntImm("int32", 0), self.name, value, body)


def _integers(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


# Attributes of a PrimFunc. Lowering an operator sets them, fusion hands on those of a group's anchor.
TEMPLATE = Mark(f"{_PREFIX}template", str)  # the template that will schedule it, and then the one that did
CHOICE = Mark(f"{_PREFIX}choice", str)  # how: a choice of that template; of an anchor block, that it was computed with
WORKLOAD = Mark(f"{_PREFIX}workload", str)  # what is computed: the key of the workload that the choice is for
FLOPS = Mark(f"{_PREFIX}flops", int)  # floating point operations of the anchor; of a block as well
CONCAT = Mark(f"{_PREFIX}concat", int)  # the axis along which it concatenates its operands, doing nothing else
SLICE = Mark(f"{_PREFIX}slice", _integers)  # where the window of its operand begins that it copies, doing nothing else
CAST = Mark(f"{_PREFIX}cast", str)  # the dtype that it casts its operand to, doing nothing else
MASKS = Mark(f"{_PREFIX}masks", bool)  # it puts a value in place of what a sum must not see, doing nothing else
PADDED = Mark(
    f"{_PREFIX}padded", _integers
)  # the value that it puts around its operand, and widths, an axis; else nothing
APPEND = Mark(f"{_PREFIX}append", bool)  # it writes rows of its first operand, whose memory its result has
OWN_END = Mark(f"{_PREFIX}own_end", bool)  # its loops end where its operands say: it need not be told
WHOLE = Mark(f"{_PREFIX}whole", bool)  # it is one block with loops of its own: nothing can be computed inside it
THREADS = Mark(f"{_PREFIX}threads", int)  # set by the scheduler: how many threads share it at most
FALLBACK = Mark(f"{_PREFIX}fallback", str)  # set by the scheduler: why its own template refused it
# Where its result ends, a row an axis or a part of one: axis, the position where the result begins, step, bound or 0,
# which size. What is at (position - begin) // step % bound is there before the size.
STOP = Mark(f"{_PREFIX}stop", _integers)
STOPS = Mark(f"{_PREFIX}stops", _integers)  # the same of its tensors: the parameter, and in the end that of the size
PATTERN = Mark("op_pattern", int)  # TVM's: the kind that relax.transform.AnnotateTIROpPattern gave it
_OF_KERNELS: tuple[Mark[Any], ...] = (TEMPLATE, CHOICE, WORKLOAD, FLOPS, CONCAT, SLICE, CAST)

# Attribute of `main`, set by `ir_passes/extents/hold_extents.py`.
EXTENTS = Mark(f"{_PREFIX}extents", str)  # JSON: the sizes that are parameters, and how much there is of each tensor

# Annotations of a block, set by computes, read by schedules.
ANCHOR = Mark(f"{_PREFIX}anchor", str)  # the block that a template is built around: the template's name
STAGE = Mark(f"{_PREFIX}stage", str)  # a block before the anchor that is to stay a buffer of its own: what it is
SHARED = "shared"  # a stage of a kernel without an anchor: many elements of what reads it read the same one
DILATION = Mark(f"{_PREFIX}dilation", _integers)  # of a stage of tiles: how far from each other their pixels are
LANES = Mark(f"{_PREFIX}lanes", int)  # of a contraction: its columns in one vector register
BLOCK_LINES = Mark(f"{_PREFIX}block_lines", int)  # of one whose sums are read by lines of pixels: lines in a block

# Annotations of loops, set by schedules. `compiler/lowering/select_dots.py` puts instructions in the place of the loops
# of one step, and takes these off.
ROLE = Mark(f"{_PREFIX}role", str)  # of each loop of a step: what it counts, one of ROLES
UNIT = Mark(f"{_PREFIX}unit", str)  # of the outermost of them: the unit
SUMS = Mark(f"{_PREFIX}sums", bool)  # of the outermost loop over k: behind it sums are stored
TILES = Mark(f"{_PREFIX}tiles", bool)  # of the loop over tiles: outside of it registers are set up
# Of the loop around a step, set by it, too; what compiles it leaves it a loop (`compiler/lowering/kept_loops.py`).
ROLLED = Mark(f"{_PREFIX}rolled", bool)
# `compiler/lowering/operand_lanes.py` loads what a loop over k reads of the first operand at once.
PLACES = Mark(f"{_PREFIX}places", int)  # of the loop: elements that a load brings
# `compiler/lowering/overlap.py` moves what is done with a tile into the next one.
OVERLAP = Mark(f"{_PREFIX}overlap", bool)  # of the loop over tiles
# `compiler/lowering/squares.py` transposes in registers what a loop over columns and the one over rows in it write.
SQUARE = Mark(f"{_PREFIX}square", int)  # the extent of both
# `compiler/lowering/skip_padding.py` leaves out the iterations of a loop over offsets of a filter that meet no image.
INSIDE = Mark(f"{_PREFIX}inside", _integers)  # the image's axis, the padding before the image there, its extent;
# of an anchor block: those of its outermost loops over k, one after the other
# `compiler/lowering/nonzero_loops.py` reads the length of a loop from memory.
BOUNDED = Mark(f"{_PREFIX}bounded", bool)  # of one whose body is a condition that says where it begins and ends
NONZEROS = Mark(f"{_PREFIX}nonzeros", bool)  # of one over the blocks of a panel that are not zero
TASKS = Mark(f"{_PREFIX}tasks", int)  # of one over tiles: into how many tasks it is cut; of an anchor block: the same
# `compiler/lowering/copies_ahead.py` makes pipelines of what a block of threads copies to memory that it shares.
AHEAD = Mark(
    f"{_PREFIX}ahead", int
)  # of a loop over slabs: how many are there at a time; stays, as it has its barriers
LATE = Mark(f"{_PREFIX}late", int)  # of the same loop, of units that read shared memory by themselves: how many slabs'
# products may be on the way when those of the next begin
LINES = Mark(f"{_PREFIX}lines", _integers)  # of a loop with COPY: rows of A in all, and the elements of k of each; of
# the block that makes A a stage: the same
COPY = Mark(f"{_PREFIX}copy", _integers)  # of a loop over elements side by side: a row's elements in shared memory,
# threads that share rows, rows of each of them, and how many of those are rows of one instruction, side by side
# `schedules/tensorir/prefetch.py` asks for the next panel in the loop over chunks of k inside the loop over tiles.
PREFETCH_TILES = Mark(f"{_PREFIX}prefetch_tiles", int)  # bytes ahead of what is read; 0: the next panel
PREFETCH_CHUNKS = Mark(f"{_PREFIX}prefetch_chunks", int)  # cache lines that each asks for

# Of what a block of threads does: `compiler/lowering/stop_early.py` sets it for `compiler/codegen/cuda_kernels.py`.
RUNS_IF = Around(f"{_PREFIX}runs_if")  # whether there is anything to do

# What ROLE says, outermost loop first.
ROLES = ("register", "row", "vector", "lane", "group", "term")


def kernel_marks(function: Node) -> dict[str, Any]:
    """The attributes of a PrimFunc that are ours, as TVM has them."""
    return {mark.name: function.attrs[mark.name] for mark in _OF_KERNELS if mark.of(function) is not None}


def without(annotations: Mapping[str, Any], *marks: Mark[Any]) -> dict[str, Any]:
    """Annotations but for some."""
    names = {mark.name for mark in marks}
    return {name: value for name, value in annotations.items() if name not in names}


# Roles of what a contraction multiplies: calls around the operands of the product, which every pass carries along.
LHS, RHS = f"{_PREFIX}lhs", f"{_PREFIX}rhs"
_PURE = 1  # tirx's CallEffectKind.kPure


def _register() -> None:
    known = set(Op.list_op_names())
    for name in (LHS, RHS):
        if name not in known:  # else another copy of this module in the process has registered it
            register_op_attr(name, "TCallEffectKind", _PURE)
            register_op_attr(name, "TVectorizable", True)
            register_op_attr(name, "TScriptPrinterName", name)


_register()


def operand(role: str, value: Scalar) -> Scalar:
    """A factor of a contraction's product, marked for what it is."""
    value = value.asobject() if isinstance(value, te.tensor.TensorSlice) else value
    return Call(Op.get(role), [value], ret_ty=value.ty)


def operands(node: Node, role: str) -> list[Scalar]:
    """The operands of a role inside a statement or an expression."""
    marked: list[Scalar] = []

    def note(call: Call) -> None:
        if isinstance(call.op, Op) and str(call.op.name) == role:
            marked.append(call.args[0])

    tvm_ffi.structural_walk(node, (Call, note))
    return marked


def without_roles(node: Node) -> Node:
    """A statement or an expression whose operands are no longer marked."""

    def plain(call: Call) -> Node:
        return call.args[0] if isinstance(call.op, Op) and str(call.op.name) in (LHS, RHS) else call

    return tvm_ffi.structural_map(node, (Call, plain), order="post")
