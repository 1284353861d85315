"""Which functions of a graph become kernels of the library: those that are equal become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import tvm_ffi
from tvm import s_tir, tirx

from ...annotations import FALLBACK, FLOPS, TEMPLATE, THREADS
from ...ir_types import Block, IRModule, PrimFunc, Scalar
from ..library.naming import identifier
from ..library.plan import BufferKind, Bytes, Kernel
from ..library.signature import MAX_THREADS
from .graph import Graph
from .graph_steps import reading
from .kernel_work import argument_bytes, counted_flops, least_bytes


@dataclass(frozen=True)
class KernelTable:
    """The kernels of a library, in the order of first use.

    Attributes:
        module: the scheduled module.
        graph: what calls them.
        symbols: their C names.
        names: their PrimFuncs in the module; of those that differ in names alone the first.
        kernel_of: for each function of the graph the position of its kernel.
    """

    module: IRModule
    graph: Graph
    symbols: tuple[str, ...]
    names: tuple[str, ...]
    kernel_of: Mapping[str, int]

    @property
    def functions(self) -> list[tuple[str, PrimFunc]]:
        """The C name and the scheduled PrimFunc of each."""
        return [(symbol, self.module[name]) for symbol, name in zip(self.symbols, self.names, strict=True)]

    def reading(self, symbol: str) -> AbstractContextManager[None]:
        """A block that reads a kernel, and names it with its nodes where that fails."""
        return reading(symbol, self.nodes[f"kernel '{symbol}'"])

    def kernels(self, scratch: Sequence[tuple[Bytes, ...]]) -> list[Kernel]:
        """The kernels as the plan has them, with the scratch that lowering found them to need.

        Raises:
            CompilerError: a kernel cannot be read.
        """
        arguments = {}
        for name in self.graph.functions:
            with self.reading(self.symbols[self.kernel_of[name]]):
                arguments[name] = argument_bytes(self.module[name])
        moved = least_bytes(self.graph.calls, arguments)
        known = {i for i, buffer in enumerate(self.graph.buffers) if buffer.kind is BufferKind.CONSTANT}
        constants = least_bytes(self.graph.calls, arguments, among=known)
        kernels = []
        for symbol, name, sizes in zip(self.symbols, self.names, scratch, strict=True):
            function = self.module[name]
            with self.reading(symbol):
                flops = FLOPS.of(function) or counted_flops(function)
            kernels.append(
                Kernel(
                    symbol=symbol,
                    function=name,
                    template=TEMPLATE.of(function) or "",
                    flops=flops,
                    bytes=moved[name],
                    constant_bytes=constants[name],
                    scratch=sizes,
                    fallback=FALLBACK.of(function) or "",
                    threads=THREADS.of(function) or MAX_THREADS,
                )
            )
        return kernels

    @property
    def nodes(self) -> dict[str, tuple[str, ...]]:
        """For each kernel, as errors name it, the nodes of the model that it computes where it is called first."""
        nodes: dict[str, tuple[str, ...]] = {}
        for call in self.graph.calls:
            nodes.setdefault(f"kernel '{self.symbols[self.kernel_of[call.function]]}'", tuple(call.sources))
        return nodes

    @property
    def dtypes(self) -> set[str]:
        """The dtypes of the elements that kernels read, keep and write, and of floats that they round on the way."""
        dtypes: set[str] = set()

        def note(block: Block) -> None:
            dtypes.update(str(buffer.dtype) for buffer in block.alloc_buffers)

        def note_rounded(cast: Scalar) -> None:
            if "float" in str(cast.ty.dtype):
                dtypes.add(str(cast.ty.dtype))

        for symbol, function in self.functions:
            with self.reading(symbol):
                dtypes.update(str(buffer.dtype) for buffer in function.params)
                tvm_ffi.structural_walk(function.body, [(s_tir.SBlock, note), (tirx.Cast, note_rounded)])
        return dtypes


def kernel_table(module: IRModule, graph: Graph, prefix: str) -> KernelTable:
    """The kernels that a graph of this module needs, their C names with this prefix.

    Raises:
        CompilerError: a kernel cannot be read.
    """
    names: list[str] = []
    kernel_of: dict[str, int] = {}
    known: dict[object, int] = {}
    for call in graph.calls:
        function = call.function
        if function in kernel_of:
            continue
        with reading(function, call.sources):
            key = tvm_ffi.StructuralKey(module[function].without_attr("global_symbol"))
            kernel_of[function] = known.setdefault(key, len(names))
        if kernel_of[function] == len(names):
            names.append(function)
    symbols = tuple(f"{prefix}_k{i}_{identifier(name)}" for i, name in enumerate(names))
    return KernelTable(module, graph, symbols, tuple(names), kernel_of)
