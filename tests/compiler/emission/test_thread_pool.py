"""The pool alone, with as many processors as a test says there are: stress, sleep, refusals, signals, forks.

`pool_stress.c` says what each does. Built four ways: with the words of Linux and with the mutex of other systems, and
each of them under ThreadSanitizer as well.
"""

from __future__ import annotations

import platform
import subprocess
from importlib import resources
from pathlib import Path

import pytest
from tilewright import targets
from tilewright.targets.architectures import ARCHITECTURES

SOURCE = Path(__file__).with_name("pool_stress.c")
RUNTIME = Path(str(resources.files("tilewright.compiler.emission") / "runtime"))
SANITIZER = "-fsanitize=thread"


def build(folder: Path, *flags: str) -> Path:
    pause = ARCHITECTURES[targets.host().arch].pause
    warnings = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    command = ["cc", *warnings, *flags, f"-I{RUNTIME}", f"-DTILEWRIGHT_PAUSE={pause}", str(SOURCE), "-lpthread"]
    subprocess.run([*command, "-o", "stress"], cwd=folder, check=True)
    return folder / "stress"


@pytest.fixture(scope="module", params=["futex", "mutex"])
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The program as it is and, if the compiler has it, under ThreadSanitizer."""
    flags = [] if request.param == "futex" else ["-DTILEWRIGHT_NO_FUTEX"]
    made = {"plain": build(tmp_path_factory.mktemp("plain"), *flags)}
    try:
        made["sanitized"] = build(tmp_path_factory.mktemp("sanitized"), *flags, SANITIZER)
        # Linux may lay out memory in a way that older sanitizers refuse.
        run(made["sanitized"], "refuse", 1, 0)
    except (subprocess.CalledProcessError, AssertionError):
        made.pop("sanitized", None)
    return made


def run(program: Path, what: str, *numbers: int) -> None:
    command = ["setarch", platform.machine(), "-R", str(program), what, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr[-4000:]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("processors", [1, 2, 8])
@pytest.mark.parametrize("what", ["callers", "sleep", "failing", "signals", "fork"])
def test_nothing_is_lost_or_done_twice(programs: dict[str, Path], what: str, processors: int) -> None:
    run(programs["plain"], what, processors)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("processors", [2, 8])
@pytest.mark.parametrize("what", ["callers", "sleep", "failing"])
def test_nothing_races(programs: dict[str, Path], what: str, processors: int) -> None:
    if "sanitized" not in programs:
        pytest.skip("no ThreadSanitizer here")
    run(programs["sanitized"], what, processors)


@pytest.mark.parametrize("given", [0, 1, 3])
def test_fewer_threads_than_asked_for(programs: dict[str, Path], given: int) -> None:
    run(programs["plain"], "refuse", 8, given)
