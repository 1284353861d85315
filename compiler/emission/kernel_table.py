"""Which functions of a graph become kernels of the library: those that are equal become one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tvm_ffi

from ...errors import CompilerError
from ..library.naming import identifier
from ..library.plan import Bytes, Kernel
from .graph import Graph
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

    module: Any
    graph: Graph
    symbols: tuple[str, ...]
    names: tuple[str, ...]
    kernel_of: Mapping[str, int]

    @property
    def functions(self) -> list[tuple[str, Any]]:
        """The C name and the scheduled PrimFunc of each."""
        return [(symbol, self.module[name]) for symbol, name in zip(self.symbols, self.names, strict=True)]

    def kernels(self, scratch: Sequence[tuple[Bytes, ...]]) -> list[Kernel]:
        """The kernels as the plan has them, with the scratch that lowering found them to need."""
        functions = self.graph.functions
        moved = least_bytes(self.graph.calls, {name: argument_bytes(self.module[name]) for name in functions})
        kernels = []
        for symbol, name, sizes in zip(self.symbols, self.names, scratch, strict=True):
            attributes = self.module[name].attrs or {}
            kernels.append(
                Kernel(
                    symbol=symbol,
                    function=name,
                    template=str(attributes.get("tilewright.template", "")),
                    flops=int(attributes.get("tilewright.flops", 0)) or counted_flops(self.module[name]),
                    bytes=moved[name],
                    scratch=sizes,
                )
            )
        return kernels

    @contextmanager
    def nodes_named(self) -> Iterator[None]:
        """Adds to an error about a kernel which nodes of the model that computes, where it is called first."""
        try:
            yield
        except CompilerError as error:
            for call in self.graph.calls:
                if self.symbols[self.kernel_of[call.function]] == error.where:
                    nodes = f"it computes the nodes: {', '.join(call.sources)}"
                    raise CompilerError(
                        error.what, where=f"kernel '{error.where}'", hint=error.hint, details=[nodes, *error.details]
                    ) from error
            raise


def kernel_table(module: Any, graph: Graph, prefix: str) -> KernelTable:
    """The kernels that a graph of this module needs, their C names with this prefix."""
    names: list[str] = []
    kernel_of: dict[str, int] = {}
    known: dict[Any, int] = {}
    for function in graph.functions:
        key = tvm_ffi.StructuralKey(module[function].without_attr("global_symbol"))
        kernel_of[function] = known.setdefault(key, len(names))
        if kernel_of[function] == len(names):
            names.append(function)
    symbols = tuple(f"{prefix}_k{i}_{identifier(name)}" for i, name in enumerate(names))
    return KernelTable(module, graph, symbols, tuple(names), kernel_of)
