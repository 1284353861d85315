"""Commands that tests run: on the example model, in this process or in another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tilewright.compiler.cli.main import run

DIGITS = Path(__file__).parents[2] / "examples" / "models" / "digits_cnn.onnx"
MAX_LINES = 24  # of a screen
# The program. Where the tests run in the background, SIGINT is ignored, and so would it be here.
MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from tilewright.compiler.cli.main import main; main()"
)


def fails(capsys: pytest.CaptureFixture[str], arguments: list[str | Path], code: int, *phrases: str) -> None:
    """Runs a command that must end with `code` and an error of one screen that says `phrases`."""
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) <= MAX_LINES
    for phrase in phrases:
        assert phrase in captured.err, captured.err
