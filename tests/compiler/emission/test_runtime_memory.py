"""A library touches the memory it is given and no other, and allocates none."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import guarded_run
import pytest
import tilewright
from emitted_models import MLP_INPUTS, emitted, mlp

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(tmp_path_factory.mktemp("mlp"), MLP_INPUTS, mlp).path


def run_guarded(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, guarded_run.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_guard_pages_are_never_touched(library: Path) -> None:
    done = run_guarded(library)

    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


def test_guard_pages_would_notice(library: Path) -> None:
    assert run_guarded(library, 64).returncode == -signal.SIGSEGV


REAL_MODELS = ["examples/models/digits_cnn.onnx"] + [
    f"tests/models/{name}.onnx" for name in ("squeezenet", "mobilenet_v3", "vit")
]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("model", REAL_MODELS)
def test_guard_pages_of_real_schedules(tmp_path: Path, model: str) -> None:
    # Vector code with tails is where reads beyond the end come from.
    compiled = tilewright.compile(ROOT / model, output=tmp_path / "net.so", name="net")
    done = run_guarded(compiled.path)

    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


RUNS = 10_000


@pytest.mark.parametrize("threads", [1, None])
def test_thousands_of_runs_grow_no_memory(tmp_path: Path, threads: Any) -> None:
    emitted(tmp_path, MLP_INPUTS, mlp, threads=threads, emit="a")
    source = Path(__file__).with_name("repeat_runs.c")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I."]
    command = ["cc", *flags, str(source), "net.a", "-lm", "-lpthread", "-o", "repeat"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "repeat", str(RUNS)], check=True, capture_output=True, text=True, timeout=120)

    heap, resident, same = map(int, done.stdout.split())
    assert heap == 0 and same == 1
    # Pages of a worker's stack, or of the C library, may be touched late: 64 KiB were seen. A leak of 64 bytes a run
    # would be 640,000.
    assert resident <= 256 << 10
