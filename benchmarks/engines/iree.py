"""IREE: the ONNX file imported to MLIR, compiled by LLVM for this processor."""

from __future__ import annotations

from collections.abc import Mapping

from .engine import Array, Job, Session

MODULE = "model.vmfb"


def build(job: Job) -> None:
    """Import and compile to a module of IREE's virtual machine."""
    from iree.compiler.tools import compile_file
    from iree.compiler.tools.import_onnx import __main__ as importer

    imported = job.folder / "model.mlir"
    importer.main(importer.parse_arguments([str(job.model), "-o", str(imported)]))
    compile_file(
        str(imported),
        output_file=str(job.folder / MODULE),
        input_type="onnx",
        target_backends=["llvm-cpu"],
        extra_args=[
            "--iree-llvmcpu-target-cpu=host",
            "--iree-opt-level=O3",
            "--iree-llvmcpu-stack-allocation-limit=262144",  # the default, 32 KiB, is too little for BERT
        ],
    )
    imported.unlink()  # weights in hexadecimal


def load(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The compiled module on the synchronous device, or on as many workers as there are threads."""
    import iree.runtime

    iree.runtime.flags.parse_flags(f"--task_topology_group_count={job.threads}")
    config = iree.runtime.Config("local-sync" if job.threads == 1 else "local-task")
    module = iree.runtime.load_vm_module(
        iree.runtime.VmModule.mmap(config.vm_instance, str(job.folder / MODULE)), config
    )
    (entry,) = (name for name in module.vm_module.function_names if "$" not in name and name != "__init")
    function = module[entry]
    arrays = [iree.runtime.asdevicearray(config.device, value) for value in inputs.values()]

    def outputs() -> list[Array]:
        results = function(*arrays)
        return [result.to_host() for result in (results if isinstance(results, (tuple, list)) else (results,))]

    return Session(outputs, lambda: function(*arrays))
