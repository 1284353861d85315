"""The steps of a plan as statements of C.

    Call    if (net_k0_conv(I(0), C(64), W(0))) return net_ERROR_KERNEL;
            SHARED_BY(8) if (net_k1_conv(W(0), C(128), W(64))) return net_ERROR_KERNEL;
    Copy    memcpy(O(0), W(128), 256);
            fit(W(0), I(0), 2, (int64_t[]){8, 64}, (int64_t[]){d_N, d_S}, 4, 1);
            memcpy((unsigned char *)O(0) + *(const int64_t *)W(64) * 256, W(128), 256);
    Loop    for (int64_t i1 = 0, n1 = 8; i1 < n1 && *(const uint8_t *)W(64); ++i1) { ... }
    Numbers *(int64_t *)W(64) = d_N * 16;
    Branch  if (*(const uint8_t *)W(64)) { ... } else { ... }

Buffers are named by the macros of library.c: I and O for inputs and outputs, C for constants, W for the workspace; the
pool hears from SHARED_BY how many threads share the next kernel. The dimension N is the variable d_N.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from ...errors import CompilerError
from ...sizes import Size, in_c
from ..library.plan import ARENA, Branch, Buffer, BufferKind, Call, Copy, Equal, Fit, Loop, Numbers, Plan, Scalar, Step

_MACROS = {BufferKind.INPUT: "I", BufferKind.OUTPUT: "O", BufferKind.CONSTANT: "C", BufferKind.WORKSPACE: "W"}
# Tells who asked that the call or copy of this number has ended, in the order of `plan.leaves`.
_TOLD = "heard.tell(heard.to, {});"


def statements(plan: Plan, *, told: bool = False) -> list[str]:
    """The steps, a line each or several; with a call of `tell` after each call and copy when `told`.

    Raises:
        CompilerError: a buffer is in a region that this C code has no memory for.
    """
    return list(StepWriter(plan, told=told).block(plan.steps))


class StepWriter:
    """Writes steps, numbering loops and leaves as they come."""

    def __init__(self, plan: Plan, *, told: bool = False) -> None:
        """Gets ready; `told` as `statements` has it."""
        self.plan = plan
        self._told = told
        self.loops = count(1)
        self._leaves = count()

    def block(self, steps: Sequence[Step]) -> Iterator[str]:
        """The lines of steps."""
        for step in steps:
            if isinstance(step, Loop):
                yield from self.loop(step)
            elif isinstance(step, Branch):
                yield from self.branch(step)
            elif isinstance(step, Numbers):
                yield from self.numbers(step)
            else:
                yield self.copy(step) if isinstance(step, Copy) else self.call(step)
                number = next(self._leaves)
                if self._told:
                    yield self.told(number)

    def told(self, number: int) -> str:
        """The statement that says that a call or copy has ended."""
        return _TOLD.format(number)

    def copy(self, step: Copy) -> str:
        """The statement that copies a buffer."""
        size = in_c(self.plan.buffers[step.source].bytes)
        destination = self.reference(step.destination)
        if step.fit is not None:
            return f"fit({destination}, {self.reference(step.source)}, {self.room(step.fit)});"
        if step.turn is not None:
            turn = f"*(const int64_t *){self.reference(step.turn)}"
            destination = f"(unsigned char *){destination} + {turn} * {size}"
        return f"memcpy({destination}, {self.reference(step.source)}, {size});"

    def room(self, fit: Fit) -> str:
        """How a tensor lies, as arguments."""
        bounds, sizes = (", ".join(map(in_c, each)) for each in (fit.bounds, fit.sizes))
        lies = f"{len(fit.bounds)}, (int64_t[]){{{bounds}}}, (int64_t[]){{{sizes}}}"
        return f"{lies}, {fit.element}, {int(fit.spread)}"

    def call(self, step: Call) -> str:
        """The statement that calls a kernel."""
        kernel = self.plan.kernels[step.kernel]
        arguments = [
            *(self.reference(i) for i in step.arguments),
            *(in_c(dimension.size) for dimension in kernel.dimensions),
        ]
        shared = f"SHARED_BY({kernel.threads}) " if kernel.threads > 1 else ""
        return f"{shared}if ({kernel.symbol}({', '.join(arguments)})) return {self.plan.name}_ERROR_KERNEL;"

    def loop(self, loop: Loop) -> Iterator[str]:
        """The lines of a loop."""
        number = next(self.loops)
        index, end = f"i{number}", f"n{number}"
        goes_on = [f"{index} < {end}", *([] if loop.condition is None else [self._byte(loop.condition)])]
        yield f"for (int64_t {index} = 0, {end} = {self._count(loop.count)}; {' && '.join(goes_on)}; ++{index}) {{"
        if loop.counter is not None:
            yield f"  *(int64_t *){self.reference(loop.counter)} = {index};"
        yield from indented(self.block(loop.body))
        yield "}"

    def branch(self, branch: Branch) -> Iterator[str]:
        """The lines of a branch."""
        yield f"if ({self.condition(branch.condition)}) {{"
        yield from indented(self.block(branch.then))
        if branch.otherwise:
            yield "} else {"
            yield from indented(self.block(branch.otherwise))
        yield "}"

    def numbers(self, step: Numbers) -> Iterator[str]:
        """The lines that write sizes."""
        for destination, size in zip(step.destinations, step.sizes, strict=True):
            yield f"*(int64_t *){self.reference(destination)} = {in_c(size)};"

    def condition(self, condition: int | Equal) -> str:
        """Whether the first steps of a branch run."""
        if isinstance(condition, Equal):
            return " && ".join(f"{in_c(dimension.size)} == {value}" for dimension, value in condition.values)
        return self._byte(condition)

    def _count(self, size: Size | Scalar) -> str:
        return f"*(const int64_t *){self.reference(size.buffer)}" if isinstance(size, Scalar) else in_c(size)

    def _byte(self, buffer: int) -> str:
        return f"*(const uint8_t *){self.reference(buffer)}"

    def reference(self, index: int) -> str:
        """The address of a buffer, by its index in the plan."""
        buffer: Buffer = self.plan.buffers[index]
        if buffer.kind is BufferKind.WORKSPACE and buffer.region != ARENA:
            raise CompilerError(f"the C code has no memory for the region {buffer.region!r}", where=self.plan.name)
        return f"{_MACROS[buffer.kind]}({buffer.offset})"


def indented(lines: Iterable[str]) -> Iterator[str]:
    """The lines of what stands inside of something."""
    return (f"  {line}" for line in lines)
