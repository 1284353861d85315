"""How much memory tensors may take, and whether a plan keeps to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .library.plan import ARENA

if TYPE_CHECKING:
    from ..errors import RegionError
    from ..targets import Target
    from .library.plan import Plan
    from .options import CompileOptions


def memory_limit(options: CompileOptions, target: Target) -> int:
    """What tensors may take at a time, in bytes; 0 if nobody says."""
    return options.arena or sum(options.regions.values()) or target.memory_bytes


def excess(plan: Plan | None, options: CompileOptions, target: Target) -> RegionError | None:
    """What is wrong with a plan that takes more than `CompileOptions.arena`."""
    from .emission.regions import too_big

    limit = options.arena
    if plan is None or limit is None or plan.workspace_bytes <= limit:
        return None
    return too_big(plan.buffers, plan.steps, {ARENA: limit}, target.alignment)
