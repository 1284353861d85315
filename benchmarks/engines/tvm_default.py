"""TVM as it comes: its own ONNX importer and its default pipeline, without tuning."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .engine import Array, Job, Session

LIBRARY = "model.so"


def build(job: Job) -> None:
    """Import, compile for this processor, and link a library."""
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(job.model), keep_params_in_input=False)
    processor = str(tvm.get_global_func("target.llvm_get_system_cpu")())
    target = tvm.target.Target({"kind": "llvm", "mcpu": processor, "num-cores": job.threads})
    tvm.compile(module, target=target).export_library(str(job.folder / LIBRARY))


def load(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The library in Relax's virtual machine."""
    os.environ["TVM_NUM_THREADS"] = str(job.threads)
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(tvm.runtime.load_module(str(job.folder / LIBRARY)), tvm.cpu())
    tensors = [tvm.runtime.tensor(value) for value in inputs.values()]

    def outputs() -> list[Array]:
        results = machine["main"](*tensors)
        return [result.numpy() for result in ([results] if hasattr(results, "numpy") else results)]

    return Session(outputs, lambda: machine["main"](*tensors))
