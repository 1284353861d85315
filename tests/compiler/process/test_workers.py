"""Kernels compiled by several processes: the same bytes and errors as by one, and no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_models import MLP_INPUTS, emitted
from small_models import swish_network
from tilewright import frontends, targets
from tilewright.compiler.codegen.llvm_objects import compile_objects
from tilewright.compiler.lowering.batches import KERNELS_PER_BATCH, lower_kernels, worker_count
from tilewright.compiler.process.workers import Workers, WorkerTracebackError, started
from tilewright.errors import CompilerError, ToolError
from tvm import relax, te, tirx

DIGITS = Path(__file__).parents[3] / "examples" / "models" / "digits_cnn.onnx"
PRELOAD = "tilewright.compiler.codegen.llvm_objects"
TARGET = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3")
# Far above what killing takes, and far below what the killed jobs would sleep.
AT_ONCE_SECONDS = 10.0


@pytest.fixture
def two() -> Iterator[Workers]:
    """Two workers that are ready."""
    with started(2, PRELOAD) as helpers:
        assert helpers is not None and len(helpers.wait_until_ready()) == 2
        yield helpers


def kernel(size: int, function: str = "tanhf") -> Any:
    x = te.placeholder((size,), name="x")
    y = te.compute((size,), lambda i: tirx.call_pure_extern("float32", function, x[i]), name="y")
    return te.create_prim_func([x, y])


def compiled(folder: Path, kernels: list[Any], helpers: Workers | None, **options: Any) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    named = [(f"net_k{i}", each) for i, each in enumerate(kernels)]
    lowered = lower_kernels(named, TARGET, parallel=True, workers=helpers)
    assert lowered.scratch == ((),) * len(kernels)
    paths = compile_objects(lowered, "net", folder, workers=helpers, **options)
    return [path.read_bytes() for path in paths]


def running(processes: list[int]) -> list[int]:
    """Those that still run, after the moment that it takes a killed process to end."""

    def state(process: int) -> str:
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"

    deadline = time.monotonic() + AT_ONCE_SECONDS
    while (left := [each for each in processes if state(each) not in "ZX"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def test_jobs_are_done_in_order_whoever_does_them(two: Workers) -> None:
    done: list[Any] = []
    assert two.run([partial(pow, 2, i) for i in range(40)], done.append) == [2**i for i in range(40)]
    assert len(done) == 40
    assert os.getpid() not in two.run([os.getpid] * 10, done.append)


def test_libraries_are_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    def body(emit: Callable[..., Any], x: Any) -> list[Any]:
        generator = np.random.default_rng(0)
        sizes = [24, *range(30, 30 + 3 * KERNELS_PER_BATCH)]
        for rows, columns in pairwise(sizes):
            weight = generator.standard_normal((rows, columns)).astype("float32")
            x = emit(relax.op.tanh(emit(relax.op.matmul(x, relax.const(weight)))))
        return [x]

    libraries = []
    for count in (1, 2, 3):
        folder = tmp_path / str(count)
        folder.mkdir()
        with started(count, PRELOAD) as helpers:
            assert (helpers is None) == (count == 1)
            if helpers is not None:
                assert len(helpers.wait_until_ready()) == count
            result = emitted(folder, MLP_INPUTS, body, workers=helpers)
        assert len(result.plan.kernels) > 2 * KERNELS_PER_BATCH
        libraries.append((result.path.read_bytes(), result.header.read_bytes()))
    assert libraries[0] == libraries[1] == libraries[2]


def test_progress_counts_kernels(tmp_path: Path, two: Workers) -> None:
    told: list[tuple[int, int]] = []
    count = 2 * KERNELS_PER_BATCH + 1
    kernels = [kernel(8 + i) for i in range(count)]
    objects = compiled(tmp_path / "a", kernels, two, progress=lambda done, total: told.append((done, total)))

    assert [total for _, total in told] == [count] * 3
    assert told[-1][0] == count and sorted(told) == told
    assert objects == compiled(tmp_path / "b", kernels, None)


def test_errors_are_the_same_and_of_the_first_kernel(tmp_path: Path, two: Workers) -> None:
    kernels = [kernel(8 + i) for i in range(5 * KERNELS_PER_BATCH)]
    for position in (KERNELS_PER_BATCH, 2 * KERNELS_PER_BATCH + 1, 4 * KERNELS_PER_BATCH):
        kernels[position] = kernel(8, f"nobodys_function_{position}")
    errors = []
    for helpers in (None, two):
        with pytest.raises(CompilerError) as caught:
            compiled(tmp_path, kernels, helpers)
        errors.append(caught.value)

    assert str(errors[0]) == str(errors[1]) and type(errors[0]) is type(errors[1])
    assert errors[1].where == f"kernel 'net_k{KERNELS_PER_BATCH}'"
    assert isinstance(errors[1].__cause__, WorkerTracebackError) and "compile_object" in str(errors[1].__cause__)


def test_an_error_of_the_system_is_one_here(tmp_path: Path, two: Workers) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        two.run([partial(os.stat, tmp_path / "nowhere")], lambda job: None)


@pytest.mark.parametrize("busy", [False, True])
def test_a_killed_worker_is_an_error_and_no_hang(busy: bool) -> None:
    with started(2, PRELOAD) as helpers:
        assert helpers is not None
        processes = helpers.wait_until_ready()
        if busy:
            threading.Timer(0.5, os.kill, (processes[1], signal.SIGKILL)).start()
        else:
            for process in processes:
                os.kill(process, signal.SIGKILL)
        before = time.monotonic()
        with pytest.raises(ToolError, match="was killed") as caught:
            helpers.run([partial(time.sleep, 60)] * 4, lambda job: None)
        assert time.monotonic() - before < AT_ONCE_SECONDS
        assert "--jobs 1" in str(caught.value)
    assert not running(processes)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in the background and it is ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_busy_workers_at_once() -> None:
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt), started(2, PRELOAD) as helpers:
        assert helpers is not None
        processes = helpers.wait_until_ready()
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        helpers.run([partial(time.sleep, 60)] * 4, lambda job: None)
    assert time.monotonic() - before < AT_ONCE_SECONDS
    assert not running(processes)


def test_workers_end_with_the_process_that_started_them() -> None:
    code = (
        "import os, sys, time\n"
        "from tilewright.compiler.process.workers import started\n"
        "with started(2, 'pickle') as helpers:\n"
        "    print(*helpers.wait_until_ready(), flush=True)\n"
        "    os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    processes = [int(word) for word in done.stdout.split()]

    assert len(processes) == 2 and not running(processes)


def test_where_no_process_starts_this_one_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python-that-is-not-there"))
    with started(2, PRELOAD) as helpers:
        assert helpers is None
    monkeypatch.setattr(sys, "executable", "/usr/bin/program-with-python-inside")
    with started(2, PRELOAD) as helpers:
        assert helpers is None
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with started(2, PRELOAD) as helpers:
        assert helpers is not None and helpers.wait_until_ready() == []
        assert helpers.run([os.getpid] * 3, lambda job: None) == [os.getpid()] * 3


def test_a_program_with_threads_is_not_forked(two: Workers) -> None:
    # What makes the forks safe: the process that forks has one thread.
    threads = two.run([partial(os.listdir, "/proc/self/task")] * 4, lambda job: None)
    assert all(len(each) == 1 for each in threads)


# Two compiles at a time, at the top level of the main module.
_PROGRAM = f"""
import threading, tilewright
from tilewright.compiler.lowering import batches
from tilewright.compiler.process import workers
batches.available_cores = lambda: 2
start, counts = workers.start, []
def noted(count, preload):
    counts.append(count)
    return start(count, preload)
