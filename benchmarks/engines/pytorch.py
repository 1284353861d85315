"""PyTorch: the module that the ONNX file was exported from, as it is (eager) or compiled by inductor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..not_available import NotAvailableError
from ..torch_sources import torch_module
from .engine import Array, Job, Session

if TYPE_CHECKING:
    from torch import nn


def load_eager(job: Job, inputs: Mapping[str, Array]) -> Session:
    """The module, run operator by operator."""
    return _session(_module(job), inputs)


def load_inductor(job: Job, inputs: Mapping[str, Array]) -> Session:
    """`torch.compile` with its default backend and frozen weights, which lets it fold constants and pack weights."""
    if not any(shutil.which(compiler) for compiler in ("g++", "c++", "clang++")):
        raise NotAvailableError("inductor needs a C++ compiler: install g++")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(job.folder)
    import torch
    from torch._inductor import config

    module = _module(job)
    config.freezing = True
    return _session(torch.compile(module), inputs)


def _module(job: Job) -> nn.Module:
    import torch

    torch.set_num_threads(job.threads)
    torch.set_num_interop_threads(1)
    module = torch_module(job.model.stem)
    if module is None:
        raise NotAvailableError("the model has no PyTorch source")
    return module


def _session(module: nn.Module, inputs: Mapping[str, Array]) -> Session:
    import torch

    tensors = [torch.from_numpy(value) for value in inputs.values()]

    def run() -> tuple[torch.Tensor, ...]:
        with torch.no_grad():  # freezing does not work in inference mode
            result = module(*tensors)
        return result if isinstance(result, tuple) else (result,)

    return Session(lambda: [tensor.numpy() for tensor in run()], run)
