"""Starting Python for a part of the package, so that it finds the same code as this process."""

from __future__ import annotations

import sys


def command(module: str, call: str) -> list[str]:
    """The command line of an interpreter that imports `main` of a module, with this one's path, and calls it.

    Args:
        call: as source: ``main('job.json')``.
    """
    path = [entry for entry in sys.path if isinstance(entry, str)]
    return [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; from {module} import main; {call}"]