workers.start = noted
models = []
def work():
    models.append(tilewright.compile({str(DIGITS)!r}, threads=1, jobs=2))
threads = [threading.Thread(target=work) for _ in range(2)]
for each in threads: each.start()
for each in threads: each.join()
assert counts == [2, 2] and len(models) == 2
assert models[0].path.read_bytes() == models[1].path.read_bytes()
print("done")
"""


@pytest.mark.parametrize("how", ["script", "stdin"])
def test_programs_without_a_main_guard(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(_PROGRAM)
    arguments, text = ([str(script)], None) if how == "script" else (["-"], _PROGRAM)
    done = subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )

    assert done.stdout == "done\n", done.stderr  # each once: nobody ran the program again
    assert done.stderr == ""


def test_workers_are_started_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    module = frontends.load(frontends.open(swish_network())).module
    monkeypatch.delenv("TILEWRIGHT_JOBS", raising=False)
    monkeypatch.setattr("tilewright.compiler.lowering.batches.available_cores", lambda: 8)
    assert worker_count(None, module) == 1
    assert worker_count(3, module) == 3 and worker_count(1000, module) == 8
    monkeypatch.setattr("tilewright.compiler.lowering.batches._distinct_operators", lambda module: 100)
    assert worker_count(None, module) == 8
    for asked, count in (("3", 3), ("99", 8), ("0", 8), ("many", 8)):
        monkeypatch.setenv("TILEWRIGHT_JOBS", asked)
        assert worker_count(None, module) == count and worker_count(2, module) == 2
    monkeypatch.setattr("tilewright.compiler.lowering.batches.available_cores", lambda: 1)
    assert worker_count(None, module) == 1
    with started(1, PRELOAD) as helpers:
        assert helpers is None
