"""Processes of ours search for circles of objects less often; what imports the package keeps its own way."""

from __future__ import annotations

import gc
import subprocess
import sys

_THRESHOLD = "import gc, sys; {}; print(*gc.get_threshold(), file=sys.stderr)"


def threshold(code: str) -> tuple[int, ...]:
    done = subprocess.run([sys.executable, "-c", _THRESHOLD.format(code)], capture_output=True, text=True, check=True)
    return tuple(int(each) for each in done.stderr.split())


def test_the_command_line_alone_searches_rarely() -> None:
    asked = "sys.argv[1:] = ['--version']; sys.exit = lambda code: None"
    assert threshold(f"from tilewright.compiler.cli.main import main; {asked}; main()")[0] > 10 * gc.get_threshold()[0]
    assert threshold("import tilewright") == gc.get_threshold()
