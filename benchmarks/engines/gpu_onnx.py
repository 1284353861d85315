"""ONNX Runtime and TensorRT on a GPU: they take the ONNX file as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tilewright.compiler.library.device_tensor import DeviceTensor
from tilewright.targets.cuda.driver import driver

from ..not_available import NotAvailableError
from .engine import Array, Job, Session

_PROVIDER, _DEVICE = "CUDAExecutionProvider", "cuda"


def load_onnxruntime(job: Job, inputs: Mapping[str, Array], *, precision: str) -> Session:
    """With all its optimisations, products by TF32, on tensors in the memory of the GPU."""
    import onnxruntime

    _need_file(job)
    if _PROVIDER not in onnxruntime.get_available_providers():
        raise NotAvailableError("this ONNX Runtime has no GPU")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(job.model), options, providers=[(_PROVIDER, {"use_tf32": "1"})])
    if _PROVIDER not in session.get_providers():
        raise NotAvailableError("its libraries of CUDA are not installed")
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value, _DEVICE, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, _DEVICE)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def outputs() -> list[Array]:
        run()
        return list(binding.copy_outputs_to_cpu())

    return Session(outputs, run)


def load_tensorrt(job: Job, inputs: Mapping[str, Array], *, precision: str) -> Session:
    """Built here, with kernels in float16 or TF32 where that is faster."""
    import tensorrt

    _need_file(job)
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(job.model.read_bytes()):
        raise NotAvailableError(f"TensorRT refuses the model: {parser.get_error(0)}")
    config = builder.create_builder_config()
    config.set_flag(tensorrt.BuilderFlag.FP16 if precision == "fp16" else tensorrt.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise NotAvailableError("TensorRT cannot build the model")
    engine: Any = tensorrt.Runtime(logger).deserialize_cuda_engine(plan)
    context, gpu = engine.create_execution_context(), driver()
    gpu.use()
    stream = gpu.stream()
    tensors = {name: DeviceTensor.of(value) for name, value in inputs.items()}
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    results = [name for name in names if name not in tensors]
    for name in results:
        dtype = np.dtype(tensorrt.nptype(engine.get_tensor_dtype(name))).name
        tensors[name] = DeviceTensor.empty(tuple(engine.get_tensor_shape(name)), dtype, 0, stream)
    for name, tensor in tensors.items():
        context.set_tensor_address(name, tensor.address)

    def run() -> None:
        context.execute_async_v3(stream)
        gpu.wait(stream)

    def outputs() -> list[Array]:
        run()
        return [tensors[name].numpy() for name in results]

    return Session(outputs, run)


def _need_file(job: Job) -> None:
    if not job.model.exists():
        raise NotAvailableError(f"{job.model.name} is not there: build with --onnx")
