"""What a pass is, and the runner that checks the module and the pass's own contract after each one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import tvm
from tvm import relax

from ...errors import CompilerError
from ...failures import failing_in
from .blame import failing_node


@dataclass(frozen=True)
class PassResult:
    """A module and whether the pass changed it."""

    module: tvm.IRModule
    modified: bool


class Pass(Protocol):
    """A rewrite of a module: a frozen dataclass whose fields are its options and whose docstring is its contract.

    `name` is the name of the file that the pass lives in. `check` raises `CompilerError` when a module breaks what the
    pass promises about its result.
    """

    @property
    def name(self) -> str:
        """The pass as it is called in reports, file names and errors."""
        ...

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `module`; the module given is not changed."""
        ...

    def check(self, module: tvm.IRModule) -> None:
        """Raise `CompilerError` if `module` breaks the pass's contract."""
        ...


class GraphPass:
    """What most passes share: a name taken from the file they live in, and no contract beyond well-formedness."""

    @property
    def name(self) -> str:
        """The last part of the name of the module that defines the pass."""
        return type(self).__module__.rpartition(".")[2]

    def check(self, module: tvm.IRModule) -> None:
        """Accept every module; passes with a contract of their own override this."""
        del module


OnPass = Callable[[int, Pass, PassResult], None]


def verify(module: tvm.IRModule, source: str) -> None:
    """Raise `CompilerError`, naming `source`, unless `module` is well formed (types included)."""
    try:
        relax.analysis.well_formed(module)
    except Exception as error:  # TVM raises several classes, InternalError among them, for the same kind of fault
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise CompilerError(
            "a pass produced an ill-formed module",
            where=f"pass '{source}'",
            details=lines[-3:],
        ) from error


def run_passes(module: tvm.IRModule, passes: Iterable[Pass], *, on_pass: OnPass | None = None) -> PassResult:
    """Run `passes` in order, verifying the module and the contract of each pass after it.

    Args:
        module: a module as the frontends make it, or as an earlier run left it.
        passes: the passes, in order.
        on_pass: called after each pass with its position from 0, the pass and its result (`--save-ir` is one).

    Raises:
        CompilerError: a pass raised, broke the IR or its own contract; `where` names the pass.
    """
    modified = False
    for index, each in enumerate(passes):
        result = _guarded(each, module)
        module = result.module
        modified = modified or result.modified
        if on_pass is not None:
            on_pass(index, each, result)
    return PassResult(module, modified)


def _guarded(each: Pass, module: tvm.IRModule) -> PassResult:
    """Run one pass; every way in which it can fail names it, and the node where that can be found out."""

    def node(error: BaseException) -> str | None:
        found = None if isinstance(error, MemoryError) else failing_node(module, each)
        return f"node '{found}'" if found else None

    with failing_in(f"pass '{each.name}'", "a pass failed", inside=node):
        result = each(module)
        if result.modified:
            verify(result.module, each.name)
        each.check(result.module)
    return result
