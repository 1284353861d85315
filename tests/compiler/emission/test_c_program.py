"""The example in C: builds without a warning against the header, shared and static, and prints the right numbers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from emitted_models import MLP_INPUTS, Inputs, emitted, mlp
from tilewright.compiler.emission.link import api_symbols
from tvm import relax

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "c"
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
    emitted(tmp_path, MLP_INPUTS, mlp, name="model", emit=kind, threads=threads)
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


NULLS = """
#include <stdio.h>
#include "net.h"
static float x[net_BYTES_INPUT_x / 4], y[net_BYTES_OUTPUT_y / 4], sum[1];
static unsigned char workspace[net_WORKSPACE_BYTES + 64] __attribute__((aligned(64)));
int main(void) {
  const void *all[] = {x, NULL}, *none[] = {NULL, NULL};
  void *outputs[] = {y, sum, NULL}, *no_outputs[] = {y, NULL, NULL};
  printf("%d %d %d %d %d %d\\n", net_run(all, outputs, workspace), net_run(none, outputs, workspace),
         net_run(NULL, outputs, workspace), net_run(all, no_outputs, workspace), net_run(all, NULL, workspace),
         net_run(all, outputs, NULL));
  printf("%d %d %zu %zu %zu %zu %zu %zu %zu\\n", net_num_inputs(), net_num_outputs(), net_input_bytes(0),
         net_input_bytes(1), net_input_bytes(2), net_input_bytes(-1), net_output_bytes(0), net_output_bytes(1),
         net_output_bytes(1 << 30));
  return 0;
}
"""


def test_null_tensors_are_an_error_unless_they_are_empty(tmp_path: Path) -> None:
    def body(emit: Any, x: Any, empty: Any) -> list[Any]:
        return [*mlp(emit, x), emit(relax.op.sum(empty)), emit(relax.op.negative(empty))]

    inputs: Inputs = {**MLP_INPUTS, "empty": ((2, 0), "float32")}
    header = emitted(tmp_path, inputs, body, outputs=["y", "sum", "nothing"]).header.read_text()
    (tmp_path / "nulls.c").write_text(NULLS)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I."]
    subprocess.run(["cc", *flags, "nulls.c", "./net.so", "-o", "nulls"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "nulls"], cwd=tmp_path, capture_output=True, text=True, check=True)

    codes, sizes = done.stdout.splitlines()
    assert codes == "0 4 4 4 4 2"
    assert sizes == "2 3 480 0 0 0 140 4 0"
    assert "#define net_ERROR_TENSOR 4" in header and "float[5][24], 480 bytes" in header


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

    emitted(tmp_path, MLP_INPUTS, mlp, name="one", emit="a")
    emitted(tmp_path, MLP_INPUTS, negated, name="two", emit="a")
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
