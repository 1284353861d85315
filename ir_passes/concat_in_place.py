"""Concatenations without copies: the kernels that make the parts write them where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir import TensorLoad, TensorRegion

from .base import GraphPass, PassResult
from .graph import Binding, Expr, Graph, Var, substitute
from .kernel_graph import CONCAT, KernelCall, KernelGraph, kernel_graph, renamed, without_uncalled
from .rewriter import dtype_of


@dataclass(frozen=True)
class _Part:
    """Where a kernel's result goes: at `offset` along `axis` of the result of the concatenation `whole`."""

    whole: KernelCall
    axis: int
    offset: int


@dataclass(frozen=True)
class ConcatInPlace(GraphPass):
    """concat(k1(..), k2(..), ..) -> k1 writes its part of the whole, then k2 its own, in the same memory.

    For kernels marked as concatenations, after fusion and scheduling, all of whose operands are results of kernels that
    nothing else reads. The first kernel makes the whole tensor (`call_tir`, the rest of it not yet written), the others
    are `call_tir_inplace` on it; each gets a PrimFunc of its own, whose last parameter is the whole. Contract: the
    concatenation is gone, and every element of its result is written once.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        parts = _parts(kernel_graph(module, graph))
        if not parts:
            return PassResult(module, False)
        module = module.clone()
        writers = _Writers(module)
        done: dict[Var, Expr] = {}  # concatenation -> the whole, as far as it is written
        bindings: list[Binding] = []
        for var, value in graph.bindings:
            value = renamed(value, done)
            part = parts.get(var)
            if part is not None:
                call = writers.call(value, part, done.get(part.whole.var))
                written = relax.DataflowVar(var.name, call.ty)
                done[part.whole.var] = written
                bindings.append((written, call))
            elif var not in done:  # else all its parts are written
                bindings.append((var, value))
        outputs = tuple(substitute(output, done) for output in graph.outputs)
        module = Graph(graph.params, tuple(bindings), outputs, graph.tuple_result, graph.attrs).write(module)
        return PassResult(without_uncalled(module), True)


def _parts(graph: KernelGraph) -> dict[Var, _Part]:
    """The kernels' results that are parts of a concatenation and of nothing else."""
    found: dict[Var, _Part] = {}
    for whole in graph.calls.values():
        axis = int(whole.function.attrs.get(CONCAT, -1))
        operands = [graph.calls.get(operand) for operand in whole.operands]
        if axis < 0 or not all(operand is not None and _is_part(graph, operand, whole) for operand in operands):
            continue
        offset = 0
        for operand in operands:
            assert operand is not None
            found[operand.var] = _Part(whole, axis, offset)
            offset += operand.shape[axis]
    return found


def _is_part(graph: KernelGraph, operand: KernelCall, whole: KernelCall) -> bool:
    readers = graph.readers_in_graph(operand)
    alone = readers is not None and len(readers) == 1 and readers[0] is whole and whole.reads(operand) == 1
    is_whole_itself = int(operand.function.attrs.get(CONCAT, -1)) >= 0
    return alone and not is_whole_itself and dtype_of(operand.var) == dtype_of(whole.var)


class _Writers:
    """The kernels that write parts, each made once."""

    def __init__(self, module: tvm.IRModule) -> None:
        self.module = module
        self._made: dict[tuple[str, int, int, tuple[int, ...]], Any] = {}

    def call(self, call: Any, part: _Part, whole: Expr | None) -> Expr:
        """`call` with its result written into `whole`, or into a new tensor of that shape."""
        writer = self._writer(call.args[0], part)
        ty = relax.TensorType(part.whole.shape, dtype_of(call))
        operands = list(call.args[1].fields)
        if whole is None:
            return relax.BlockBuilder().normalize(relax.call_tir(writer, relax.Tuple(operands), ty))
        operands = [*operands, whole]
        inplace = relax.op.call_tir_inplace(writer, relax.Tuple(operands), [len(operands) - 1], ty)
        return relax.BlockBuilder().normalize(inplace)

    def _writer(self, gvar: Any, part: _Part) -> Any:
        key = (str(gvar.name_hint), part.axis, part.offset, part.whole.shape)
        if key not in self._made:
            function = writing_a_part(self.module[gvar], part.whole.shape, part.axis, part.offset)
            name = f"{gvar.name_hint}_at_{part.offset}"
            while any(str(other.name_hint) == name for other in self.module.functions):
                name += "_"
            new = relax.GlobalVar(name)
            *inputs, output = gvar.ty.params
            whole = relax.TensorType(part.whole.shape, str(output.dtype))
            relax.expr._update_type(new, relax.FuncType([*inputs, whole], gvar.ty.ret, gvar.ty.purity))
            self.module.update_func(new, function)
            self._made[key] = new
        return self._made[key]


def writing_a_part(function: Any, shape: Sequence[int], axis: int, offset: int) -> Any:
    """A kernel that writes its result, its last parameter, into a larger tensor.

    Args:
        function: a PrimFunc of blocks; parallel iterations write different elements, before and after.
        shape: of the larger tensor.
        axis, offset: where the result starts in it; along the other axes it is as long.
    """
    old = function.params[-1]
    new = tirx.decl_buffer([tirx.IntImm("int64", extent) for extent in shape], str(old.dtype), str(old.name))
    shift = tirx.IntImm("int64", offset)

    def moved(indices: Any) -> list[Any]:
        return [index + shift if position == axis else index for position, index in enumerate(indices)]

    def store(node: Any) -> Any:
        return tirx.BufferStore(new, node.value, moved(node.indices)) if node.buffer.same_as(old) else node

    def load(node: Any) -> Any:
        return tirx.BufferLoad(new, moved(node.indices)) if node.source.same_as(old) else node

    def region(node: Any) -> Any:
        if not node.source.same_as(old):
            return node
        ranges = [tvm.ir.Range.from_min_extent(each.min, each.extent) for each in node.region]
        ranges[axis] = tvm.ir.Range.from_min_extent(ranges[axis].min + shift, ranges[axis].extent)
        return tirx.BufferRegion(new, ranges)

    body = tvm_ffi.structural_map(
        function.body, [(tirx.BufferStore, store), (TensorLoad, load), (TensorRegion, region)]
    )
    return tirx.PrimFunc([*list(function.params)[:-1], new], body, function.ret_type, function.attrs)
