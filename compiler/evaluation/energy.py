"""What the processor takes, where the machine tells: RAPL counters that Linux shows under /sys/class/powercap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """The energy of a processor package.

    Attributes:
        path: its folder.
        range: microjoules at which it begins again.
    """

    path: Path
    range: int

    def read(self) -> int:
        """Microjoules since it began."""
        return int((self.path / "energy_uj").read_text())


def counters(root: Path = POWERCAP) -> list[Counter]:
    """Those of all packages that this process may read; none where the machine has none."""
    found = []
    for path in sorted(root.glob("*-rapl:*")):
        try:
            if (path / "name").read_text().startswith("package"):
                each = Counter(path, int((path / "max_energy_range_uj").read_text()))
                each.read()
                found.append(each)
        except (OSError, ValueError):
            continue  # a virtual machine, or for root alone
    return found


class Meter:
    """The energy of all packages since a moment."""

    def __init__(self, of: Sequence[Counter]) -> None:
        """Begins."""
        self._counters = of
        self._before = [each.read() for each in of]

    def joules(self) -> float | None:
        """Since the beginning, or nothing where nothing is counted."""
        if not self._counters:
            return None
        spent = zip(self._counters, self._before, strict=True)
        return sum((each.read() - before) % max(each.range, 1) for each, before in spent) / 1e6
