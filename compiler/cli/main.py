"""The command line's entry: signals, and errors as one screen of text and an exit code.

The commands themselves are in `commands`. Modules are imported when they are needed, so that the signals are answered
from the first moment and `tilewright run` starts fast.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

from ...errors import EXIT_OK, EXIT_TOOL_FAILED, OutputError, TilewrightError, TilewrightWarning
from ..process import interrupt
from ..process.collection import collect_rarely

DEBUG_VARIABLE = "TILEWRIGHT_DEBUG"
_MAX_LINES = 20  # so that an error and the command that caused it fit an 80x24 terminal
_WIDTH = 110
# What the system says when something cannot be written, wherever in a command that was.
_CANNOT_WRITE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM))


def main() -> None:
    """Runs the command line of this process and ends it with the exit code of `errors`."""
    interrupt.install()
    collect_rarely()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: what follows ``tilewright`` on the command line.

    Returns:
        The exit code. Errors have been written to stderr.
    """
    try:
        from .commands import app

        with warnings.catch_warnings():
            warnings.simplefilter("always", TilewrightWarning)
            warnings.showwarning = _show_warning
            app(list(arguments), prog_name="tilewright")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else EXIT_OK
    except TilewrightError as error:
        return _report(str(error), error.exit_code)
    except MemoryError:
        return _report("out of memory\n  hint: compile on a machine with more memory", EXIT_TOOL_FAILED)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            return _report(_internal(error), EXIT_TOOL_FAILED)
        if error.filename is None:
            _drop_stdout()
        problem = OutputError(f"a file cannot be written: {error.strerror}", where=str(error.filename or "stdout"))
        return _report(str(problem), problem.exit_code)
    except Exception as error:
        return _report(_internal(error), EXIT_TOOL_FAILED)
    return EXIT_OK


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Ours as a sentence for people, others as Python shows them."""
    if issubclass(category, TilewrightWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr, end="")


def _drop_stdout() -> None:
    """What is still to be written to a full disk would fail once more when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(text: str, code: int) -> int:
    interrupt.wait_if_interrupted()
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    print(one_screen(text), file=sys.stderr)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return code


def one_screen(text: str) -> str:
    """An error as the command line shows it: wrapped, and its details cut in the middle when they are too many."""
    width = min(_WIDTH, max(40, shutil.get_terminal_size((_WIDTH, 24)).columns))
    lines: list[str] = []
    for number, line in enumerate(f"error: {text}".splitlines()):
        indent = len(line) - len(line.lstrip())
        wrapped = textwrap.wrap(
            line, width, subsequent_indent=" " * (indent + 4 if number else 7), break_long_words=False,
            break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False,
        )  # fmt: skip
        lines += wrapped or [""]
    if len(lines) > _MAX_LINES:
        tail = 4  # the hint stands at the end and matters most
        cut = len(lines) - _MAX_LINES + 1
        lines[_MAX_LINES - 1 - tail : -tail] = [f"  ... {cut} more lines; {DEBUG_VARIABLE}=1 shows all"]
    return "\n".join(lines)


def _internal(error: Exception) -> str:
    """An exception that nobody foresaw: its last line, and what to do."""
    summary = (str(error).strip().splitlines() or [""])[-1]
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"internal error: {type(error).__name__}: {summary[:300]}",
        *([f"  where: {frames[-1].filename}, line {frames[-1].lineno}"] if frames else []),
        f"  hint: this is a bug of Tilewright: please report it with what {DEBUG_VARIABLE}=1 prints",
    ]
    return "\n".join(lines)
