"""The steps of a plan as statements of C that launch grids on a GPU.

    Call    LAUNCH(0, 196, 1, 1, 256, 1, 1, I(0), C(64), W(0));                 one for each grid of the kernel
    Copy    DO(copy(stream, O(0), W(128), 256));
            DO(fit(stream, W(0), I(0), 2, (int64_t[]){8, 64}, (int64_t[]){d_N, d_S}, 4, 1));
    Numbers DO(set(stream, W(64), d_N * 16));
    Loop    for (int64_t i1 = 0, n1 = 8; i1 < n1; ++i1) { DO(set(stream, W(64), i1)); ... }
    Branch  { uint8_t b1; DO(fetch(stream, &b1, W(64), 1)); if (b1) { ... } else { ... } }

Buffers are addresses in the memory of the GPU, named by the macros of library.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...sizes import in_c
from ..emission.steps_in_c import StepWriter, indented
from ..library.plan import Branch, Call, Copy, Equal, Loop, Numbers, Plan, Scalar
from .cuda_kernels import GridFunction


def has_choices(plan: Plan) -> bool:
    """Whether numbers in the memory of the GPU decide which steps run, so that no graph can be made of them."""
    return any(isinstance(step, (Loop, Branch)) for step in plan.steps)


class GridSteps(StepWriter):
    """Writes steps; each says when it has been launched."""

    def __init__(self, plan: Plan, functions: Mapping[str, Sequence[tuple[int, GridFunction]]]) -> None:
        """Gets ready.

        Args:
            functions: of each kernel its grids, in order, with their numbers.
        """
        super().__init__(plan, told=True)
        self._functions = functions
        self._turns: dict[int, str] = {}  # the variable of a loop, by the buffer of its counter

    def told(self, number: int) -> str:
        """The statement that says that a call or copy has been launched."""
        return f"DO(told(r, stream, nanoseconds, {number}));"

    def call(self, step: Call) -> str:
        """The statements that launch the grids of a kernel."""
        lines = []
        for number, function in self._functions[self.plan.kernels[step.kernel].symbol]:
            sizes = (*function.blocks, *function.threads)
            arguments = [self.reference(step.arguments[position]) for position in function.positions]
            lines.append(f"LAUNCH({', '.join(map(str, (number, *sizes, *arguments)))});")
        return "\n  ".join(lines)

    def copy(self, step: Copy) -> str:
        """The statement that copies a buffer."""
        size = in_c(self.plan.buffers[step.source].bytes)
        destination = self.reference(step.destination)
        if step.fit is not None:
            return f"DO(fit(stream, {destination}, {self.reference(step.source)}, {self.room(step.fit)}));"
        if step.turn is not None:
            destination = f"{destination} + (address)({self._turns[step.turn]} * {size})"
        return f"DO(copy(stream, {destination}, {self.reference(step.source)}, {size}));"

    def loop(self, loop: Loop) -> Iterator[str]:
        """The lines of a loop."""
        number = next(self.loops)
        index, end = f"i{number}", f"n{number}"
        if isinstance(loop.count, Scalar):
            yield f"int64_t {end} = 0;"
            yield f"DO(fetch(stream, &{end}, {self.reference(loop.count.buffer)}, 8));"
        else:
            yield f"const int64_t {end} = {in_c(loop.count)};"
        yield f"for (int64_t {index} = 0; {index} < {end}; ++{index}) {{"
        if loop.condition is not None:
            yield f"  uint8_t goes_on{number} = 0;"
            yield f"  DO(fetch(stream, &goes_on{number}, {self.reference(loop.condition)}, 1));"
            yield f"  if (!goes_on{number}) break;"
        if loop.counter is not None:
            self._turns[loop.counter] = index
            yield f"  DO(set(stream, {self.reference(loop.counter)}, {index}));"
        yield from indented(self.block(loop.body))
        yield "}"

    def numbers(self, step: Numbers) -> Iterator[str]:
        """The lines that write sizes."""
        for destination, size in zip(step.destinations, step.sizes, strict=True):
            yield f"DO(set(stream, {self.reference(destination)}, {in_c(size)}));"

    def branch(self, branch: Branch) -> Iterator[str]:
        """The lines of a branch."""
        if isinstance(branch.condition, Equal):
            asked = self.condition(branch.condition)
        else:
            asked = f"b{next(self.loops)}"
            yield f"uint8_t {asked} = 0;"
            yield f"DO(fetch(stream, &{asked}, {self.reference(branch.condition)}, 1));"
        yield f"if ({asked}) {{"
        yield from indented(self.block(branch.then))
        if branch.otherwise:
            yield "} else {"
            yield from indented(self.block(branch.otherwise))
        yield "}"
