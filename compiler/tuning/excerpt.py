"""An excerpt of a model: each of its distinct kernels once, on inputs of its own.

Kernels of an excerpt are those of the model: the same operators fused, the same weights. What a kernel reads of another
is an input of the excerpt, and what it gives is an output, so that a wrong result names its kernel. Every kernel's time
counts as often as the model calls it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tvm import relax

from ...annotations import WORKLOAD
from ...frontends import ImportedModel
from ...ir_passes.core.graph import MAIN, Binding, Graph, Var, leaves, substitute
from ...ir_types import IRModule
from ..build import build
from ..options import CompileOptions

if TYPE_CHECKING:
    from ...ir_passes import Pass
    from ...schedules.templates.template import Choose
    from ...targets import Target

_FIRST_OF_KERNELS, _AFTER_KERNELS = "legalize", ("slice_in_place", "concat_in_place")


@dataclass(frozen=True)
class Piece:
    """What became one kernel of a model.

    Attributes:
        workload: that the kernel was chosen for, its key.
        calls: how often the model calls it.
        bindings: the operators of its first call.
    """

    workload: str
    calls: int
    bindings: tuple[Binding, ...]

    @property
    def names(self) -> frozenset[str]:
        """Of its variables, by which steps of a library are known to be its own."""
        return frozenset(str(var.name) for var, _ in self.bindings)


@dataclass(frozen=True)
class Excerpt:
    """The distinct kernels of a model.

    Attributes:
        imported: the model, up to its kernels.
        graph: of it, variables numbered.
        target: what it was made for.
        pieces: one a kernel.
    """

    imported: ImportedModel
    graph: Graph
    target: Target
    pieces: tuple[Piece, ...]

    @property
    def workloads(self) -> list[str]:
        """The keys of all workloads."""
        return list(dict.fromkeys(piece.workload for piece in self.pieces))

    def of(self, workloads: Collection[str]) -> ImportedModel:
        """A model of the kernels of some workloads alone, for the passes that `kernel_passes` gives."""
        parameters: dict[Var, Var] = {}
        places = {var: number for number, (var, _) in enumerate(self.graph.bindings)}
        first = {var: f"p{number}" for number, var in enumerate(self.graph.params)}
        outputs: list[Var] = []
        bindings: list[Binding] = []
        for piece in self.pieces:
            if piece.workload not in workloads:
                continue
            inside = {var for var, _ in piece.bindings}
            read = {leaf for _, value in piece.bindings for leaf in leaves(value)}
            env: dict[Var, Var] = {}
            for var, value in sorted(piece.bindings, key=lambda each: places[each[0]]):
                for leaf in leaves(value):
                    if leaf not in inside and leaf not in env:
                        name = first.get(leaf) or f"x{places[leaf]}"
                        env[leaf] = parameters.setdefault(leaf, relax.Var(name, leaf.ty))
                new = relax.DataflowVar(str(var.name), var.ty)
                bindings.append((new, relax.BlockBuilder().normalize(substitute(value, env)) if env else value))
                env[var] = new
            outputs += [env[var] for var, _ in piece.bindings if var not in read]
        assert bindings
        small = Graph(tuple(parameters.values()), tuple(bindings), tuple(outputs), True, self.graph.attrs)
        return replace(
            self.imported,
            module=small.write(self.imported.module),
            input_names=tuple(str(each.name) for each in small.params),
            output_names=tuple(str(each.name) for each in outputs),
        )


def kernel_passes(order: list[Pass]) -> list[Pass]:
    """The passes of a compile that make kernels of operators, without those that join kernels afterwards."""
    names = [each.name for each in order]
    return [each for each in order[names.index(_FIRST_OF_KERNELS) :] if each.name not in _AFTER_KERNELS]


def _before_kernels(order: list[Pass]) -> list[Pass]:
    return order[: [each.name for each in order].index(_FIRST_OF_KERNELS)]


def excerpt(model: Any, options: CompileOptions, choose: Choose) -> Excerpt:
    """Makes the excerpt of a model.

    Args:
        choose: asked about every workload of the model; the defaults decide what is one kernel.

    Raises:
        TilewrightError: as `build`.
    """
    graph_made = build(model, None, options, stop_after="passes", passes=_before_kernels)
    assert graph_made.imported is not None
    module, graph = _numbered(graph_made.module)
    imported = replace(graph_made.imported, module=module)
    kernels = build(imported, None, options, stop_after="passes", passes=kernel_passes, choose=choose).module
    return Excerpt(imported, graph, graph_made.target, tuple(_pieces(kernels, graph)))


def _numbered(module: IRModule) -> tuple[IRModule, Graph]:
    """The module with variables `v0`, `v1`, ... in `main`: fusion joins the names of what it fuses."""
    graph = Graph.read(module)
    env: dict[Var, Var] = {}
    bindings: list[Binding] = []
    for number, (var, value) in enumerate(graph.bindings):
        normal = relax.BlockBuilder().normalize(substitute(value, env)) if env else value
        env[var] = relax.DataflowVar(f"v{number}", var.ty)
        bindings.append((env[var], normal))
    outputs = tuple(substitute(each, env) for each in graph.outputs)
    numbered = replace(graph, bindings=tuple(bindings), outputs=outputs)
    return numbered.write(module), numbered


def _pieces(kernels: IRModule, graph: Graph) -> Sequence[Piece]:
    """Each distinct kernel, with the operators of its first call."""
    by_name = {str(var.name): (var, value) for var, value in graph.bindings}
    pieces: dict[str, Piece] = {}
    for block in kernels[MAIN].body.blocks:
        for binding in block.bindings:
            value = binding.value
            if not isinstance(value, relax.Call) or str(getattr(value.op, "name", "")) != "relax.call_tir":
                continue
            name = str(value.args[0].name_hint)
            workload = WORKLOAD.of(kernels[name])
            members = [by_name[hint] for hint in str(binding.var.name).split("+") if hint in by_name]
            if workload is None or not members:
                continue
            known = pieces.get(name)
            pieces[name] = replace(known, calls=known.calls + 1) if known else Piece(workload, 1, tuple(members))
    return list(pieces.values())
