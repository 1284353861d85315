"""An excerpt of a model: each of its distinct kernels once, on inputs of its own.

Kernels of an excerpt are those of the model: the same operators fused, the same weights. What a kernel reads of another
is an input of the excerpt, and what it gives is an output, so that a wrong result names its kernel. Every kernel's time
counts as often as the model calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tvm import relax

from ...annotations import WORKLOAD
from ...frontends import ImportedModel
from ...ir_passes.core.graph import MAIN, Binding, Graph, Var, leaves, substitute
from ...ir_types import IRModule
from ..build import build
from ..options import CompileOptions

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...ir_passes import Pass
    from ...schedules.templates.template import Choose
    from ...targets import Target

_FIRST_OF_KERNELS, _AFTER_KERNELS = "legalize", ("slice_in_place", "concat_in_place")


@dataclass(frozen=True)
class Excerpt:
    """The distinct kernels of a model.

    Attributes:
        model: what to compile, with the passes that `kernel_passes` gives.
        target: what it was made for.
        calls: how often the model calls the kernel that makes an output, by its name.
        workloads: the workload that the kernel was chosen for, by the output's name.
    """

    model: ImportedModel
    target: Target
    calls: dict[str, int]
    workloads: dict[str, str]


def kernel_passes(order: list[Pass]) -> list[Pass]:
    """The passes of a compile that make kernels of operators, without those that join kernels afterwards."""
    names = [each.name for each in order]
    return [each for each in order[names.index(_FIRST_OF_KERNELS) :] if each.name not in _AFTER_KERNELS]


def _before_kernels(order: list[Pass]) -> list[Pass]:
    return order[: [each.name for each in order].index(_FIRST_OF_KERNELS)]


def excerpt(model: str | OpenedModel, options: CompileOptions, choose: Choose) -> Excerpt:
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
    groups, calls, workloads = _groups(kernels, graph)
    reduced, calls_of, workload_of = _reduced(imported, graph, groups, calls, workloads)
    return Excerpt(reduced, graph_made.target, calls_of, workload_of)


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


def _groups(kernels: IRModule, graph: Graph) -> tuple[list[list[Binding]], list[int], list[str]]:
    """The bindings that the first call of each kernel came from; how often it is called; its workload."""
    by_name = {str(var.name): (var, value) for var, value in graph.bindings}
    position: dict[str, int] = {}
    groups: list[list[Binding]] = []
    calls: list[int] = []
    workloads: list[str] = []
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
            if name in position:
                calls[position[name]] += 1
                continue
            position[name] = len(groups)
            groups.append(members)
            calls.append(1)
            workloads.append(workload)
    return groups, calls, workloads


def _reduced(
    imported: ImportedModel,
    graph: Graph,
    groups: Sequence[Sequence[Binding]],
    calls: Sequence[int],
    workloads: Sequence[str],
) -> tuple[ImportedModel, dict[str, int], dict[str, str]]:
    kept = [binding for group in groups for binding in group]
    order = {var: number for number, (var, _) in enumerate(graph.bindings)}
    parameters: dict[Var, Var] = {}
    outputs: list[Var] = []
    bindings: list[Binding] = []
    count: dict[str, int] = {}
    workload_of: dict[str, str] = {}
    for group, called, workload in zip(groups, calls, workloads, strict=True):
        inside = {var for var, _ in group}
        env: dict[Var, Var] = {}
        read = {leaf for _, value in group for leaf in leaves(value)}
        for var, value in sorted(group, key=lambda each: order[each[0]]):
            for leaf in leaves(value):
                if leaf not in inside and leaf not in env:
                    env[leaf] = parameters.setdefault(leaf, relax.Var(f"x{len(parameters)}", leaf.ty))
            new = relax.DataflowVar(str(var.name), var.ty)
            bindings.append((new, relax.BlockBuilder().normalize(substitute(value, env)) if env else value))
            env[var] = new
        last = [env[var] for var, _ in group if var not in read]
        outputs += last
        for each in last:
            count[str(each.name)], workload_of[str(each.name)] = called, workload
    assert kept
    small = Graph(tuple(parameters.values()), tuple(bindings), tuple(outputs), True, graph.attrs)
    model = replace(
        imported,
        module=small.write(imported.module),
        input_names=tuple(str(each.name) for each in small.params),
        output_names=tuple(str(each.name) for each in outputs),
    )
    return model, count, workload_of
