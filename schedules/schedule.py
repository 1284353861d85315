"""Gives every kernel of a module its schedule: the template that it was lowered for, or the plain one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import ScheduleError

from ..annotations import CHOICE, FALLBACK, FLOPS, TEMPLATE, THREADS
from ..errors import CompilerError
from ..failures import failing_in, reason_of
from ..ir_types import IRModule, PrimFunc
from .templates import choices, plain
from .templates.choices import Choice
from .templates.template import Chooser, Decision
from .templates.transposition import squares_of
from .tensorir import blocks
from .tensorir.prefetch import insert_prefetches
from .tensorir.rebuild import found

# TVM's own, without its check of each argument's type in every call: mypy has made it; it took a tenth of a compile.
_SCHEDULE: Any = type(
    "Schedule",
    (Schedule,),
    {name: method.__wrapped__ for name, method in vars(Schedule).items() if hasattr(method, "__wrapped__")},
)


def schedule_module(
    module: IRModule, decide: Chooser, on_kernel: Callable[[str], None] = lambda name: None
) -> IRModule:
    """Schedules every PrimFunc.

    Args:
        decide: knows the templates, and chooses for kernels that none was chosen for when they were lowered.
        on_kernel: called with the name of each kernel before it is scheduled.

    Raises:
        CompilerError: not even the plain schedule takes a kernel; the kernel and its nodes are named.
    """
    functions = {}
    for variable, function in module.functions.items():
        if isinstance(function, tirx.PrimFunc):
            on_kernel(str(variable.name_hint))
            nodes = partial(_nodes, module, variable)
            with failing_in(f"kernel '{variable.name_hint}'", "a kernel cannot be scheduled", nodes=nodes):
                functions[variable] = schedule_kernel(function, decide)
        else:
            functions[variable] = function
    return tvm.IRModule(functions, attrs=module.attrs)


def schedule_kernel(function: PrimFunc, decide: Chooser) -> PrimFunc:
    """Schedules one kernel; when its template refuses it, by the plain schedule, with the reason as an attribute."""
    sch = _fresh(function)
    flops = sum(_flops(sch, block) for block in blocks.anchors(sch))
    name, choice, reason = TEMPLATE.of(function), None, None
    marks: dict[str, Any] = {}
    if name is not None:
        try:
            choice = _schedule(sch, name, CHOICE.of(function), decide)
        except (ScheduleError, ValueError) as error:
            reason, name, sch = f"{name}: {reason_of(error)}", None, _fresh(function)
    if name is None or choice is None:
        decision = _schedule_plainly(sch, decide)
        name, choice, marks = decision.template.name, decision.choice, decision.marks()
    scheduled = insert_prefetches(sch.mod["main"], decide.target.core.line_bytes).without_attr("global_symbol")
    scheduled = FLOPS.on(TEMPLATE.on(scheduled, name), flops)
    for mark, value in marks.items():
        scheduled = scheduled.with_attr(mark, value)
    scheduled = THREADS.on(scheduled, min(choice.threads, _most_iterations(scheduled)))
    return scheduled if reason is None else FALLBACK.on(scheduled, reason)


def _schedule(sch: Schedule, name: str, choice: str | None, decide: Chooser) -> Choice:
    if choice is None:
        raise CompilerError(f"a kernel of the template '{name}' says no choice")
    parsed = choices.parse(choice)
    decide.named(name).schedule(sch, parsed, decide.target)
    return parsed


def _most_iterations(function: PrimFunc) -> int:
    """The most iterations of a parallel loop, 1 where there is none."""
    parallel = (loop for loop in found(function.body, tirx.For) if loop.kind == tirx.ForKind.PARALLEL)
    return max((int(loop.extent) for loop in parallel), default=1)


def _schedule_plainly(sch: Schedule, decide: Chooser) -> Decision[Any, Any]:
    """Schedules a kernel that was lowered for no template; returns which one takes it, and how."""
    last = plain.inline_all(sch)
    work = squares_of(sch, last, decide.target) if len(blocks.child_blocks(sch)) == 1 else None
    decision = decide(work or plain.elements_of(sch, last, decide.target) or plain.NOTHING)
    decision.template.schedule(sch, decision.choice, decide.target)
    return decision


def _nodes(module: IRModule, kernel: PrimFunc) -> list[str]:
    """The hints of the bindings of `main` that call a kernel."""
    return [
        str(binding.var.name)
        for block in module["main"].body.blocks
        for binding in block.bindings
        if isinstance(binding.value, relax.Call) and any(kernel.same_as(argument) for argument in binding.value.args)
    ]


def _fresh(function: PrimFunc) -> Schedule:
    return _SCHEDULE(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}))


def _flops(sch: Schedule, block: blocks.Block) -> int:
    """Operations of an anchor: as its template says, or one a point of its domain (two for a sum of products)."""
    stated = FLOPS.of(sch.get(block))
    return blocks.points(sch, block) if stated is None else stated
