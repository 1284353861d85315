"""Which CPU and features to name for an Arm machine: LLVM's own, or any, without what Linux does not list."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..architecture import EnabledFeatures
from ..features import FeatureTable


def host_cpu(
    table: FeatureTable,
) -> Callable[[str, Collection[str], EnabledFeatures], tuple[str, tuple[str, ...]]]:
    """What `Architecture.host_cpu` is, by an architecture's table."""

    def named(system_cpu: str, flags: Collection[str], enabled: EnabledFeatures) -> tuple[str, tuple[str, ...]]:
        name = system_cpu if enabled(system_cpu, ()) else "generic"
        hidden = table.listed(enabled(name, ())) - table.from_linux(flags)
        return name, tuple(f"-{feature}" for feature in table.ordered(hidden))

    return named
