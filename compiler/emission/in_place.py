"""Results that take the place of an operand: of a kernel that reads each element of it where it writes the same one.

    z = conv(x, w) + y      y[n, h, w, c] is read once, by what writes z[n, h, w, c]: z may lie where y lies

So a residual needs no third tensor. It holds for a scheduled kernel whatever its loops are: a block is executed once
for each of its points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import TensorLoad

from ...ir_types import Block, Buffer, IRModule, PrimFunc
from ...schedules.tensorir.rebuild import found
from ..library.plan import BufferKind
from .graph import Graph
from .graph_steps import GraphCall, GraphStep, read_by, reading, renamed, written_by

_DATA_PARALLEL = 0


def in_place(graph: Graph, module: IRModule) -> Graph:
    """The graph, in which results lie where operands lie that nothing else reads afterwards.

    Loops and branches stay as they are.

    Args:
        graph: what calls the kernels.
        module: of scheduled kernels.

    Raises:
        CompilerError: a kernel cannot be read.
    """
    last = {i: number for number, step in enumerate(graph.steps) for i in (*read_by(step), *written_by(step))}
    kept = {*graph.results}
    moved: dict[int, int] = {}
    steps: list[GraphStep] = []
    for number, original in enumerate(graph.steps):
        (step,) = renamed([original], moved)
        if isinstance(step, GraphCall):
            with reading(step.function, step.sources):
                pairs = _pairs(step, module[step.function])
            for output, operand in pairs.items():
                free = last[operand] == number and operand not in kept and operand not in step.outputs
                fits = graph.buffers[operand].bytes == graph.buffers[output].bytes
                ours = graph.buffers[operand].kind is BufferKind.WORKSPACE and step.inputs.count(operand) == 1
                if free and fits and ours and output not in kept and output not in step.inputs:
                    moved[output] = operand
                    last[operand] = last[output]
                    outputs = tuple(operand if each == output else each for each in step.outputs)
                    step = replace(step, outputs=outputs)
        steps.append(step)
    return replace(graph, steps=tuple(steps))


def _pairs(call: GraphCall, function: PrimFunc) -> Mapping[int, int]:
    """For an output of a call the operand that it may overwrite; the largest of several is as good as any."""
    parameters = list(function.params)
    inputs, outputs = parameters[: len(call.inputs)], parameters[len(call.inputs) :]
    blocks: list[Block] = []
    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, blocks.append))
    blocks = [block for block in blocks if block.name_hint != "root"]
    pairs: dict[int, int] = {}
    for output, written in zip(call.outputs, outputs, strict=True):
        for operand, read in zip(call.inputs, inputs, strict=True):
            if output not in pairs and _is_read_where_written(blocks, read, written):
                pairs[output] = operand
    return pairs


def _is_read_where_written(blocks: list[Block], read: Buffer, written: Buffer) -> bool:
    """Whether elements of a buffer are read by what writes the same elements of another one, and by nothing else."""
    readers = [block for block in blocks if _mentions(block, read)]
    writers = [block for block in blocks if _mentions(block, written)]
    if len(readers) != 1 or len(writers) != 1 or not readers[0].same_as(writers[0]):
        return False
    (block,) = readers
    stores = found(block.body, tirx.BufferStore)
    loads = [load for load in found(block.body, TensorLoad) if load.source.same_as(read)]
    same_shape = str(read.dtype) == str(written.dtype) and [*map(int, read.shape)] == [*map(int, written.shape)]
    return (
        same_shape
        and len(stores) == 1
        and block.init is None
        and isinstance(block.body, tirx.BufferStore)
        and all(int(each.iter_type) == _DATA_PARALLEL for each in block.iter_vars)
        and all(all(map(tvm_ffi.structural_equal, load.indices, stores[0].indices)) for load in loads)
    )


def _mentions(block: Block, buffer: Buffer) -> bool:
    regions = [*block.reads, *block.writes]
    return any(region.source.same_as(buffer) for region in regions)
