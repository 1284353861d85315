"""Features of processors: the names that LLVM and Linux have for them, and which of them generated code may use.

An architecture's table holds all of them. What has no row, no library could check for, so code is generated without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """A row of the table.

    Attributes:
        name: LLVM's.
        linux: in the flags of /proc/cpuinfo; empty where Linux does not list it.
        generated: whether code is generated for it wherever the CPU has it; otherwise only where a unit for narrow
            operands or the user asks for it.
    """

    name: str
    linux: str
    generated: bool


@dataclass(frozen=True)
class FeatureTable:
    """The features of an architecture.

    Attributes:
        rows: by LLVM's name, in the order in which libraries check for them.
        baseline: what every processor has, so that it need not be checked for.
        needed: those that LLVM cannot generate code without: it ends the process instead.
        is_tuning: whether a feature of LLVM's stands for no instructions: it makes code faster on a processor and runs
            on all.
    """

    rows: Mapping[str, Feature]
    baseline: frozenset[str]
    needed: frozenset[str]
    is_tuning: Callable[[str], bool]

    def from_linux(self, flags: Iterable[str]) -> frozenset[str]:
        """The features that a line of flags of /proc/cpuinfo lists."""
        flags = frozenset(flags)
        return frozenset(row.name for row in self.rows.values() if row.linux in flags)

    def listed(self, features: Collection[str]) -> frozenset[str]:
        """Those of some features that Linux would list."""
        return frozenset(row.name for row in self.rows.values() if row.linux and row.name in features)

    def ordered(self, features: Collection[str]) -> tuple[str, ...]:
        """Those of some features that have a row, in the table's order: what a library must check for."""
        return tuple(name for name in self.rows if name in features)

    def is_usable(self, name: str) -> bool:
        """Whether code may be generated for a feature."""
        return name in self.rows or name in self.baseline or self.is_tuning(name)

    def not_generated(self, enabled: Iterable[str], asked: Collection[str] = ()) -> list[str]:
        """Of features that LLVM has enabled for a CPU, those to generate code without, sorted.

        Args:
            asked: features that were asked for by name; those with a row are kept.
        """
        rows = self.rows.values()
        kept = self.baseline.union(row.name for row in rows if row.generated or row.name in asked)
        return sorted(name for name in enabled if name not in kept and not self.is_tuning(name))
