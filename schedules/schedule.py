"""Gives every kernel of a module its schedule: the template its anchor names, or the plain one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import ScheduleError

from ..failures import failing_in
from ..targets.target import Target
from .templates import (
    attention_schedule,
    contraction_schedule,
    plain,
    rows_schedule,
    window_schedule,
    winograd_schedule,
)
from .templates.attention import ATTENTION
from .templates.contraction import TEMPLATE as CONTRACTION
from .templates.rows import ROWS
from .templates.window import TEMPLATE as WINDOW
from .templates.winograd import TEMPLATE as WINOGRAD
from .tensorir import blocks
from .tensorir.annotations import ANCHOR, FALLBACK, FLOPS, TEMPLATE
from .tensorir.prefetch import insert_prefetches

PLAIN = "plain"

# Template name -> the function that schedules a kernel built around it.
TEMPLATES: dict[str, Callable[[Schedule, Target], None]] = {
    CONTRACTION: contraction_schedule.schedule_kernel,
    ATTENTION: attention_schedule.schedule_kernel,
    WINOGRAD: winograd_schedule.schedule_kernel,
    WINDOW: window_schedule.schedule_kernel,
    ROWS: rows_schedule.schedule_kernel,
    PLAIN: plain.schedule_kernel,
}


def schedule_module(module: Any, target: Target, on_kernel: Callable[[str], None] = lambda name: None) -> Any:
    """Schedules every PrimFunc.

    Args:
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
                functions[variable] = schedule_kernel(function, target)
        else:
            functions[variable] = function
    return tvm.IRModule(functions, attrs=module.attrs)


def schedule_kernel(function: Any, target: Target) -> Any:
    """Schedules one kernel; when its template refuses it, by the plain schedule, with the reason as an attribute."""
    sch = _fresh(function)
    found = blocks.anchors(sch)
    name = str(blocks.annotation(sch, found[-1], ANCHOR)) if found else PLAIN
    flops = sum(_flops(sch, block) for block in found)
    reason = None
    try:
        TEMPLATES[name](sch, target)
    except (ScheduleError, ValueError) as error:
        if name == PLAIN:
            raise
        reason = str(error).strip().splitlines()[-1]
        name, sch = PLAIN, _fresh(function)
        plain.schedule_kernel(sch, target)
    scheduled = (
        insert_prefetches(sch.mod["main"]).without_attr("global_symbol").with_attr({TEMPLATE: name, FLOPS: flops})
    )
    return scheduled if reason is None else scheduled.with_attr(FALLBACK, reason)


def _nodes(module: Any, kernel: Any) -> list[str]:
    """The hints of the bindings of `main` that call a kernel."""
    return [
        str(binding.var.name)
        for block in module["main"].body.blocks
        for binding in block.bindings
        if isinstance(binding.value, relax.Call) and any(kernel.same_as(argument) for argument in binding.value.args)
    ]


def kernel_flops(function: Any) -> int:
    """Floating point operations of the anchors of an unscheduled PrimFunc; 0 for one without."""
    sch = _fresh(function)
    return sum(_flops(sch, block) for block in blocks.anchors(sch))


def _fresh(function: Any) -> Schedule:
    return Schedule(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}))


def _flops(sch: Schedule, block: blocks.Block) -> int:
    """Operations of an anchor: as its template says, or one a point of its domain (two for a sum of products)."""
    stated = blocks.annotation(sch, block, FLOPS)
    return int(stated) if stated is not None else blocks.points(sch, block)
