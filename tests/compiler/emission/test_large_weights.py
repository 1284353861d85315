"""Weights of more than 2 GiB: a library links, loads, and reaches the last of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tilewright import targets
from tilewright.compiler.codegen.thread_objects import thread_object
from tilewright.compiler.emission import glue, link
from tilewright.compiler.library import integrity
from tilewright.compiler.library.artifact import load
from tilewright.compiler.library.plan import Buffer, BufferKind, Call, Constants, Kernel, Plan
from tilewright.compiler.library.signature import SECTION, make_signature
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.targets.toolchain import find_toolchain

LARGE = 2_200_000_000 // 64 * 64
TRIPLE = "x86_64-unknown-linux-gnu"
KERNEL = """
#include <stdint.h>
int32_t net_k0(const float *x, const float *before, const float *behind, float *y) {
  for (int i = 0; i < 4; ++i) y[i] = x[i] + before[i] + behind[i];
  return 0;
}
"""


@pytest.mark.slow  # 9 GB of disk for a minute, 2.4 GB of memory for the assembler and the linker
def test_the_last_of_many_weights(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 20 << 30:
        pytest.skip("there is not enough space on the disk")
    last = np.array([1, 2, 3, 4], np.float32)
    # Zeros that were never written take no memory.
    constants = Constants((bytes(LARGE), last.tobytes()), (0, LARGE))
    spec = TensorSpec("x", (4,), "float32"), TensorSpec("y", (4,), "float32")
    buffers = (
        Buffer(BufferKind.INPUT, 16, 0, 0, 0),
        Buffer(BufferKind.CONSTANT, LARGE, 0, 0, 0),
        Buffer(BufferKind.CONSTANT, 16, LARGE, 0, 0),
        Buffer(BufferKind.OUTPUT, 16, 0, 0, 0),
    )
    kernel = Kernel("net_k0", "k0", "", 0, 0, ())
    plan = Plan("net", spec[:1], spec[1:], (kernel,), (Call(0, (0, 1, 2, 3), ("add",)),), buffers, constants)
    signature = make_signature(
        plan, triple=TRIPLE, cpu="x86-64", arch="x86_64", cpu_features=(), threads=None, tilewright_version="0"
    )
    toolchain = find_toolchain(TRIPLE)
    (tmp_path / "kernel.c").write_text(KERNEL)
    toolchain.run([*toolchain.cc, "-O1", "-fPIC", "-c", "kernel.c", "-o", "kernel.o"], tmp_path)
    glue.write_weights("net", constants, tmp_path, targets.parse(TRIPLE))
    glue.write_sources(plan, signature, tmp_path)
    objects = [
        tmp_path / "kernel.o",
        *link.compile_glue(toolchain, tmp_path),
        thread_object(toolchain, targets.parse(TRIPLE), "net", tmp_path),
        link.assemble_weights(toolchain, tmp_path),
    ]
    library = tmp_path / "net.so"
    link.link_shared(toolchain, objects, link.api_symbols("net", threaded=True), library)
    for path in tmp_path.glob("weights.*"):
        path.unlink()
    integrity.seal(library, SECTION)
    model = load(library)

    assert model.signature.weights_bytes > 2 << 30
    np.testing.assert_array_equal(model(np.ones(4, np.float32)), last + 1)
    library.unlink()
