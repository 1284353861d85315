"""Bodies of loops and branches as Relax functions, each the `main` of a module of its own until all are joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tvm
from tvm import relax

from ...errors import UnsupportedError
from ...ir_passes.core.functions import joined
from ...ir_passes.core.graph import MAIN, Graph, remove_dead
from ...ir_passes.dialect.control_flow import BRANCH, LOOP, branch_of, loop_of
from ...ir_types import IRModule, Type
from .emitter import Emitter, Expr
from .limits import UNROLLED_NODES
from .scope import Scope

# From a new walk to the parameters and the results of a function.
Fill = Callable[[Scope], tuple[Sequence[Expr], Sequence[Expr]]]


@dataclass(frozen=True)
class Body:
    """A function that was made.

    Attributes:
        parameters, results: its own; parameters for what it captures come behind.
        captures: variables of the walk around it, and the parameters that stand for them.
    """

    module: IRModule
    parameters: tuple[Expr, ...]
    captures: Mapping[Expr, Expr]
    types: tuple[Type, ...]

    def taking(self, captures: Sequence[Expr]) -> IRModule:
        """The function with a parameter for each of these variables, captured or not."""
        behind = [self.captures[each] if each in self.captures else relax.Var("unread", each.ty) for each in captures]
        old = self.module[MAIN]
        function = relax.Function([*self.parameters, *behind], old.body, old.ret_ty, attrs=old.attrs)
        module = self.module.clone()
        module.update_func(module.get_global_var(MAIN), function)
        return module

    def without_results(self, count: int) -> Body:
        """The function without its first results."""
        graph = Graph.read(self.module)
        outputs = graph.outputs[count:]
        kept = replace(graph, outputs=outputs, bindings=tuple(remove_dead(graph.bindings, outputs)))
        return replace(self, module=kept.write(self.module), types=self.types[count:])


@dataclass
class Bodies:
    """All that were made while a model is imported.

    Attributes:
        converted: of nodes with graphs, as errors name them, the attributes whose graphs were converted.
    """

    converted: dict[str, set[str]] = field(default_factory=dict)
    _named: dict[str, IRModule] = field(default_factory=dict)
    _nodes: int = 0

    def count(self, nodes: int, where: str, attribute: str) -> None:
        """Notes that the nodes of a graph in a node are converted, which happens once a turn where loops are unrolled.

        Raises:
            UnsupportedError: it happens too often: loops in loops multiply.
        """
        self.converted.setdefault(where, set()).add(attribute)
        self._nodes += nodes
        if self._nodes > UNROLLED_NODES:
            raise UnsupportedError(
                f"branches and loops have more than {UNROLLED_NODES:,} nodes when loops are unrolled", where=where
            )

    def make(self, outer: Scope, fill: Fill) -> Body:
        """Makes a function; TVM warns of builders that are left half-way, so an error is kept until it is closed."""
        builder = relax.BlockBuilder()
        scope = Scope(
            outer.opsets,
            Emitter(builder, sizes_vary=outer.emitter.sizes_vary),
            attributes=outer.attributes,
            prefix=outer.prefix,
            defines=outer.defines,
            definitions=outer.definitions,
            depth=outer.depth + 1,
            outer=outer,
        )
        failure: BaseException | None = None
        parameters: Sequence[Expr] = ()
        with builder.function(MAIN):
            with builder.dataflow():
                try:
                    parameters, results = fill(scope)
                except BaseException as error:
                    failure, results = error, []
                result = builder.emit_output(relax.Tuple(list(results)))
            builder.emit_func_output(result, [*parameters, *scope.captures.values()])
        if failure is not None:
            raise failure
        module = relax.transform.DeadCodeElimination([MAIN])(builder.get())
        types = tuple(each.ty for each in results)
        return Body(module, tuple(parameters), dict(scope.captures), types)

    def name(self, module: IRModule) -> str:
        """Gives a function its name."""
        name = f"body_{len(self._named)}"
        self._named[name] = module
        return name

    def with_main(self, main: IRModule) -> IRModule:
        """The whole model: `main` and those that are called, by way of others or not."""
        parts, waiting = {MAIN: main}, _called(main)
        while waiting:
            name = waiting.pop(0)
            if name not in parts:
                parts[name] = self._named[name]
                waiting += _called(parts[name])
        return joined(parts)


def _called(module: IRModule) -> list[str]:
    """The bodies that `main` names, in order."""
    rows: dict[str, Callable[[Any], list[str]]] = {
        BRANCH: lambda call: [branch_of(call).then, branch_of(call).otherwise],
        LOOP: lambda call: [loop_of(call).body],
    }
    names: list[str] = []
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name in rows:
                names += rows[value.op.name](value)
    return names
