"""What of a stage is needed: a loop that leaves out iterations reads less of the buffers that only it reads.

    for n in 24:  stage[n] = ...                 for n in 24:  if n // 6 * 6 % 80 < W:  stage[n] = ...
    for t in 4:                            ->    for t in 4:
        if t * 6 % 80 < W: ... stage[t * 6 + j] ...

Whoever writes element n for iteration n // 6 does so under the condition of that iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import tvm
from tvm import tirx
from tvm.ir import TensorLoad

from ...ir_types import Buffer, For, Scalar, Stmt, Var
from ...schedules.tensorir.rebuild import found, mentions, substituted
from .before_end import BeforeEnd


@dataclass(frozen=True)
class Need:
    """A condition on the elements of a buffer along an axis: that of the iteration that reads them.

    Attributes:
        group: elements that an iteration reads.
        variable: that the iterations are counted by.
        condition: of one.
        around: loops around it, whose variables the condition may hold.
    """

    axis: int
    group: int
    variable: Var
    condition: BeforeEnd
    around: tuple[Var, ...]

    def of(self, indices: Sequence[Scalar], around: Sequence[Var]) -> BeforeEnd | None:
        """The condition on an access inside of some loops; None where it cannot be asked there, or of vectors."""
        index = indices[self.axis]
        known = [each for each in self.around if not any(each.same_as(other) for other in around)]
        if isinstance(index, tirx.Ramp) or mentions(self.condition.place, known) or mentions(self.condition.end, known):
            return None
        iteration = index if self.group == 1 else tirx.floordiv(index, tirx.IntImm(str(index.ty.dtype), self.group))
        return replace(self.condition, place=substituted(self.condition.place, {self.variable: iteration}))


def needs_of(
    loop: For, around: Sequence[For], conditions: Sequence[BeforeEnd], body: Stmt, results: set[Buffer]
) -> dict[Buffer, list[Need]]:
    """What the iterations of a loop need of the buffers that they alone read.

    Args:
        conditions: without which an iteration does nothing.
        body: of the whole kernel.
        results: what callers see, which is no stage.
    """
    everywhere = found(body, TensorLoad)
    inside = found(loop.body, TensorLoad)
    own = {each.buffer for each in found(loop.body, tirx.AllocBuffer)}
    stages = {each.buffer for each in found(body, tirx.AllocBuffer)} - own - results
    inner = found(loop.body, tirx.For)
    outer = tuple(each.loop_var for each in around)
    needs: dict[Buffer, list[Need]] = {}
    for stage in stages:
        loads = [each.indices for each in inside if each.source.same_as(stage)]
        if not loads or len(loads) != sum(each.source.same_as(stage) for each in everywhere):
            continue
        for axis in range(len(stage.shape)):
            group = _group([load[axis] for load in loads], loop, inner)
            if group:
                needs[stage] = [Need(axis, group, loop.loop_var, each, outer) for each in conditions]
    return needs


def _group(indices: Sequence[Scalar], loop: For, inner: Sequence[For]) -> int:
    """How many elements an iteration reads, if they are its own and stand side by side; else 0."""
    analyzer = tvm.sym.Analyzer()
    first = {each.loop_var: each.min for each in inner}
    last = {each.loop_var: each.min + each.extent - 1 for each in inner}
    variable = loop.loop_var
    for group in {1, *(_factor(index) for index in indices)} - {0}:
        begin = variable * group
        least = [analyzer.simplify(substituted(index, first) - begin) for index in indices]
        most = [analyzer.simplify(substituted(index, last) - begin) for index in indices]
        if all(isinstance(each, tirx.IntImm) and 0 <= int(each) < group for each in (*least, *most)):
            return group
    return 0


def _factor(index: Scalar) -> int:
    """A number that a variable is multiplied by."""
    return max((int(each.b) for each in found(index, tirx.Mul) if isinstance(each.b, tirx.IntImm)), default=0)
