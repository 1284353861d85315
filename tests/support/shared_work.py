"""How a scheduled layer is cut for many cores: which share of its work the slowest of them has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from real_layers import Layer, module_of
from tilewright import targets
from tilewright.annotations import TEMPLATE
from tilewright.ir_passes import CastOperands, FuseEpilogues
from tilewright.schedules.legalize import legalize
from tilewright.schedules.narrow import gains
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates.choices import Choice
from tilewright.schedules.templates.sharing import hand_off, thread_counts
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser, Decision, choose_default
from tvm import s_tir, tirx


@dataclass(frozen=True)
class Loop:
    """Blocks under one parallel loop, or the blocks under none: how often they run, and the loop's iterations."""

    points: int
    iterations: int


@dataclass(frozen=True)
class SharedWork:
    """A layer on many cores, in cycles of the template's own estimate.

    Attributes:
        cycles: of one core for all of it.
        loops: which the cycles are spread over as points are.
        threads: that share it at most, as its choice says.
    """

    choice: Choice
    cycles: float
    loops: tuple[Loop, ...]
    threads: int
    target: targets.Target

    @property
    def elapsed(self) -> float:
        """Cycles until the slowest core is done, and those of one hand-off."""
        points = sum(loop.points for loop in self.loops)
        slowest = sum(loop.points / points * self._slowest_share(loop) for loop in self.loops)
        threads = min(self.threads, max(loop.iterations for loop in self.loops))
        return self.cycles * slowest + hand_off(threads, self.target)

    @property
    def least(self) -> float:
        """The same for work that can be cut at will, by the best number of threads."""
        return min(self.cycles / each + hand_off(each, self.target) for each in thread_counts(self.target))

    def _slowest_share(self, loop: Loop) -> float:
        return math.ceil(loop.iterations / min(self.threads, loop.iterations)) / loop.iterations


def shared_work(layer: Layer, template: str, target: targets.Target) -> SharedWork:
    """Schedules a layer by the default of a template."""
    made: list[Decision[Any, Any]] = []

    def choose(templates: Any, workload: Any, machine: targets.Target) -> Decision[Any, Any]:
        for each in templates:
            if each.name == template:
                made.append(Decision(each, workload, each.default(workload, machine)))
                return made[-1]
        return choose_default(templates, workload, machine)

    decide = Chooser(target, TEMPLATES, choose)
    module = module_of(layer)
    if target.units:
        module = CastOperands("bfloat16", lambda call: gains(call, target))(module).module
    module = schedule_module(FuseEpilogues()(legalize(module, decide)).module, decide)
    decision = made[-1]
    one = target.with_cores(1)
    alone = decision.template.estimate(decision.workload, decision.template.default(decision.workload, one), one)
    kernels = (each for each in module.functions.values() if isinstance(each, tirx.PrimFunc))
    kernel = next(each for each in kernels if TEMPLATE.of(each) == template)
    return SharedWork(decision.choice, alone, tuple(_loops(kernel)), decision.choice.threads, target)


def _loops(function: Any) -> Iterator[Loop]:
    """The parallel loops of a kernel, and what is under none as one iteration."""
    sch = s_tir.Schedule(function.with_attr("global_symbol", "main"))
    points: dict[int, int] = {}
    iterations: dict[int, int] = {}

    def visit(block: Any, times: int, shared: int) -> None:
        for child in sch.get_child_blocks(block):
            count, loop = times, shared
            for each in map(sch.get, sch.get_loops(child)):
                count *= int(each.extent)
                if each.kind == tirx.ForKind.PARALLEL:
                    loop = hash(each)
                    iterations[loop] = int(each.extent)
            if sch.get_child_blocks(child):
                visit(child, count, loop)
            else:
                points[loop] = points.get(loop, 0) + count

    visit(sch.get_sblock("root"), 1, 0)
    for loop, count in points.items():
        yield Loop(count, iterations.get(loop, 1))
