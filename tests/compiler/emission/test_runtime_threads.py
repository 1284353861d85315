"""The thread pool: the same bits from any number of threads, callers and processes."""

from __future__ import annotations

import _ctypes
import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_models import MLP_INPUTS, emitted, mlp
from tilewright.compiler.library.artifact import CompiledModel, load
from tilewright.compiler.library.signature import MAX_THREADS
from tilewright.errors import UsageError

X = np.random.default_rng(3).standard_normal((5, 24), dtype=np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(tmp_path_factory.mktemp("mlp"), MLP_INPUTS, mlp).path


@pytest.fixture
def model(path: Path) -> CompiledModel:
    loaded = load(path)
    loaded.set_num_threads(0)
    return loaded


def os_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_any_number_of_threads_gives_the_same_bits(model: CompiledModel) -> None:
    model.set_num_threads(1)
    expected = model(X).tobytes()

    for threads in (2, 3, 4, 5, 7, 16, 64, 2, 0):
        model.set_num_threads(threads)
        assert all(model(X).tobytes() == expected for _ in range(20)), threads


def test_the_number_of_threads_is_what_was_asked_for(model: CompiledModel) -> None:
    model.set_num_threads(1)
    alone = os_threads()
    for threads in (4, 2, 6, 1):
        model.set_num_threads(threads)
        model(X)
        assert os_threads() - alone == threads - 1


@pytest.mark.parametrize("threads", [1, 3])
def test_eight_callers_get_the_bits_of_one(model: CompiledModel, threads: int) -> None:
    model.set_num_threads(threads)
    inputs = [X * (i + 1) for i in range(8)]
    expected = [model(x).tobytes() for x in inputs]
    wrong: list[int] = []
    start = threading.Barrier(8)

    def call(i: int) -> None:
        start.wait()
        wrong.extend(i for _ in range(400) if model(inputs[i]).tobytes() != expected[i])

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive(), "deadlock"
    assert wrong == []


def test_the_number_may_change_while_others_run(model: CompiledModel) -> None:
    expected = model(X).tobytes()
    done = threading.Event()
    wrong: list[bool] = []

    def call() -> None:
        while not done.is_set():
            wrong.append(model(X).tobytes() != expected)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for i in range(60):
        model.set_num_threads(1 + i % 5)
        time.sleep(0.002)
    done.set()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive(), "deadlock"
    assert wrong and not any(wrong)


def test_a_forked_child_has_a_pool_of_its_own(model: CompiledModel) -> None:
    model.set_num_threads(4)
    expected = model(X).tobytes()
    child = os.fork()
    if child == 0:
        os._exit(0 if all(model(X).tobytes() == expected for _ in range(20)) and os_threads() == 4 else 1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
    assert model(X).tobytes() == expected


def test_children_forked_without_handlers_run_the_model_and_end(tmp_path: Path) -> None:
    emitted(tmp_path, MLP_INPUTS, mlp)
    source = Path(__file__).with_name("fork_while_running.c")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I."]
    subprocess.run(["cc", *flags, str(source), "./net.so", "-lpthread", "-o", "forks"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "forks"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)

    assert done.stdout == "0\n"


def test_setting_the_number_is_not_starved(model: CompiledModel) -> None:
    # Loops that hold the pool nearly all the time, from threads that do not wait for Python's lock.
    run, done = model.c_function, threading.Event()
    y = [np.empty((5, 7), np.float32) for _ in range(4)]
    pointer = (ctypes.c_void_p * 1)(X.ctypes.data)

    def call(i: int) -> None:
        workspace = np.empty(model.workspace_bytes + 64, np.uint8)
        aligned = ctypes.c_void_p(-(-workspace.ctypes.data // 64) * 64)
        output = (ctypes.c_void_p * 1)(y[i].ctypes.data)
        while not done.is_set():
            for _ in range(50):
                run(pointer, output, aligned)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    longest = 0.0
    for i in range(40):
        start = time.monotonic()
        model.set_num_threads(1 + i % 4)
        longest = max(longest, time.monotonic() - start)
    done.set()
    for caller in callers:
        caller.join(60)
    assert longest < 5


SCRIPT = """
import sys, pathlib, numpy, threading
from tilewright.compiler.library.artifact import load
model = load(sys.argv[1])
model(numpy.zeros((5, 24), numpy.float32))
print(len(list(pathlib.Path("/proc/self/task").iterdir())) - before) if (before := 1) else None
"""


@pytest.mark.parametrize(
    ("setting", "threads"),
    [("3", 3), ("1", 1), ("no number", None), (None, None), ("-7", None), ("9" * 40, MAX_THREADS)],
)
def test_the_environment_and_the_processors_give_the_default(path: Path, setting: Any, threads: Any) -> None:
    # OpenBLAS, which numpy brings, would start threads of its own.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("TILEWRIGHT_NUM_THREADS", None)
    if setting is not None:
        environment["TILEWRIGHT_NUM_THREADS"] = setting
    command = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    assert int(done.stdout) == (threads or len(os.sched_getaffinity(0))) - 1


def test_affinity_is_respected(path: Path) -> None:
    one = min(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, {{{one}}})\n{SCRIPT}"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("TILEWRIGHT_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], env=environment, check=True, capture_output=True, text=True
    )

    assert int(done.stdout) == 0


def test_a_number_given_when_compiling_is_the_default(tmp_path: Path) -> None:
    model = load(emitted(tmp_path, MLP_INPUTS, mlp, threads=3).path)
    before = os_threads()
    model(X)

    assert os_threads() - before == 2
    model.set_num_threads(1)


def test_unloading_ends_the_threads(tmp_path: Path) -> None:
    path = emitted(tmp_path, MLP_INPUTS, mlp).path
    before = os_threads()
    for _ in range(5):
        library = ctypes.CDLL(str(path))
        library.net_set_num_threads(4)
        y = np.empty((5, 7), np.float32)
        workspace = np.empty(1 << 16, np.uint8)
        aligned = -(-workspace.ctypes.data // 64) * 64
        inputs, outputs = (ctypes.c_void_p * 1)(X.ctypes.data), (ctypes.c_void_p * 1)(y.ctypes.data)
        assert library.net_run(inputs, outputs, ctypes.c_void_p(aligned)) == 0
        assert os_threads() == before + 3
        _ctypes.dlclose(library._handle)
        assert os_threads() == before


def test_wrong_numbers_are_refused(model: CompiledModel, tmp_path: Path) -> None:
    for number in (-1, MAX_THREADS + 1, 10**9, 2**32 + 1, 10**30):
        with pytest.raises(UsageError, match=f"{number} threads"):
            model.set_num_threads(number)
    for no_number in (1.5, "2", None):
        with pytest.raises(UsageError, match="threads are not possible"):
            model.set_num_threads(no_number)  # type: ignore[arg-type] # what it is about
    for number in (10**9, MAX_THREADS + 1, 0):
        with pytest.raises(UsageError, match="threads are not possible"):
            emitted(tmp_path, MLP_INPUTS, mlp, threads=number)
    single = load(emitted(tmp_path, MLP_INPUTS, mlp, threads=1).path)
    single.set_num_threads(1)
    with pytest.raises(UsageError, match="built for one thread"):
        single.set_num_threads(2)


def test_profiling_gives_the_same_result_step_by_step(model: CompiledModel) -> None:
    times = model.profile({"x": X})

    assert len(times) == len(model.signature.steps) and all(0 < t < 10**9 for t in times)
