"""PyTorch on a GPU: the module as it is, in a CUDA graph, and compiled by inductor in a CUDA graph.

In float16, or in float32 with products by TF32; images channels-last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from ..not_available import NotAvailableError
from ..torch_sources import torch_module
from .engine import Array, Job, Session

if TYPE_CHECKING:
    import torch
    from torch import nn

    Call = Callable[[], tuple[torch.Tensor, ...]]

GPU = "cuda"
_WARM_UP = 3  # runs before a graph is captured


class LoadIn(Protocol):
    """`Engine.load` in a precision, as compiles name it."""

    def __call__(self, job: Job, inputs: Mapping[str, Array], *, precision: str) -> Session: ...


def load_eager(job: Job, inputs: Mapping[str, Array], *, precision: str, device: str = GPU) -> Session:
    """The module, launched operator by operator."""
    return _session(_call(_module(job, precision, device), inputs, precision, device), device)


def load_graph(job: Job, inputs: Mapping[str, Array], *, precision: str) -> Session:
    """The same launches, captured once and replayed."""
    return _captured(_call(_module(job, precision, GPU), inputs, precision, GPU))


def load_compiled(job: Job, inputs: Mapping[str, Array], *, precision: str) -> Session:
    """`torch.compile` with frozen weights, whose launches are captured once and replayed."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(job.folder)
    import torch
    from torch._inductor import config

    config.freezing = True
    module = torch.compile(_module(job, precision, GPU))
    return _captured(_call(module, inputs, precision, GPU))


def _module(job: Job, precision: str, device: str) -> nn.Module:
    import torch

    if device == GPU and not torch.cuda.is_available():
        raise NotAvailableError("this PyTorch has no GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    module = torch_module(job.model.stem)
    if module is None:
        raise NotAvailableError("the model has no PyTorch source")
    module = module.to(device, memory_format=torch.channels_last)
    return module.half() if precision == "fp16" else module


def _call(module: nn.Module, inputs: Mapping[str, Array], precision: str, device: str) -> Call:
    import torch

    tensors = [torch.from_numpy(value).to(device) for value in inputs.values()]
    if precision == "fp16":
        tensors = [tensor.half() if tensor.is_floating_point() else tensor for tensor in tensors]
    tensors = [
        tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor for tensor in tensors
    ]

    def call() -> tuple[torch.Tensor, ...]:
        with torch.no_grad():  # freezing does not work in inference mode
            result = module(*tensors)
        return result if isinstance(result, tuple) else (result,)

    return call


def _session(call: Call, device: str) -> Session:
    import torch

    def run() -> None:
        call()
        if device == GPU:
            torch.cuda.synchronize()

    return Session(lambda: _arrays(call()), run)


def _captured(call: Call) -> Session:
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = call()

    def run() -> None:
        graph.replay()
        torch.cuda.synchronize()

    def outputs() -> list[Array]:
        run()
        return _arrays(results)

    return Session(outputs, run)


def _arrays(tensors: tuple[torch.Tensor, ...]) -> list[Array]:
    found = (tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors)
    return [tensor.contiguous().cpu().numpy() for tensor in found]
