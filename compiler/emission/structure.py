"""What a library does apart from its weights: two models of the same structure differ in constants alone.

A constant is known here by where it is used: equal contents stand once in a library, and others of another model may
be equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import tvm_ffi

from ...ir_types import PrimFunc
from ..library.plan import BufferKind, Bytes
from .graph_steps import GraphBranch, GraphCall, GraphCopy, GraphLoop, GraphStep, renamed

if TYPE_CHECKING:
    from .graph import Graph
    from .kernel_table import KernelTable

_CONSTANT = -1  # stands for all of them in steps


@dataclass(frozen=True)
class Structure:
    """The structure of a library.

    Attributes:
        digest: of its steps and buffers, kernels by number.
        kernels: a digest of each kernel's code, weights being parameters of it.
        weights: where the contents of each use of a constant start, in the order of use.
    """

    digest: str
    kernels: tuple[str, ...]
    weights: tuple[Bytes, ...]


def structure_of(table: KernelTable) -> Structure:
    """The structure of what a graph and its kernels become.

    Raises:
        CompilerError: a kernel cannot be read.
    """
    graph = table.graph
    names = _numbers(graph)
    codes = []
    for symbol, function in table.functions:
        with table.reading(symbol):
            codes.append(code_digest(function))
    text = repr(
        (
            graph.inputs,
            graph.outputs,
            graph.dimensions,
            _steps(renamed(graph.steps, names), table.kernel_of),
            [names[result] for result in graph.results],
            [
                (each.kind.value, each.bytes, each.offset if each.kind is not BufferKind.WORKSPACE else 0)
                for each in graph.buffers
                if each.kind is not BufferKind.CONSTANT
            ],
            [graph.buffers[use].bytes for use in graph.uses],
        )
    )
    return Structure(
        hashlib.sha256(text.encode()).hexdigest()[:32],
        tuple(codes),
        tuple(graph.buffers[use].offset for use in graph.uses),
    )


def code_digest(function: PrimFunc) -> str:
    """The same for kernels that are equal but for the names in them."""
    return f"{tvm_ffi.structural_hash(function.without_attr('global_symbol')) % 2**64:016x}"


def _numbers(graph: Graph) -> dict[int, int]:
    """Buffers by number, as they would be numbered without constants."""
    names, count = {}, 0
    for index, buffer in enumerate(graph.buffers):
        is_constant = buffer.kind is BufferKind.CONSTANT
        names[index] = _CONSTANT if is_constant else count
        count += not is_constant
    return names


def _steps(steps: Sequence[GraphStep], kernel_of: Mapping[str, int]) -> tuple[GraphStep, ...]:
    """Steps that name kernels by number, and no nodes."""

    def step_of(step: GraphStep) -> GraphStep:
        if isinstance(step, GraphCall):
            return replace(step, function=str(kernel_of[step.function]), sources=())
        if isinstance(step, GraphCopy):
            return replace(step, sources=())
        if isinstance(step, GraphLoop):
            return replace(step, body=_steps(step.body, kernel_of))
        if isinstance(step, GraphBranch):
            return replace(step, then=_steps(step.then, kernel_of), otherwise=_steps(step.otherwise, kernel_of))
        return step

    return tuple(map(step_of, steps))
