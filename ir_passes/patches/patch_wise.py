"""Where a graph takes more memory than there is, operators at its peak are computed patch by patch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.constants import constant
from ..core.graph import MAIN, Binding, Expr, Graph, Var
from ..core.rewriter import dtype_of, shape_of
from ..dialect.control_flow import loop
from ..dialect.patches import Patches, inside, patch
from .region import read_by
from .search import Plan, best_plans, memory_of

_BODY = "patches"


@dataclass(frozen=True)
class PatchWise(GraphPass):
    """A run of convolutions -> a loop over patches of their result (Lin et al., "MCUNetV2", 2021).

    A patch is computed from the part of the first image that it needs, with the pixels around it that windows reach;
    those are computed for each patch anew. Where a patch reaches outside of an image in the middle, what stands there
    is made what the next operator pads with. The body of the loop is a function of the module, which passes that
    follow treat as `main`. Numbers are those of the whole images.

    Contract: the module is left as it is where the limit is kept, or where nothing helps; `main` and each body are
    graphs of the same operators as before, with `dialect/patches.py`.

    Options:
        limit_bytes: what tensors between operators may take at a time; 0: there is no limit.
        saves: whether kernels save memory (`Target.saves_memory`).
    """

    limit_bytes: int = 0
    saves: bool = False

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        if not self.limit_bytes:
            return PassResult(module, False)
        graph = Graph.read(module)
        plans = best_plans(graph, memory_of(graph, self.saves), self.limit_bytes)
        for plan in plans:
            name = _free_name(module)
            body = _body(module, plan)
            module = _with_loop(module, plan, name)
            module[relax.GlobalVar(name)] = body.with_attr("global_symbol", name)
        return PassResult(module, bool(plans))


def _free_name(module: tvm.IRModule) -> str:
    taken = {str(each.name_hint) for each in module.functions}
    number = 0
    while f"{_BODY}_{number}" in taken:
        number += 1
    return f"{_BODY}_{number}"


class _Body:
    """The operators of a region on patches, bound one after the other."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.turn = relax.Var("turn", relax.TensorType([], "int64"))
        self.origin = relax.Var(str(plan.region.origin.name), plan.region.origin.ty)
        self.bindings: list[Binding] = []
        self._made: dict[Var, Expr] = {}
        self._cut: dict[tuple[Var, Patches, float], Expr] = {}
        self._normalize = relax.BlockBuilder().normalize

    def member(self, var: Var) -> Expr:
        """Computes a patch of a member of the region."""
        stencil, places = self.plan.region.stencils[var], self.plan.places
        operands = []
        for image in stencil.images:
            needed = read_by(stencil, places[var], self.plan.patched, self.plan.region.sizes[image])
            axes = zip(stencil.axes, self.plan.patched, strict=True)
            is_padded = any(axis.is_padded and cut for axis, cut in axes)
            operands.append(self._operand(image, needed, stencil.value if is_padded else None))
        self._made[var] = made = self._emit(stencil.remake(operands, self.plan.patched), var)
        return made

    def _operand(self, image: Var, needed: Patches, value: float | None) -> Expr:
        """What an operator reads of an image: a part of its patch, with a value outside of the image if it pads."""
        region, places = self.plan.region, self.plan.places
        is_source = image.same_as(region.source)
        key = image, needed if is_source else places[image], 0.0 if value is None else value
        if is_source:
            if key not in self._cut:
                first = not region.origin.same_as(region.source)
                cut = patch(self.origin, self.turn, needed, key[2], channels_first=first)
                self._cut[key] = self._emit(cut, image)
            return self._cut[key]
        have, whole = places[image], self._made[image]
        if value is not None and not self._is_inside(needed):
            if key not in self._cut:
                self._cut[key] = self._emit(inside(whole, self.turn, have, value), image)
            whole = self._cut[key]
        starts = [each.first - own.first for each, own in zip(needed.spans, have.spans, strict=True)]
        sizes = [each.size for each in needed.spans]
        if sizes == [own.size for own in have.spans]:
            return whole
        ends = [start + size for start, size in zip(starts, sizes, strict=True)]
        return self._emit(relax.op.strided_slice(whole, [1, 2], starts, ends), image)

    def _is_inside(self, places: Patches) -> bool:
        counts = self.plan.down, self.plan.across
        return all(span.is_inside(count) for span, count in zip(places.spans, counts, strict=True))

    def _emit(self, value: Expr, name: Var) -> Expr:
        if isinstance(value, relax.Var):
            return value
        value = self._normalize(value)
        var = relax.DataflowVar(str(name.name), value.ty)
        self.bindings.append((var, value))
        return var


def _body(module: tvm.IRModule, plan: Plan) -> Expr:
    """The function of a turn of the loop: the number of the turn and the origin -> a patch of the result."""
    body = _Body(plan)
    results = [body.member(var) for var in plan.region.members]
    attributes = module[MAIN].attrs
    graph = Graph((body.turn, body.origin), tuple(body.bindings), (results[-1],), True, attributes)
    return graph.write(module)[MAIN]


def _with_loop(module: tvm.IRModule, plan: Plan, name: str) -> tvm.IRModule:
    """`main` with a loop in the place of a region."""
    graph = Graph.read(module)
    region, patches = plan.region, plan.places[plan.region.result]
    normalize = relax.BlockBuilder().normalize
    channels = (shape_of(region.result) or ())[-1]
    dtype, hint = dtype_of(region.result), str(region.result.name)
    sizes = [patches.rows.size, patches.columns.size]
    count = plan.down * plan.across
    stack = relax.TensorType([count, 1, *sizes, channels], dtype)
    turns = constant(np.asarray(count, np.int64))
    made: list[Binding] = []

    def emit(value: Expr) -> Var:
        value = normalize(value)
        made.append((relax.DataflowVar(hint, value.ty), value))
        return made[-1][0]

    looped = emit(loop(name, turns, None, [], [region.origin], [stack]))
    whole = emit(relax.TupleGetItem(looped, 0))
    if plan.across > 1:
        grid = emit(relax.op.reshape(whole, [plan.down, plan.across, *sizes, channels]))
        whole = emit(relax.op.permute_dims(grid, [0, 2, 1, 3, 4]))
    extents = [plan.down * sizes[0], plan.across * sizes[1]]
    whole = emit(relax.op.reshape(whole, [1, *extents, channels]))
    asked = [patches.rows.extent, patches.columns.extent]
    if extents != asked:
        emit(relax.op.strided_slice(whole, [1, 2], [0, 0], asked))
    made[-1] = region.result, made[-1][1]
    gone = set(region.members)
    bindings: list[Binding] = []
    for var, value in graph.bindings:
        if var.same_as(region.result):
            bindings += made
        elif var not in gone:
            bindings.append((var, value))
    return replace(graph, bindings=tuple(bindings)).write(module)
