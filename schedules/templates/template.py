"""What a template is, one row of data, and how one of several templates and choices is settled on.

A workload says what is to be computed and nothing of how: sizes and dtypes, a frozen dataclass. A choice says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tvm.s_tir import Schedule

from ...annotations import CHOICE, TEMPLATE, WORKLOAD
from ...errors import ChoiceError, CompilerError
from ...ir_types import PrimFunc
from ...targets.target import Target
from .choices import Choice
from .keys import key_of

W = TypeVar("W")
C = TypeVar("C", bound=Choice)


@dataclass(frozen=True)
class Template(Generic[W, C]):
    """One way to compute a kind of workload.

    Attributes:
        name: for reports and for the attribute of its kernels.
        takes: whether it computes a workload, of whatever kind, on a target.
        space: all choices for a workload that it takes, lazily: those that fit registers and caches. Each of them
            compiles and is right.
        default: the one the machine's numbers give.
        estimate: cycles until all cores are done.
        compute: what lowerings write a workload of this kind with, from workload, choice, target and more; None where a
            choice changes the schedule alone.
        schedule: schedules a kernel that is built around it.
        gain: where other templates take a workload too, the share of their estimated time that this one has to be
            faster than: below 1 for what costs more than time, infinite for what is taken whenever it may be.
    """

    name: str
    takes: Callable[[object, Target], bool]
    space: Callable[[W, Target], Iterable[C]]
    default: Callable[[W, Target], C]
    estimate: Callable[[W, C, Target], float]
    compute: Callable[..., Any] | None
    schedule: Callable[[Schedule, C, Target], None]
    gain: float = 1.0


@dataclass(frozen=True)
class Decision(Generic[W, C]):
    """How a workload is computed."""

    template: Template[W, C]
    workload: W
    choice: C

    def marks(self) -> dict[str, Any]:
        """The attributes of its kernel, by which fusion and the scheduler know it."""
        return {
            **TEMPLATE.entry(self.template.name),
            **CHOICE.entry(str(self.choice)),
            **WORKLOAD.entry(key_of(self.workload)),
        }

    def cycles(self, target: Target) -> float:
        """The template's estimate, in cycles."""
        return self.template.estimate(self.workload, self.choice, target)

    def marked(self, function: PrimFunc) -> PrimFunc:
        """A kernel with its marks."""
        for name, value in self.marks().items():
            function = function.with_attr(name, value)
        return function

    def compute(self, target: Target, *arguments: Any, **options: Any) -> Any:
        """What the template's `compute` gives for it."""
        assert self.template.compute is not None
        return self.template.compute(self.workload, self.choice, target, *arguments, **options)


def fewest_cycles(
    space: Callable[[W, Target], Iterable[C]], estimate: Callable[[W, C, Target], float]
) -> Callable[[W, Target], C]:
    """A template's default that has the fewest estimated cycles of its space."""

    def default(workload: W, target: Target) -> C:
        return min(space(workload, target), key=lambda choice: estimate(workload, choice, target))

    return default


# Of the templates that take a workload, in the order of the table, the one to use and how.
Choose = Callable[[Sequence[Template[Any, Any]], Any, Target], Decision[Any, Any]]


def choose_default(templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
    """The defaults: of several templates the first whose estimate beats those behind it by its `gain`."""
    *others, last = (Decision(template, workload, template.default(workload, target)) for template in templates)
    best = last
    for decision in reversed(others):
        if decision.cycles(target) < best.cycles(target) * decision.template.gain:
            best = decision
    return best


@dataclass(frozen=True)
class Chooser:
    """What lowerings and schedules ask: who computes a workload, and how.

    Attributes:
        target: the machine.
        templates: the table, the most special first.
        choose: settles on one of those that take a workload.
    """

    target: Target
    templates: tuple[Template[Any, Any], ...]
    choose: Choose = choose_default
    _made: dict[object, Decision[Any, Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, workload: object) -> Decision[Any, Any]:
        """Settles how to compute a workload.

        Raises:
            ChoiceError: what was chosen is not in the template's space.
        """
        if workload not in self._made:
            self._made[workload] = self._decide(workload)
        return self._made[workload]

    def cycles(self, workload: object) -> float:
        """The estimate of how a workload is computed."""
        return self(workload).cycles(self.target)

    def takes(self, workload: object) -> bool:
        """Whether any template computes a workload."""
        return any(template.takes(workload, self.target) for template in self.templates)

    def _decide(self, workload: object) -> Decision[Any, Any]:
        taking = [template for template in self.templates if template.takes(workload, self.target)]
        if not taking:
            raise CompilerError("no template computes a workload", details=[repr(workload)])
        decision = self.choose(taking, workload, self.target)
        if decision.choice not in decision.template.space(decision.workload, self.target):
            raise ChoiceError(
                f"the template '{decision.template.name}' has no such choice",
                details=[str(decision.choice), repr(decision.workload)],
                hint="it would not fit the registers or caches of the target, or not compute the workload",
            )
        return decision

    def named(self, name: str) -> Template[Any, Any]:
        """The template of a kernel."""
        return next(template for template in self.templates if template.name == name)
