"""The plan: kernels, steps in order, buffers with offsets, constants. All that code generation and reports read.

A plan is plain data. `planner.make_plan` reads it off a Relax module; `memory` gives the workspace buffers their
offsets; `glue` writes it as C.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from .tensor_spec import TensorSpec

# A size or an offset in bytes. An expression of a bounded dimension may join the integers here one day.
Bytes: TypeAlias = int

ALIGNMENT: Bytes = 64


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
        offset: where it starts: in the workspace or the weights in bytes; for inputs and outputs their position.
        first_step, last_step: the steps between which its contents matter, both included; ``first_step`` is greater
            than ``last_step`` for a buffer that no step uses.
    """

    kind: BufferKind
    bytes: Bytes
    offset: Bytes
    first_step: int
    last_step: int

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
        scratch: sizes of its workspace arguments, which follow its tensors.
    """

    symbol: str
    function: str
    template: str
    flops: int
    bytes: Bytes
    scratch: tuple[Bytes, ...]
    fallback: str = ""


@dataclass(frozen=True)
class Call:
    """A step that calls a kernel: its arguments are indices into `Plan.buffers`.

    `sources` names the nodes of the model that the step computes.
    """

    kernel: int
    arguments: tuple[int, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """A step that copies the bytes of one buffer to another: an output that is an input, a constant or a duplicate."""

    source: int
    destination: int
    sources: tuple[str, ...]


# Loops and branches will be further kinds of step, each with steps inside.
Step: TypeAlias = Call | Copy


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
class Plan:
    """All a library does, in the order it does it.

    Attributes:
        name: prefix of its C symbols.
        inputs, outputs: the tensors at the border, in the order of the C arrays.
        kernels: each once, in the order of first use.
        steps: in the order they run.
        buffers: everything that steps refer to.
        constants: contents of the weights section.
        workspace_bytes: size of the arena; a multiple of `ALIGNMENT`.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    constants: Constants
    workspace_bytes: Bytes


def align(size: Bytes) -> Bytes:
    """The next multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT
