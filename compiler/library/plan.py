"""The plan: kernels, a tree of steps, buffers with offsets, constants. All that code generation and reports read.

A plan is plain data. `planner.make_plan` makes it of a graph and its kernels; `lifetimes` says how long each buffer is
needed, `memory` gives those in the workspace their offsets; a code generator writes it as code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ...sizes import Dimension, Size
from .tensor_spec import StateSpec, TensorSpec

# A size or an offset in bytes that is known when the model is compiled; `Size` is one that may depend on dimensions.
Bytes: TypeAlias = int

ALIGNMENT: Bytes = 64
# The memory that the caller passes in. A target with several memories has regions of other names too.
ARENA = "arena"


class BufferKind(Enum):
    """Whose memory a buffer is."""

    INPUT = "input"
    OUTPUT = "output"
    CONSTANT = "constant"
    WORKSPACE = "workspace"


@dataclass(frozen=True)
class Buffer:
    """A stretch of memory that steps read and write.

    Attributes:
        kind: whose memory it is.
        bytes: its size.
        offset: where it starts: in its region or the weights in bytes; for inputs and outputs their position. A region
            is planned at the bounds of dimensions, so that offsets are numbers whatever the sizes are.
        first_step, last_step: the steps between which its contents matter, both included, as `lifetimes` numbers them;
            ``first_step`` is greater than ``last_step`` for a buffer that no step uses.
        region: the memory that it is in, for a buffer of the workspace.
    """

    kind: BufferKind
    bytes: Size
    offset: Bytes
    first_step: int
    last_step: int
    region: str = ARENA

    def overlaps_in_time(self, other: Buffer) -> bool:
        """Whether both hold contents during some step."""
        return self.first_step <= other.last_step and other.first_step <= self.last_step


@dataclass(frozen=True)
class Kernel:
    """A compiled function of the library.

    Attributes:
        symbol: its C name.
        function: the name of its PrimFunc in the module.
        template: the schedule template that made it; empty when none says.
        fallback: which template it was lowered for and why that refused it; empty where none did.
        flops: floating-point operations of one call, by the direct algorithm; 0: none, or not known.
        bytes: bytes one call must move at least: what it reads of inputs and constants, and its outputs, each once.
        threads: how many share one call at most; 1: none of its loops is parallel.
        scratch: sizes of its workspace arguments, which follow its tensors.
        dimensions: those whose values follow as int64_t.
        constant_bytes: those of `bytes` that it reads of constants.
    """

    symbol: str
    function: str
    template: str
    flops: int
    bytes: Bytes
    scratch: tuple[Size, ...]
    dimensions: tuple[Dimension, ...] = ()
    fallback: str = ""
    threads: int = 1
    constant_bytes: Bytes = 0


@dataclass(frozen=True)
class Call:
    """A step that calls a kernel: its arguments are indices into `Plan.buffers`.

    `sources` names the nodes of the model that the step computes.
    """

    kernel: int
    arguments: tuple[int, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Fit:
    """How a tensor of the caller's, without gaps, lies in a buffer that has room for the largest.

    Attributes:
        bounds, sizes: of each axis how many elements there is room for, and how many there are; at least one axis.
        element: the size of an element.
        spread: whether elements go from the caller's tensor to the buffer with gaps, or back.
    """

    bounds: tuple[int, ...]
    sizes: tuple[Size, ...]
    element: Bytes
    spread: bool


@dataclass(frozen=True)
class Copy:
    """A step that copies the bytes of one buffer to another: an output that is an input, a constant or a duplicate.

    With `turn`, the buffer of a counter, they go to the slice that it counts of a destination of several. With `fit`
    only what is there of a tensor is copied.
    """

    source: int
    destination: int
    sources: tuple[str, ...]
    turn: int | None = None
    fit: Fit | None = None


@dataclass(frozen=True)
class Numbers:
    """A step that writes sizes, as they are in this call, to buffers of an int64_t each."""

    destinations: tuple[int, ...]
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Equal:
    """Whether dimensions have these values in this call."""

    values: tuple[tuple[Dimension, int], ...]


@dataclass(frozen=True)
class Scalar:
    """A number that is known when the library runs: an int64_t in a buffer."""

    buffer: int


@dataclass(frozen=True)
class Loop:
    """Steps that run again and again.

    Attributes:
        count: how often at most; read once, before the first turn.
        body: the steps of a turn.
        counter: the buffer of an int64_t to which the number of the turn is written before it, from 0 on.
        condition: the buffer of a byte that is read before each turn: 0 ends the loop.
        carried: buffers that no step outside of the loop uses, and whose contents a turn leaves for the next. Those
            that are used outside keep their contents anyway.
    """

    count: Size | Scalar
    body: tuple[Step, ...]
    counter: int | None = None
    condition: int | None = None
    carried: tuple[int, ...] = ()


@dataclass(frozen=True)
class Branch:
    """Steps that run if the byte in a buffer is not 0, or dimensions have some values, and others that run if not."""

    condition: int | Equal
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...] = ()


Step: TypeAlias = Call | Copy | Numbers | Loop | Branch


@dataclass(frozen=True)
class Constants:
    """The weights: contents without duplicates, and where each starts in the weights section."""

    contents: tuple[bytes, ...] = ()
    offsets: tuple[Bytes, ...] = ()

    @property
    def nbytes(self) -> Bytes:
        """Size of the section."""
        return self.offsets[-1] + len(self.contents[-1]) if self.contents else 0


@dataclass(frozen=True)
class Region:
    """A memory, and how much of it the library needs: a multiple of what offsets are multiples of."""

    name: str
    bytes: Bytes


@dataclass(frozen=True)
class Plan:
    """All a library does, in the order it does it.

    Attributes:
        name: prefix of its C symbols.
        inputs, outputs: the tensors at the border, in the order of the C arrays.
        kernels: each once, in the order of first use.
        steps: in the order they run.
        buffers: everything that steps refer to.
        constants: contents of the weights section.
        regions: the memories that buffers of the workspace are in.
        dimensions: what sizes depend on, in the order in which the caller passes their values.
        states: inputs that a call changes.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    constants: Constants
    regions: tuple[Region, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    states: tuple[StateSpec, ...] = ()

    @property
    def workspace_bytes(self) -> Bytes:
        """Size of the arena."""
        return sum(region.bytes for region in self.regions if region.name == ARENA)


def new_buffer(kind: BufferKind, size: Size, offset: Bytes = 0) -> Buffer:
    """A buffer that no step uses yet."""
    return Buffer(kind, size, offset, first_step=0, last_step=-1)


def leaves(steps: Sequence[Step]) -> Iterator[Call | Copy]:
    """The calls and copies of a tree of steps, each once, in the order in which they stand."""
    for step in steps:
        if isinstance(step, Loop):
            yield from leaves(step.body)
        elif isinstance(step, Branch):
            yield from leaves((*step.then, *step.otherwise))
        elif not isinstance(step, Numbers):
            yield step


def align(size: Bytes, unit: Bytes = ALIGNMENT) -> Bytes:
    """The next multiple of a number."""
    return -(-size // unit) * unit
