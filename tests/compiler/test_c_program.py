"""The example in C: builds without a warning against the header, shared and static, and prints the right numbers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from emitted_models import MLP_INPUTS, emitted, mlp
from tilewright.compiler.link import api_symbols
from tvm import relax

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "c"
X = np.random.default_rng(9).standard_normal((5, 24), dtype=np.float32)


def make(folder: Path, goal: str) -> None:
    # What make would compile from ONNX is there already.
    command = ["make", "-o", "model.so", "-o", "model.a", "TILEWRIGHT=false", goal]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr


@pytest.mark.parametrize(("kind", "goal"), [("so", "run"), ("a", "static")])
@pytest.mark.parametrize("threads", [None, 1])
def test_the_example(tmp_path: Path, kind: str, goal: str, threads: int | None) -> None:
    for file in ("main.c", "Makefile"):
        shutil.copy(EXAMPLE / file, tmp_path)
    emitted(tmp_path, MLP_INPUTS, mlp, name="model", kind=kind, threads=threads)
    reference = tmp_path / "reference"
    reference.mkdir()
    expected = tilewright.load(emitted(reference, MLP_INPUTS, mlp).path)(X)
    (tmp_path / "x.bin").write_bytes(X.tobytes())
    make(tmp_path, goal)
    done = subprocess.run([tmp_path / goal, "x.bin"], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.float32(done.stdout.split()), np.ravel(expected))
    (tmp_path / "x.bin").write_bytes(X.tobytes()[:-1])
    assert subprocess.run([tmp_path / goal, "x.bin"], cwd=tmp_path, capture_output=True).returncode == 1


BOTH = """
#include <stdio.h>
#include <stdlib.h>
#include "one.h"
#include "two.h"
int main(void) {
  static float x[5 * 24], y[5 * 7], z[5 * 7];
  const void *inputs[] = {x};
  void *outputs[] = {y}, *more[] = {z};
  for (int i = 0; i < 5 * 24; ++i) x[i] = (float)i / 100;
  if (one_run(inputs, outputs, aligned_alloc(64, one_WORKSPACE_BYTES + 64))) return 1;
  if (two_run(inputs, more, aligned_alloc(64, two_WORKSPACE_BYTES + 64))) return 2;
  if (one_set_num_threads(3) || two_set_num_threads(2)) return 3;
  if (two_run(inputs, more, NULL) != two_ERROR_WORKSPACE) return 4;
  for (int i = 0; i < 5 * 7; ++i)
    if (z[i] != -y[i]) return 5;
  return 0;
}
"""


def test_two_static_libraries_in_one_program(tmp_path: Path) -> None:
    def negated(emit: Any, x: Any) -> list[Any]:
        return [emit(relax.op.negative(mlp(emit, x)[0]))]

    emitted(tmp_path, MLP_INPUTS, mlp, name="one", kind="a")
    emitted(tmp_path, MLP_INPUTS, negated, name="two", kind="a")
    (tmp_path / "both.c").write_text(BOTH)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I."]
    command = ["cc", *flags, "both.c", "one.a", "two.a", "-lm", "-lpthread", "-o", "both"]
    subprocess.run(command, cwd=tmp_path, check=True)

    assert subprocess.run([tmp_path / "both"]).returncode == 0
    # Linked into another library, nothing of theirs but the API is exported.
    subprocess.run(
        ["cc", "-shared", "-o", "lib.so", "-Wl,--whole-archive", "one.a", "-Wl,--no-whole-archive", "-lm"],
        cwd=tmp_path,
        check=True,
    )
    listing = subprocess.run(["nm", "-D", "--defined-only", "lib.so"], cwd=tmp_path, capture_output=True, text=True)
    exported = {line.split()[-1] for line in listing.stdout.splitlines()} - {"_init", "_fini"}
    assert exported == set(api_symbols("one", threaded=True))
